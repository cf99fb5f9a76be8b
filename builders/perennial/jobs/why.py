"""Why a text is answered as it is: the corrections, and the taught rows, that push this answer most.

Knows a head and what an engine said of the text. Leaves asking the engine, and who wants to know, to `learn`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from perennial.heads import joined
from perennial.jobs.live_head import LiveHead
from perennial.types import Tensors


@dataclass(frozen=True)
class Cause:
    """A row and how much it adds to this answer over the next best one, where 1 is a whole label.

    `row` is its number and `receipt` what its sender holds, where it is feedback; `line` is where it stands
    in the release's `data/memory.jsonl`, where it was taught.
    """

    push: float
    label: str
    text: str
    source: str
    row: int | None = None
    receipt: str | None = None
    line: int | None = None


def explain(live: LiveHead, said: Tensors, most: int) -> dict[str, Any]:
    """What was chosen, what the release alone would choose, and the rows that push most, either way. `said`
    is what the release's engine says of the text.

    Of a correction it is what the head would not say without it, in closed form
    (`heads.Solution.influence`); of a taught row what teaching it once more would add.
    """
    codec, solution = live.codec, live.solve()
    codec.take_head(None)
    alone = codec.choice(said).shown
    codec.take_head(solution.weights.astype(np.float32))
    choice = codec.choice(said)
    of_pieces = solution.influence(joined([live.evidence, live.anchors]), choice.features)
    counts = live.pieces()
    pushes = np.bincount(np.repeat(np.arange(len(counts)), counts), of_pieces @ choice.towards, len(counts))
    corrections = [
        Cause(push, row.label, row.text, row.source, row.row, row.receipt)
        for push, row in zip(pushes.tolist(), live.rows, strict=False)
    ]
    taught = [
        Cause(push, row.label, row.text, row.source, row.row, line=line)
        for line, (push, row) in enumerate(
            zip(pushes[len(corrections) :].tolist(), live.taught, strict=True), 1
        )
    ]
    return {
        "release": live.bundle.release,
        "label": choice.shown,
        "over": choice.shown_other,
        "release_alone": alone,
        "rows": len(corrections),
        "corrections": _strongest(corrections, most),
        "taught": _strongest(taught, most),
    }


def _strongest(causes: Sequence[Cause], most: int) -> list[dict[str, Any]]:
    first = sorted(causes, key=lambda cause: -abs(cause.push))[:most]
    return [{**asdict(cause), "push": round(cause.push, 5)} for cause in first]
