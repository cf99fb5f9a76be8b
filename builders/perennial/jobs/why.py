"""Why a text is answered as it is: the corrections, and the taught rows, that push this answer most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from perennial.errors import Unavailable
from perennial.heads import joined
from perennial.jobs.learn import Learner
from perennial.jobs.live_head import has_head
from perennial.jobs.workshop import Workshop, known_service
from perennial.protocols import Codec
from perennial.types import Array, Example, Tensors


@dataclass(frozen=True)
class Cause:
    """A row and how much it adds to this answer over the next best one, where 1 is a whole label. `row` is
    its number where it is feedback."""

    push: float
    label: str
    text: str
    source: str
    row: int | None


def why(shop: Workshop, service: str, text: str, most: int) -> dict[str, Any]:
    """The answer, what the release alone would say, and the rows that push most, either way.

    Of a correction it is what the head would not say without it, in closed form
    (`heads.Solution.influence`); of a taught row what teaching it once more would add.
    """
    bundle = known_service(shop, service)
    if not has_head(bundle):
        raise Unavailable(f"release {bundle.release} of {service!r} has no head; build it again")
    learner = Learner(shop, bundle, shop.store.head_orders(service))
    learner.recall()
    live, codec = learner.live, learner.live.codec
    (said,) = learner.asked([text])
    codec.take_head(None)
    alone = _best(codec, said)[0]
    codec.take_head(live.judged().weights)
    answered, other = _best(codec, said)
    pushes = live.solve().influence(joined([live.evidence, live.anchors]), said["features"][0])
    columns = [bundle.manifest["labels"].index(label) for label in (answered, other)]
    pushes = pushes[:, columns[0]] - pushes[:, columns[1]]
    corrections = [Example(row.text, row.label, row.trust, row.source, row.row) for row in live.rows]
    return {
        "release": bundle.release,
        "label": answered,
        "over": other,
        "release_alone": alone,
        "rows": len(corrections),
        "corrections": _strongest(corrections, pushes[: len(corrections)], most),
        "taught": _strongest(live.taught, pushes[len(corrections) :], most),
    }


def _strongest(examples: Sequence[Example], pushes: Array, most: int) -> list[dict[str, Any]]:
    found = [
        Cause(round(float(push), 5), row.label, row.text, row.source, row.row)
        for push, row in zip(pushes, examples, strict=True)
    ]
    return [asdict(cause) for cause in sorted(found, key=lambda cause: -abs(cause.push))[:most]]


def _best(codec: Codec, said: Tensors) -> tuple[str, str]:
    """The two best labels."""
    (answer,) = codec.decode([{"TOP_K": np.array([[2]], np.int32)}], [said])
    first, second = answer["TOP_LABELS"][0]
    return first.decode(), second.decode()
