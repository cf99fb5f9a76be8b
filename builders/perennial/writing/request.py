"""What a service that writes is asked: a conversation or the beginning of a text, and how to go on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from perennial.errors import BadRequest
from perennial.names import nearest

MOST_STOPS, LONGEST_STOP, LONGEST_SCHEMA = 8, 200, 20_000
WAY_OUT = (
    'ask with a text, with messages ([{"role": "user", "content": "…"}]), or with {"messages": …, "seed": 1}'
)
Message = dict[str, str]


@dataclass(frozen=True)
class Options:
    """At most `max_tokens` of an answer. A `temperature` of 0 takes the likeliest token; `top_k` 0 and
    `top_p` 1 leave none out. `repetition_penalty` divides the logits of tokens that stand in the text (Keskar
    et al., CTRL, arXiv:1909.05858). `stop` are strings that end it, and are not in it. It is JSON of the
    `schema`, where one is given. With `stream` it comes piece by piece."""

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    schema: str = ""
    stream: bool = False

    def streaming(self, wanted: bool) -> Options:
        return replace(self, stream=wanted)

    @property
    def written(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def read(cls, written: str) -> Options:
        told = json.loads(written)
        return cls(**{**told, "stop": tuple(told["stop"])})

    def __post_init__(self) -> None:
        for name, fine, rule in (
            ("max_tokens", self.max_tokens >= 1, "1 or more"),
            ("temperature", 0 <= self.temperature <= 2, "0 to 2"),
            ("top_p", 0 < self.top_p <= 1, "more than 0, and 1 at most"),
            ("top_k", self.top_k >= 0, "1 or more, or 0 for all tokens"),
            ("repetition_penalty", 0.1 <= self.repetition_penalty <= 10, "0.1 to 10"),
            ("seed", 0 <= self.seed < 2**63, "0 or more"),
        ):
            if not fine:  # also of what is no number
                raise BadRequest(f"{name} {getattr(self, name)} is out of range; ask for {rule}")
        if len(self.stop) > MOST_STOPS:
            raise BadRequest(f"stop has {len(self.stop)} strings; the most is {MOST_STOPS}")
        for stop in self.stop:
            if not 1 <= len(stop) <= LONGEST_STOP:
                raise BadRequest(f"stop {stop[:40]!r} has {len(stop)} characters; give 1 to {LONGEST_STOP}")
        if len(self.schema) > LONGEST_SCHEMA:
            raise BadRequest(f"schema has {len(self.schema)} characters; the most is {LONGEST_SCHEMA}")


_KINDS = {field.name: type(field.default) for field in fields(Options) if field.name != "stream"}
"""What may be asked, and how it is kept; a `stop` may be said as a string too, a `schema` as an object."""


@dataclass(frozen=True)
class Request:
    """Either `messages`, which the model's own template makes a prompt of, or a `prompt` that is one already.
    A last message of the assistant's is gone on with."""

    messages: tuple[Message, ...]
    prompt: str
    options: Options

    @classmethod
    def read(cls, text: str) -> Request:
        """A text that is no JSON of ours is what a user says."""
        said = _json(text)
        if isinstance(said, list):
            said = {"messages": said}
        if said is None:
            said = {"messages": [{"role": "user", "content": text}]}
        if odd := {*said} - {*_KINDS, "messages", "prompt"}:
            raise BadRequest(nearest("parameter", min(odd), [*_KINDS, "messages", "prompt"]))
        if ("messages" in said) == ("prompt" in said):
            raise BadRequest(f"TEXT {text[:80]!r} has both messages and a prompt, or neither; {WAY_OUT}")
        prompt = said.get("prompt", "")
        if not isinstance(prompt, str) or not (prompt or "messages" in said):
            raise BadRequest(f"prompt {str(prompt)[:80]!r} is no text; {WAY_OUT}")
        return cls(_messages(said.get("messages")), prompt, _options(said))

    @property
    def text(self) -> str:
        """What `read` reads, in one form: plain where it is no more than what a user says."""
        default = asdict(Options())
        changed = {name: value for name, value in asdict(self.options).items() if value != default[name]}
        if self.options.schema:
            changed["schema"] = json.loads(self.options.schema)
        if not (self.prompt or changed) and _is_plain(self.messages):
            return self.messages[0]["content"]
        asked = {"prompt": self.prompt} if self.prompt else {"messages": list(self.messages)}
        return json.dumps({**asked, **changed}, ensure_ascii=False)

    @property
    def question(self) -> str | None:
        """What the user says last; None where no user does."""
        last = self.messages[-1] if self.messages else {"role": "", "content": ""}
        return last["content"] if last["role"] == "user" else None

    def after(self, turns: Sequence[tuple[str, str]]) -> Request:
        """The same, asked after these were asked and answered."""
        told = [
            {"role": role, "content": text}
            for turn in turns
            for role, text in zip(("user", "assistant"), turn, strict=True)
        ]
        before = sum(one["role"] == "system" for one in self.messages[:1])
        return replace(self, messages=(*self.messages[:before], *told, *self.messages[before:]))

    def going_on(self, beginning: str, max_tokens: int) -> Request:
        """The same, with the beginning of its answer written already."""
        options = replace(self.options, max_tokens=max_tokens)
        if self.prompt:
            return replace(self, prompt=self.prompt + beginning, options=options)
        answer: Message = {"role": "assistant", "content": beginning}
        return replace(self, messages=(*self.messages, answer), options=options)


def _is_plain(messages: tuple[Message, ...]) -> bool:
    (first, *more) = messages
    return not more and first["role"] == "user" and _json(first["content"]) is None


def _json(text: str) -> Any:
    """Of a text that says messages or parameters; None of one that is no more than it says."""
    if not text.lstrip().startswith(("[", "{")):
        return None
    try:
        said = json.loads(text)
    except ValueError:
        return None
    if isinstance(said, list):
        return said if said and all(isinstance(one, dict) and "role" in one for one in said) else None
    return said if "messages" in said or "prompt" in said else None


def _messages(said: Any) -> tuple[Message, ...]:
    if said is None:
        return ()
    if not isinstance(said, list) or not said:
        raise BadRequest(f"messages {str(said)[:80]} are none; {WAY_OUT}")
    for place, one in enumerate(said):
        if (
            not isinstance(one, dict)
            or {*one} != {"role", "content"}
            or not all(isinstance(one[key], str) for key in one)
        ):
            raise BadRequest(f"message {place} {str(one)[:80]} is none; {WAY_OUT}")
    return tuple(said)


def _options(said: dict[str, Any]) -> Options:
    asked = {name: said[name] for name in _KINDS if name in said}
    if isinstance(asked.get("stop"), str):
        asked["stop"] = [asked["stop"]]
    for name, value in asked.items():
        if not _is(value, _KINDS[name]):
            raise BadRequest(f"{name} {str(value)[:80]} is no {_NAMES[_KINDS[name]]}")
    if "schema" in asked:
        asked["schema"] = json.dumps(asked["schema"])
    return Options(**{**asked, "stop": tuple(asked.get("stop", ()))})


_NAMES = {
    int: "whole number",
    float: "number",
    tuple: "list of strings",
    str: "JSON schema, which is an object",
}


def _is(value: Any, kind: type) -> bool:
    if kind is tuple:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if kind is str:
        return isinstance(value, dict)
    return isinstance(value, int | kind) and not isinstance(value, bool)
