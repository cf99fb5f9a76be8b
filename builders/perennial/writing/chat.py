"""Conversations as tokens, the same way in training and in serving: by the template of the model itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from tokenizers import Tokenizer

from perennial.errors import BadRequest
from perennial.writing.request import Message, Request

TOKENIZER, CHAT = "tokenizer.json", "chat.json"
FILES = (TOKENIZER, CHAT)


@dataclass(frozen=True)
class Chat:
    """`template` is Jinja as transformers has it, and empty where the model has none; `special` are the
    tokens that it may name, such as bos_token."""

    tokenizer: Tokenizer
    template: str
    special: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path) -> Chat:
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return cls(tokenizer, **json.loads((folder / CHAT).read_text("utf-8")))

    def write(self, folder: Path) -> None:
        """What `read` reads."""
        self.tokenizer.save(str(folder / TOKENIZER))
        told = {"template": self.template, "special": dict(self.special)}
        (folder / CHAT).write_text(json.dumps(told, ensure_ascii=False, indent=2) + "\n", "utf-8")

    def tokens(self, request: Request) -> list[int]:
        """Up to where its answer begins, or goes on. `BadRequest` for what the template does not take."""
        # A template says all that there is to say, special tokens too.
        plain = bool(request.prompt)
        ids: list[int] = self.tokenizer.encode(self.prompt(request), add_special_tokens=plain).ids
        return ids

    def prompt(self, request: Request) -> str:
        """What `tokens` are of."""
        return request.prompt or self._of(request.messages)

    def _of(self, messages: Sequence[Message]) -> str:
        last = messages[-1]
        if last["role"] != "assistant":
            return self._render(messages, True)
        # As transformers goes on with a message: all behind its words is cut off.
        rendered, words = self._render(messages, False), last["content"].rstrip()
        place = rendered.rfind(words)
        if place < 0 or not words:
            raise BadRequest(
                f"the template does not show the last message {words[:40]!r}, so none can go on with it"
            )
        return rendered[:place] + last["content"]

    def _render(self, messages: Sequence[Message], asking: bool) -> str:
        if self._compiled is None:
            raise BadRequest('the model has no chat template; ask with {"prompt": "…"} and no messages')
        try:
            rendered: str = self._compiled.render(
                messages=list(messages), add_generation_prompt=asking, **self.special
            )
        except Exception as error:  # whatever a template may do
            raise BadRequest(f"the model's template takes no such messages: {error}") from None
        return rendered

    @cached_property
    def _compiled(self) -> Any:
        if not self.template:
            return None
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _refuse
        return environment.from_string(self.template)


def _refuse(reason: str) -> NoReturn:
    raise BadRequest(reason)
