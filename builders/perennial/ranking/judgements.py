"""A label in its one form, as JSON: what somebody says of documents as answers to a text,
`[{"document": "17", "said": "relevant"}, …]`, in the order of the documents.

A document is named by its id; an id that ends in "/" names all documents whose ids begin with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

RELEVANT, CLICKED, NOT_RELEVANT, SKIPPED, RATED = SAID = (
    "relevant",
    "clicked",
    "not relevant",
    "skipped",
    "rated",
)
BELOW = "/"
CLICK, SKIP = 0.5, 0.25
"""What they count beside a word that a document is relevant, or is not."""
MOST_FOR_PLACE = MOST_FOR_CHANCE = 10
INDIFFERENT, MOST_STARS = 3, 5


@dataclass(frozen=True)
class Judgement:
    """`position` is where the document stood among the answers, of which the first is 1, and `propensity` how
    likely it was to stand there, in (0, 1]; `rating` is what it was given, 1 to 5."""

    document: str
    said: str = RELEVANT
    position: int = 1
    propensity: float = 1.0
    rating: float = INDIFFERENT

    def names(self, document: str) -> bool:
        return names(self.document, document)

    @property
    def wanted(self) -> bool:
        return self.said in (RELEVANT, CLICKED) or (self.said == RATED and self.rating > INDIFFERENT)

    @property
    def weight(self) -> float:
        """A click far down says more: users look there in inverse proportion to the place; and so does one on
        what was rarely shown there (Joachims, Swaminathan and Schnabel, arXiv:1608.04468). Both to no more
        than ten times, for a few rows must not speak for all."""
        chance = min(1 / self.propensity, MOST_FOR_CHANCE)
        if self.said == CLICKED:
            return CLICK * min(self.position, MOST_FOR_PLACE) * chance
        if self.said == SKIPPED:
            return SKIP * chance
        if self.said == RATED:
            return abs(self.rating - INDIFFERENT) / (MOST_STARS - INDIFFERENT)
        return 1.0


def names(named: str, document: str) -> bool:
    """Whether it is the document's id, or one of those that it is below."""
    return document.startswith(named) if named.endswith(BELOW) else document == named


def parsed(label: str) -> list[Judgement]:
    """Of a label in its one form."""
    return [Judgement(**one) for one in json.loads(label)] if label else []


def written(judgements: Iterable[Judgement]) -> str:
    ordered = sorted(judgements, key=lambda one: one.document)
    return json.dumps([_plain(one) for one in ordered], ensure_ascii=False)


def _plain(judgement: Judgement) -> dict[str, Any]:
    plain: dict[str, Any] = {"document": judgement.document, "said": judgement.said}
    if judgement.said == CLICKED:
        plain["position"] = judgement.position
    if judgement.said in (CLICKED, SKIPPED) and judgement.propensity < 1:
        plain["propensity"] = judgement.propensity
    if judgement.said == RATED:
        plain["rating"] = judgement.rating
    return plain
