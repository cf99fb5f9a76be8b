"""What a label of `generate` is: the answer that its user would have wanted, as it stands."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from perennial.writing.request import Request
from perennial.writing.wanted import Wanted

__all__ = ["GenerateLabels"]


class GenerateLabels:
    fewest = 0
    verb = "generate"
    of_words = False
    of_documents = False
    of_users = False
    recalls = True
    writes = True

    def read(self, label: str, text: str, known: Collection[str] | None) -> str:  # noqa: ARG002
        return Wanted.checked(label).label

    def names(self, label: str) -> tuple[str, ...]:  # noqa: ARG002
        return ()

    def some(self, text: str, names: Sequence[str]) -> str:  # noqa: ARG002
        return "the answer that I wanted"

    def another(self, text: str, number: int) -> str:
        """Asked for one token, so that who only wants to know whether it answers need not wait for more."""
        asked = Request.read(text)
        options = replace(asked.options, max_tokens=1)
        if asked.prompt:
            return replace(asked, prompt=f"{asked.prompt} {number}", options=options).text
        last = {**asked.messages[-1], "content": f"{asked.messages[-1]['content']} {number}"}
        return replace(asked, messages=(*asked.messages[:-1], last), options=options).text

    def arguments(self, text: str) -> Sequence[Any]:
        return (text,)

    def kind(self, label: str) -> str:  # noqa: ARG002
        return "answer"

    def parts(self, label: str) -> Mapping[str, str]:
        """What is wanted, and what is rejected: different people may say so."""
        said = Wanted.read(label)
        parts = {"wanted": Wanted(said.wanted, None, said.goes_on), "rejected": Wanted(None, said.rejected)}
        return {name: part.label for name, part in parts.items() if part.text}

    def whole(self, parts: Iterable[str]) -> str:
        said = [Wanted.read(part) for part in parts]
        wanted = next((one for one in said if one.wanted is not None), Wanted(None))
        rejected = next((one.rejected for one in said if one.rejected is not None), None)
        return replace(wanted, rejected=rejected).label
