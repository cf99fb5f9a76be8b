"""What the fast head promises beyond a score, on real features: to be exact and quick, and that `why` tells
what a refit would."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from perennial.heads import Evidence, Statistics
from perennial.types import Array
from perennial_perf.benches._courses import Lesson, Size
from perennial_perf.benches._exactness import Exactness, exactness, learned
from perennial_perf.benches._fast_head import FastHead, centred
from perennial_perf.benches._streams import SOURCES, Stream

ASKED, LEFT_OUT = 5, 300


@dataclass(frozen=True)
class Claims(Exactness):
    """`agreement` is, over texts asked, the lowest rank correlation of influences and leave-one-out refits.
    What is taken out are all rows of one source out of many."""

    agreement: float


def claims(lesson: Lesson, size: Size) -> Claims:
    """`size.orders` is 2 at least. On one thread: two that wait for a busy core took ten times as long."""
    with threadpool_limits(1):
        return _claims(lesson, size)


def _claims(lesson: Lesson, size: Size) -> Claims:
    features = np.load(lesson.features, mmap_mode="r")
    streams = [lesson.stream(size, order, seed=0) for order in range(size.orders)]
    told = [_evidence(lesson, stream, features) for stream in streams]

    def nothing() -> Statistics:
        return Statistics(features.shape[1], *[len(lesson.corpus.labels)] * 2)

    exact = exactness(told, np.arange(0, len(told[0]), SOURCES), nothing, weights)
    asked = features[streams[0].test[:ASKED]]
    return Claims(**vars(exact), agreement=_agreement(learned(told[0], nothing), told[0], asked))


def weights(statistics: Statistics) -> Array:
    return statistics.solve(FastHead.RIDGE, FastHead.BALANCE).weights


def _evidence(lesson: Lesson, stream: Stream, features: Array) -> Evidence:
    return centred(features[stream.rows], stream.labels, len(lesson.corpus.labels))


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
