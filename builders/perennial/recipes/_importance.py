"""Which parts of a layer stay, by what the loss hangs on; how that is measured is the task's to know."""

from __future__ import annotations

import numpy as np

from perennial.types import Array

JUDGED_ON = 512
"""Examples, at most."""


def most(importance: Array, share: float) -> list[int]:
    """The places of the most important ones, at least one, in their order."""
    count = max(1, round(share * len(importance)))
    return sorted(np.argsort(-importance, kind="stable")[:count].tolist())
