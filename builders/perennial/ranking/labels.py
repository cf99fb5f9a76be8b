"""What a label is where documents are found: judgements of them as answers to a text; as JSON, in several
ways."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from perennial.errors import BadRequest
from perennial.names import nearest
from perennial.ranking.judgements import (
    CLICKED,
    MOST_STARS,
    RATED,
    RELEVANT,
    SAID,
    SKIPPED,
    Judgement,
    parsed,
    written,
)

WAY_OUT = 'give a document\'s id, or a list of {"document", "said"}, which is one of ' + ", ".join(SAID)
_FIELDS = {field.name for field in fields(Judgement)}


class RankingLabels:
    fewest = 0
    of_words = False
    of_documents = True
    of_users = False
    recalls = False
    writes = False

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

    def another(self, text: str, number: int) -> str:
        return f"{text} {number}"

    def arguments(self, text: str) -> Sequence[Any]:
        return (text,)

    def kind(self, label: str) -> str:
        return "+".join(sorted({one.said for one in parsed(label)})) or "nothing"

    def parts(self, label: str) -> Mapping[str, str]:
        return {one.document: written([one]) for one in parsed(label)} or {"": label}

    def whole(self, parts: Iterable[str]) -> str:
        return written(one for part in parts for one in parsed(part))


def _count(judgements: Sequence[Judgement], document: str) -> int:
    return sum(one.document == document for one in judgements)


def _judgement(said: Any) -> Judgement:
    if isinstance(said, str):
        said = {"document": said}
    if not isinstance(said, dict) or (odd := {*said} - _FIELDS):
        what = f"has {min(odd)!r}" if isinstance(said, dict) else "is none"
        raise BadRequest(f"judgement {str(said)[:80]} {what}; {WAY_OUT}")
    document, kind = said.get("document"), said.get("said", RATED if "rating" in said else RELEVANT)
    if not isinstance(document, str) or not document.strip():
        raise BadRequest(f"judgement {str(said)[:80]} names no document; {WAY_OUT}")
    if kind not in SAID:
        raise BadRequest(nearest("said", str(kind), SAID))
    return Judgement(document, kind, **_numbers(said, document[:80], kind))


def _numbers(said: dict[str, Any], shown: str, kind: str) -> dict[str, Any]:
    """Those that say something of this kind; all must be right."""
    position, propensity, rating = (said.get(name) for name in ("position", "propensity", "rating"))
    if position is not None and (type(position) is not int or position < 1):
        raise BadRequest(f"position {position!r} of {shown!r} is no place; the first is 1")
    if propensity is not None and not (_is_number(propensity) and 0 < propensity <= 1):
        raise BadRequest(f"propensity {propensity!r} of {shown!r} is no chance; send what the answer said")
    if rating is not None and not (_is_number(rating) and 1 <= rating <= MOST_STARS):
        raise BadRequest(f"rating {rating!r} of {shown!r} is out of range; give 1 to {MOST_STARS}")
    if kind == RATED:
        if rating is None:
            raise BadRequest(f"{shown!r} is rated without a rating; give 1 to {MOST_STARS}")
        return {"rating": rating}
    shown_with = {"propensity": propensity or 1.0} if kind in (CLICKED, SKIPPED) else {}
    return {**shown_with, **({"position": position or 1} if kind == CLICKED else {})}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
