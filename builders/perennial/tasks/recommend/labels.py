"""What a label of `recommend` is: see `ranking.labels`. Items are its documents, and its texts contexts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from perennial.ranking.context import Context, parsed
from perennial.ranking.labels import RankingLabels

__all__ = ["RecommendLabels"]


class RecommendLabels(RankingLabels):
    verb = "recommend"
    of_words = True
    of_users = True
    recalls = True

    def another(self, text: str, number: int) -> str:
        asked = parsed(text)
        return Context(f"{asked.user} {number}", asked.items).text

    def arguments(self, text: str) -> Sequence[Any]:
        asked = parsed(text)
        return (asked.user, [*asked.items]) if asked.items else (asked.user,)

    def read(self, label: str, text: str, known: Collection[str] | None) -> str:
        parsed(text)
        return super().read(label, text, known)
