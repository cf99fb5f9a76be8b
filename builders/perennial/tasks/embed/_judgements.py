"""A label of `embed` in its one form, as JSON: what somebody says of documents as answers to a text,
`[{"document": "17", "said": "relevant"}, …]`, in the order of the documents.

A document is named by its id; an id that ends in "/" names all documents whose ids begin with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

RELEVANT, CLICKED, NOT_RELEVANT = SAID = ("relevant", "clicked", "not relevant")
BELOW = "/"
CLICK = 0.5
"""What a click counts beside a word that a document is relevant."""
MOST_FOR_PLACE = 10


@dataclass(frozen=True)
class Judgement:
    """`position` is where the document stood among the answers when it was clicked; 1 is the first."""

    document: str
    said: str = RELEVANT
    position: int = 1

    def names(self, document: str) -> bool:
        return names(self.document, document)

    @property
    def weight(self) -> float:
        """A click far down says more: users look there in inverse proportion to the place (Joachims,
        Swaminathan and Schnabel, arXiv:1608.04468), here to no more than the tenth."""
        return CLICK * min(self.position, MOST_FOR_PLACE) if self.said == CLICKED else 1.0


def names(named: str, document: str) -> bool:
    """Whether it is the document's id, or one of those that it is below."""
    return document.startswith(named) if named.endswith(BELOW) else document == named


def parsed(label: str) -> list[Judgement]:
    """Of a label in its one form."""
    return [Judgement(**one) for one in json.loads(label)] if label else []


def written(judgements: Iterable[Judgement]) -> str:
    ordered = sorted(judgements, key=lambda one: one.document)
    return json.dumps([_plain(one) for one in ordered], ensure_ascii=False)


def _plain(judgement: Judgement) -> dict[str, object]:
    plain = asdict(judgement)
    return plain if judgement.said == CLICKED else {name: plain[name] for name in ("document", "said")}
