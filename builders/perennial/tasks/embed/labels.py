"""What a label of `embed` is: judgements of documents as answers to a text; as JSON, in several ways."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from perennial.errors import BadRequest
from perennial.names import nearest
from perennial.tasks.embed._judgements import CLICKED, RELEVANT, SAID, Judgement, parsed, written

__all__ = ["EmbedLabels"]

WAY_OUT = 'give a document\'s id, or a list of {"document", "said"}, which is one of ' + ", ".join(SAID)


class EmbedLabels:
    fewest = 0
    verb = "search"
    of_words = False
    of_documents = True

    def read(self, label: str, text: str, known: Collection[str] | None) -> str:  # noqa: ARG002
        if not label.strip():
            raise BadRequest(f"the label is empty; {WAY_OUT}")
        said: Any = label
        if label.lstrip()[0] in "[{":
            try:
                said = json.loads(label)
            except ValueError:
                raise BadRequest(f"LABEL {label[:80]!r} is not JSON; {WAY_OUT}") from None
        judgements = [_judgement(one) for one in (said if isinstance(said, list) else [said])]
        if twice := {one.document for one in judgements if _count(judgements, one.document) > 1}:
            raise BadRequest(f"document {min(twice)[:80]!r} is judged twice; say one thing of it")
        return written(judgements)

    def names(self, label: str) -> tuple[str, ...]:  # noqa: ARG002
        return ()

    def some(self, text: str, names: Sequence[str]) -> str:  # noqa: ARG002
        return written([Judgement("ID", RELEVANT)])

    def kind(self, label: str) -> str:
        return "+".join(sorted({one.said for one in parsed(label)})) or "nothing"


def _count(judgements: Sequence[Judgement], document: str) -> int:
    return sum(one.document == document for one in judgements)


def _judgement(said: Any) -> Judgement:
    if isinstance(said, str):
        said = {"document": said}
    if not isinstance(said, dict) or (odd := {*said} - {"document", "said", "position"}):
        what = f"has {min(odd)!r}" if isinstance(said, dict) else "is none"
        raise BadRequest(f"judgement {str(said)[:80]} {what}; {WAY_OUT}")
    document, kind = said.get("document"), said.get("said", RELEVANT)
    position = said.get("position", 1)
    if not isinstance(document, str) or not document.strip():
        raise BadRequest(f"judgement {str(said)[:80]} names no document; {WAY_OUT}")
    if kind not in SAID:
        raise BadRequest(nearest("said", str(kind), SAID))
    if type(position) is not int or position < 1:
        raise BadRequest(f"position {position!r} of {document[:80]!r} is no place; the first is 1")
    return Judgement(document, kind, position if kind == CLICKED else 1)
