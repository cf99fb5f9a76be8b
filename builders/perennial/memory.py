"""A release's memory: a bounded, uniform sample of every row that the service was ever shown.

Algorithm R: Vitter, "Random sampling with a reservoir", ACM Transactions on Mathematical Software 11(1),
1985. Who replays the memory, and how, is the learners' to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from perennial.split import fingerprint
from perennial.types import MADE_UP, Example


def update(
    memory: Sequence[Example], seen: int, fresh: Sequence[Example], size: int, seed: int
) -> tuple[list[Example], int]:
    """The memory after `fresh`, and how many rows it has now been shown.

    After n rows each of them is in it with probability min(1, size / n). A row whose text is there already
    takes its place and is not counted: the latest correction holds, and no text is there twice. Depends on
    its arguments alone, and rows may come in one call or in many. Room that a deletion made is filled by
    the next rows.
    """
    kept = list(memory)
    if len(kept) > size:
        kept = Random(f"{seed}:{seen}:{size}").sample(kept, size)
    slots = {fingerprint(row.text): slot for slot, row in enumerate(kept)}
    for row in fresh:
        key = fingerprint(row.text)
        slot = slots.get(key)
        if slot is None:
            seen += 1
            slot = len(kept) if len(kept) < size else Random(f"{seed}:{seen}").randrange(seen)
        if slot < len(kept):
            del slots[fingerprint(kept[slot].text)]
            kept[slot] = row
        elif slot < size:
            kept.append(row)
        else:
            continue
        slots[key] = slot
    return kept, seen


def written(memory: Sequence[Example]) -> list[Example]:
    """Without the texts that were made up; feedback has a number, whatever its source calls itself."""
    return [row for row in memory if row.row is not None or row.source != MADE_UP]
