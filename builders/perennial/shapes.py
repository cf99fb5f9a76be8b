"""The shapes in which a server asks an engine: rows in a batch, and lengths to be quick at."""

from __future__ import annotations

from itertools import takewhile

MAX_BATCH_SIZE = 64
"""The most texts of one request, and of one batch."""


def buckets(longest: int) -> list[int]:
    """Lengths to warm up at: 8, 16, 32 … tokens, none above the longest real text."""
    return list(takewhile(lambda tokens: tokens <= longest, (8 << power for power in range(16))))
