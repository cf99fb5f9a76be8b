"""Two sides on the same rows, as a whole and in part: by label, by source, and by length."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from perennial.gates._answers import Judged, distinct, judged, mean_by_text
from perennial.gates._paired import Paired
from perennial.protocols import Predictor
from perennial.types import Array, Example

LABEL = "label "
LENGTHS = ("short", "middle", "long")


@dataclass(frozen=True)
class Compared:
    """How right the candidate (`ours`) and the baseline are on each of `rows`: (rows,) in [0, 1]."""

    rows: Sequence[Example]
    ours: Array
    theirs: Array

    @cached_property
    def paired(self) -> Paired:
        return Paired.of(mean_by_text(self.ours, self.rows), mean_by_text(self.theirs, self.rows))

    def part(self, places: Sequence[int]) -> Compared:
        return Compared([self.rows[place] for place in places], self.ours[places], self.theirs[places])

    def slices(self, least_texts: int) -> Mapping[str, Compared]:
        """Those with so many different texts: each label, each source, and each third of the texts by length.

        A row whose source is not known is in no source's slice.
        """
        parts = {name: self.part(places) for name, places in _places(self.rows).items()}
        return {name: part for name, part in parts.items() if len(distinct(part.rows)) >= least_texts}


@dataclass(frozen=True)
class Sides:
    """The answers of the candidate and of the baseline to the same examples."""

    ours: Judged
    theirs: Judged
    compared: Compared

    @classmethod
    def of(cls, candidate: Predictor, baseline: Predictor, examples: Sequence[Example]) -> Sides:
        ours, theirs = judged(candidate, examples), judged(baseline, examples)
        return cls(ours, theirs, Compared(examples, ours.rows, theirs.rows))


def _places(rows: Sequence[Example]) -> Mapping[str, list[int]]:
    """Where the rows of each slice stand."""
    thirds = np.quantile([len(text) for text in distinct(rows)], (1 / 3, 2 / 3))
    lengths = np.searchsorted(thirds, [len(row.text) for row in rows])
    places = defaultdict(list)
    for place, row in enumerate(rows):
        places[f"{LABEL}{row.label}"].append(place)
        places[f"{LENGTHS[lengths[place]]} texts"].append(place)
        if row.source:
            places[f"source {row.source}"].append(place)
    return places
