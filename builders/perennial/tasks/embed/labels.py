"""What a label of `embed` is: see `ranking.labels`."""

from __future__ import annotations

from perennial.ranking.labels import RankingLabels

__all__ = ["EmbedLabels"]


class EmbedLabels(RankingLabels):
    verb = "search"
