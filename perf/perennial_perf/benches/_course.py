"""A method's course over a stream: it answers each few rows before it is told them, and is tested on gold
labels at every checkpoint. Knows metrics, and neither how a method learns nor how a stream was drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perennial.gates import _calibration
from perennial.types import Array
from perennial_perf.benches._methods import Method
from perennial_perf.benches._streams import Corpus, Stream

STEP = 100
"""Rows told together."""


@dataclass(frozen=True)
class Course:
    """`curve` (checkpoints, slices) is F1 on the test texts after `seen` (checkpoints,) events: macro-F1 of
    each domain, or where there is one domain the F1 of each label. `prequential` is the macro-F1 of what was
    answered before it was learned, `flips` the share of test texts that were right at a checkpoint and wrong
    at the next, `ece` the expected calibration error at the end."""

    seen: Array
    curve: Array
    prequential: float
    flips: float
    ece: float
    cpu_s: float
    kept_mb: float

    @property
    def score(self) -> float:
        """Macro-F1 at the end, averaged over domains."""
        return float(self.curve[-1].mean())

    @property
    def worst(self) -> float:
        return float(self.curve[-1].min())

    @property
    def forgetting(self) -> float:
        """The best that a slice ever had less what it has in the end, averaged (Chaudhry et al.,
        arXiv:1801.10112)."""
        return float((self.curve.max(axis=0) - self.curve[-1]).mean())


def go(method: Method, stream: Stream, corpus: Corpus, features: Array) -> Course:
    """`features` (texts, size) are the corpus's; the method must be new."""
    gold, tests, before, cpu_s = corpus.gold[stream.test], [], [], 0.0
    for start, stop in _steps(stream):
        events = np.arange(start, stop)
        told, back = stream.rows[events[~stream.back[events]]], stream.rows[events[stream.back[events]]]
        if len(told):
            before.append(np.column_stack([corpus.gold[told], method.answer(features[told]).argmax(axis=1)]))
        began = method.clock()
        if len(told):
            method.learn(told, features[told], stream.labels[events[~stream.back[events]]])
        if len(back):
            method.forget(back, features[back], stream.labels[events[stream.back[events]]])
        cpu_s += method.clock() - began
        if stop in stream.ends:
            tests.append(method.answer(features[stream.test]))
    right = np.array([test.argmax(axis=1) == gold for test in tests])  # (checkpoints, tests)
    answered = np.concatenate(before)
    return Course(
        seen=stream.ends,
        curve=np.array([scores(corpus, stream.test, test.argmax(axis=1)) for test in tests]),
        prequential=float(f1s(answered[:, 0], answered[:, 1]).mean()),
        flips=float((right[:-1] & ~right[1:]).mean()),
        ece=calibration_error(tests[-1], gold),
        cpu_s=cpu_s,
        kept_mb=method.kept() / 1e6,
    )


def _steps(stream: Stream) -> list[tuple[int, int]]:
    """From where to where: `STEP` events at most, and none across a checkpoint."""
    stops = sorted({*range(STEP, len(stream.rows), STEP), *stream.ends.tolist()})
    return list(zip([0, *stops[:-1]], stops, strict=True))


def scores(corpus: Corpus, places: Array, said: Array) -> Array:
    """(slices,): macro-F1 of each domain, or the F1 of each label of a single one."""
    gold, domains = corpus.gold[places], corpus.domains[places]
    if len(corpus.names) == 1:
        return f1s(gold, said)
    return np.array(
        [f1s(gold[domains == one], said[domains == one]).mean() for one in range(len(corpus.names))]
    )


def f1s(gold: Array, said: Array) -> Array:
    """Of each label that either side names."""
    count = int(max(gold.max(), said.max())) + 1
    cells = np.bincount(gold * count + said, minlength=count * count).reshape(count, count)
    both = cells.sum(axis=0) + cells.sum(axis=1)
    return np.asarray(2 * np.diag(cells)[both > 0] / both[both > 0])


def calibration_error(probabilities: Array, gold: Array) -> float:
    """As the quality gate has it, of answers (texts, labels)."""
    return _calibration.calibration_error(probabilities.argmax(axis=1) == gold, probabilities.max(axis=1))


def spread(courses: Sequence[Sequence[Course]]) -> float:
    """How far orders end apart, in points: of each seed's courses, averaged over seeds."""
    ends = [[course.score for course in of_seed] for of_seed in courses]
    return 100 * float(np.mean([max(scores) - min(scores) for scores in ends]))
