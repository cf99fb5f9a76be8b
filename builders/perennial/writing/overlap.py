"""How alike two texts are."""

from __future__ import annotations

import re
from collections import Counter


def overlap(said: str, wanted: str) -> float:
    """The F1 of their words, whatever their order, in [0, 1] (Rajpurkar et al., SQuAD, arXiv:1606.05250)."""
    ours, theirs = (Counter(re.findall(r"\w+|[^\w\s]", text.casefold())) for text in (said, wanted))
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())
