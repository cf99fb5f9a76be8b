"""What OpenAI's API says: how a text is asked for, and in which form it is answered.

Knows words alone. What is not offered here is refused by its name, unless it is asked for as it is anyway.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from perennial.errors import BadRequest
from perennial.names import nearest
from perennial_client import Generated, Options

Json = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A service that writes: its name, the number of the release that serves, and since when that is (epoch
    s)."""

    name: str
    release: int
    created: int

    @property
    def told(self) -> Json:
        return {"id": self.name, "object": "model", "created": self.created, "owned_by": "perennial"}


class _Words(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Words):
    """Of a message: nothing but text."""

    type: Literal["text"]
    text: str


class Message(_Words):
    role: str
    content: str | list[Part]
    name: str | None = None

    @property
    def told(self) -> dict[str, str]:
        said = self.content
        whole = said if isinstance(said, str) else "".join(part.text for part in said)
        return {"role": "system" if self.role == "developer" else self.role, "content": whole}


class StreamOptions(_Words):
    include_usage: bool = False
    include_obfuscation: bool = False


class AnyText(_Words):
    type: Literal["text"]

    schema_: ClassVar[Json | None] = None


class AnyObject(_Words):
    type: Literal["json_object"]

    schema_: ClassVar[Json | None] = {"type": "object"}


class NamedSchema(_Words):
    """The last two say nothing here: a schema is always kept to."""

    name: str
    schema_: Json = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


class OfSchema(_Words):
    type: Literal["json_schema"]
    json_schema: NamedSchema

    @property
    def schema_(self) -> Json:
        return self.json_schema.schema_


class Asked(_Words):
    """What both ways of asking have; and below, what may be said where it is done anyway."""

    model: str
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    response_format: Annotated[AnyText | AnyObject | OfSchema, Field(discriminator="type")] | None = None

    n: Literal[1] | None = None
    presence_penalty: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None

    @property
    def options(self) -> Options:
        said = {name: getattr(self, name, None) for name in Options.__annotations__}
        said["schema"] = self.response_format and self.response_format.schema_
        return cast(Options, {name: value for name, value in said.items() if value is not None})

    @property
    def tells_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class Chat(Asked):
    """The body of /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = None
    logprobs: Literal[False] | None = None
    store: Literal[False] | None = None

    raw: ClassVar[bool] = False

    @property
    def words(self) -> list[dict[str, str]]:
        return [message.told for message in self.messages]

    @property
    def options(self) -> Options:
        asked = super().options
        return (
            asked
            if self.max_completion_tokens is None
            else {**asked, "max_tokens": self.max_completion_tokens}
        )


class Completion(Asked):
    """The body of /v1/completions."""

    prompt: str
    best_of: Literal[1] | None = None
    echo: Literal[False] | None = None
    logprobs: None = None

    raw: ClassVar[bool] = True

    @property
    def words(self) -> str:
        return self.prompt


A = TypeVar("A", Chat, Completion)


def read(kind: type[A], body: bytes) -> A:
    """`BadRequest` for what is no such body, in one line."""
    try:
        said = json.loads(body)
    except ValueError as error:
        raise BadRequest(f"the body is no JSON ({error}); send an object") from None
    try:
        return kind.model_validate(said)
    except ValidationError as error:
        raise BadRequest(_explained(kind, error)) from None


def _explained(kind: type[BaseModel], error: ValidationError) -> str:
    first = error.errors()[0]
    place, rule = [*map(str, first["loc"])], first["msg"][0].lower() + first["msg"][1:]
    if first["type"] == "extra_forbidden" and len(place) == 1:
        return nearest("parameter", place[0], [*kind.model_fields])
    if first["type"] == "missing":
        return f"{'.'.join(place)} is missing"
    return f"{'.'.join(place) or 'the body'} is {repr(first['input'])[:80]}: {rule}"


@dataclass(frozen=True)
class Form:
    """How answers are told on one way of asking."""

    whole: str
    part: str
    text: Any
    """What stands in a choice: of a text, and whether it is a part of an answer."""


def _message(text: str, is_part: bool) -> Json:
    return {"delta": {"content": text}} if is_part else {"message": {"role": "assistant", "content": text}}


FORMS: Mapping[type[Asked], Form] = {
    Chat: Form("chat.completion", "chat.completion.chunk", _message),
    Completion: Form("text_completion", "text_completion", lambda text, _: {"text": text}),
}


def whole(form: Form, model: Model, pieces: Sequence[Generated], created: int) -> Json:
    text = "".join(piece.completion for piece in pieces)
    return {**_told(form, model, pieces[-1], text, created, is_part=False), "usage": usage(pieces[-1])}


def part(form: Form, model: Model, piece: Generated, created: int) -> Json:
    return _told(form, model, piece, piece.completion, created, is_part=True)


def _told(form: Form, model: Model, last: Generated, text: str, created: int, *, is_part: bool) -> Json:
    """Its id is the prediction id, by which feedback may speak of the answer."""
    choice = {"index": 0, **form.text(text, is_part), "finish_reason": last.finish_reason, "logprobs": None}
    return {
        "id": last.prediction_id,
        "object": form.part if is_part else form.whole,
        "created": created,
        "model": model.name,
        "system_fingerprint": f"release {last.release}",
        "choices": [choice],
        "based_on": list(last.based_on),
    }


def usage(last: Generated) -> dict[str, int]:
    return {
        "prompt_tokens": last.prompt_tokens,
        "completion_tokens": last.completion_tokens,
        "total_tokens": last.prompt_tokens + last.completion_tokens,
    }
