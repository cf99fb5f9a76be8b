"""What a label of `classify` is: the name of one of the service's, as it stands."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from perennial.errors import BadRequest
from perennial.names import nearest

__all__ = ["ClassifyLabels"]


class ClassifyLabels:
    fewest = 2
    verb = "predict"
    of_words = False
    of_documents = False
    of_users = False
    recalls = False
    writes = False

    def read(self, label: str, text: str, known: Collection[str] | None) -> str:  # noqa: ARG002
        if not label.strip():
            raise BadRequest("the label is empty; name the right one")
        if known is not None and label not in known:
            raise BadRequest(nearest("LABEL", label, known))
        return label

    def names(self, label: str) -> tuple[str, ...]:
        return (label,)

    def some(self, text: str, names: Sequence[str]) -> str:  # noqa: ARG002
        return names[-1]

    def another(self, text: str, number: int) -> str:
        return f"{text} {number}"

    def arguments(self, text: str) -> Sequence[Any]:
        return (text,)

    def kind(self, label: str) -> str:
        return label

    def parts(self, label: str) -> Mapping[str, str]:
        return {"": label}

    def whole(self, parts: Iterable[str]) -> str:
        (label,) = parts
        return label
