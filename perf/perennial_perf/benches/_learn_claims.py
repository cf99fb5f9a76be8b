"""What the fast head promises beyond a score, on real features: that no order matters, that a deletion leaves
nothing, how long an update takes, and that `why` tells what a refit would."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from perennial.heads import Evidence, Statistics
from perennial.types import Array
from perennial_perf.benches._courses import Lesson, Size
from perennial_perf.benches._fast_head import FastHead, centred
from perennial_perf.benches._streams import SOURCES, Stream
from perennial_perf.stats import percentiles

UPDATES, ASKED, LEFT_OUT = 200, 5, 300


@dataclass(frozen=True)
class Claims:
    """`apart` and `left` are the largest differences between weights: of heads that saw the same rows in
    other orders, and of one that lost rows and one that never had them. Times in ms. `agreement` is, over
    texts asked, the lowest rank correlation of influences and leave-one-out refits."""

    apart: float
    left: float
    update: dict[str, float]
    deletion_ms: float
    agreement: float


def claims(lesson: Lesson, size: Size) -> Claims:
    """`size.orders` is 2 at least. On one thread: two that wait for a busy core took ten times as long."""
    with threadpool_limits(1):
        return _claims(lesson, size)


def _claims(lesson: Lesson, size: Size) -> Claims:
    features = np.load(lesson.features, mmap_mode="r")
    streams = [lesson.stream(size, order, seed=0) for order in range(size.orders)]
    told = [_evidence(lesson, stream, features) for stream in streams]
    sums = [_sums(lesson, rows) for rows in told]
    heads = [weights(one) for one in sums]
    apart = max(float(np.abs(head - heads[0]).max()) for head in heads[1:])
    update = _updates(sums[0], told[0])
    deletion_ms, left = _deletion(lesson, told[0])
    asked = features[streams[0].test[:ASKED]]
    return Claims(apart, left, update, deletion_ms, _agreement(sums[0], told[0], asked))


def weights(statistics: Statistics) -> Array:
    return statistics.solve(FastHead.RIDGE, FastHead.BALANCE).weights


def _evidence(lesson: Lesson, stream: Stream, features: Array) -> Evidence:
    return centred(features[stream.rows], stream.labels, len(lesson.corpus.labels))


def _sums(lesson: Lesson, rows: Evidence) -> Statistics:
    """In batches, as they come."""
    statistics = Statistics(rows.features.shape[1], len(lesson.corpus.labels))
    for start in range(0, len(rows), 100):
        statistics.add(rows.at(np.arange(start, min(start + 100, len(rows)))))
    return statistics


def _updates(statistics: Statistics, rows: Evidence) -> dict[str, float]:
    """A correction comes and the head is solved; it is taken out again, so that nothing grows."""
    times = []
    for place in range(min(UPDATES, len(rows))):
        one = rows.at([place])
        began = time.perf_counter()
        statistics.add(one)
        weights(statistics)
        times.append(1e3 * (time.perf_counter() - began))
        statistics.remove(one)
    return {**percentiles(times, (50, 95)), "max": max(times)}


def _deletion(lesson: Lesson, rows: Evidence) -> tuple[float, float]:
    """All rows of one source out of many: how many ms that takes, and what it leaves."""
    everything, of_one = np.arange(len(rows)), np.arange(0, len(rows), SOURCES)
    statistics = _sums(lesson, rows)
    began = time.perf_counter()
    statistics.remove(rows.at(of_one))
    head = weights(statistics)
    took = 1e3 * (time.perf_counter() - began)
    never = weights(_sums(lesson, rows.at(np.setdiff1d(everything, of_one))))
    return took, float(np.abs(head - never).max())


def _agreement(statistics: Statistics, rows: Evidence, asked: Array) -> float:
    """By `LEFT_OUT` rows from everywhere in the stream; of the label that a text is answered with."""
    whole = statistics.solve(FastHead.RIDGE, FastHead.BALANCE)
    places = np.linspace(0, len(rows) - 1, min(LEFT_OUT, len(rows))).astype(np.int64)
    wide = np.column_stack([asked, np.ones(len(asked))])
    refitted = []
    for place in places:
        one = rows.at([int(place)])
        statistics.remove(one)
        refitted.append(wide @ (whole.weights - weights(statistics)))  # (asked, labels)
        statistics.add(one)
    said, ranks = (wide @ whole.weights).argmax(axis=1), []
    for number, text in enumerate(asked):
        told = whole.influence(rows.at(places), text)[:, said[number]]
        ranks.append(spearmanr(told, np.array(refitted)[:, number, said[number]]).statistic)
    return float(min(ranks))
