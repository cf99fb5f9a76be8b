"""Streams of feedback drawn from a corpus: which row comes when, what was said of it, and what is taken back.

Pure and seeded: `seed` draws rows, tests, raters, flips and deletions, `order` only when rows come. So all
orders of a seed end with the same rows, and what a method makes of them can be compared to the bit. Knows
columns of a corpus, and neither texts nor features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from perennial.types import Array

Kind: TypeAlias = Literal["A", "B", "C", "D", "classes", "instances"]
Labels: TypeAlias = Literal["gold", "rater"]

CHECKPOINTS = 8
CHUNK, SKEW = 250, 0.85
"""Rows that come together, and the share of them that has one label."""
SOURCES, LIARS, LEAVERS = 20, 2, 2
"""Who sends feedback; of them as many lie, or have all that they sent taken back: 10 % of the rows."""
DELAY, REGRET = 200.0, 500
"""How many rows later one comes on average, and how much later still it is taken back."""
GROUPS = 4


@dataclass(frozen=True)
class Corpus:
    """Columns of texts: `gold` (texts,) numbers one of `labels`, `domains` (texts,) one of `names`, and
    `said` has for each text what single people said of it. `fixed` are the texts to test on where the corpus
    has a split of its own."""

    labels: tuple[str, ...]
    names: tuple[str, ...]
    gold: Array
    domains: Array
    said: Sequence[Array]
    fixed: Array | None = None


@dataclass(frozen=True)
class Spec:
    """Which stream: enough to draw the same one in another process."""

    kind: Kind
    labels: Labels
    order: int
    seed: int
    train: int
    """Rows of each domain to learn from."""
    test: int
    """Rows of each domain to test on."""


@dataclass(frozen=True)
class Stream:
    """Events in their order: `rows` (events,) are texts of the corpus, `labels` (events,) what was said of
    them, `back` (events,) whether the row is taken back instead. `ends` (checkpoints,) are the numbers of
    events after which a method is tested, on the texts `test`."""

    rows: Array
    labels: Array
    back: Array
    ends: Array
    test: Array

    def left(self) -> Array:
        """The events whose rows stay to the end."""
        gone = np.isin(self.rows, self.rows[self.back])
        return np.flatnonzero(~gone)


def draw(corpus: Corpus, spec: Spec) -> Stream:
    rng, when = np.random.default_rng(spec.seed), np.random.default_rng([spec.seed, spec.order])
    train, test = _split(corpus, spec, rng)
    labels = _labels(corpus, spec, train, rng)
    if spec.kind == "A":
        return _in_parts(train, labels, corpus.domains[train], test, when)
    if spec.kind == "classes":
        groups = when.permutation(len(corpus.labels)) * GROUPS // len(corpus.labels)
        return _in_parts(train, labels, groups[labels], test, when)
    if spec.kind == "D":
        return _with_regrets(train, labels, test, rng, when)
    shuffled = when.permutation(len(train))
    places = shuffled if spec.kind == "instances" else shuffled[_skewed(labels[shuffled], when)]
    return _plain(train[places], labels[places], _evenly(len(train)), test)


def _split(corpus: Corpus, spec: Spec, rng: np.random.Generator) -> tuple[Array, Array]:
    """The same number of rows of each domain, unless the corpus has its own split."""
    if corpus.fixed is not None:
        return np.setdiff1d(np.arange(len(corpus.gold)), corpus.fixed), corpus.fixed
    train, test = [], []
    for domain in range(len(corpus.names)):
        places = rng.permutation(np.flatnonzero(corpus.domains == domain))
        train.append(places[: spec.train])
        test.append(places[spec.train :][: spec.test])
    return np.concatenate(train), np.concatenate(test)


def _labels(corpus: Corpus, spec: Spec, train: Array, rng: np.random.Generator) -> Array:
    """(rows,): the gold label, or that of one of the text's raters; liars shift theirs by one, all alike."""
    labels = corpus.gold[train].copy()
    if spec.labels == "rater":
        labels = np.array([rng.choice(corpus.said[row]) for row in train])
    if spec.kind == "C":
        lied = rng.integers(0, SOURCES, len(train)) < LIARS
        labels[lied] = (labels[lied] + 1) % len(corpus.labels)
    return labels


def _skewed(labels: Array, rng: np.random.Generator) -> Array:
    """Places in an order of chunks, in each of which one label has its `SKEW` as long as rows are left."""
    pools = {label: list(np.flatnonzero(labels == label)) for label in np.unique(labels)}
    order: list[int] = []
    while any(pools.values()):
        left = np.array([len(pool) for pool in pools.values()])
        main = list(pools)[int(rng.choice(len(left), p=left / left.sum()))]
        own = [pools[main].pop() for _ in range(min(round(SKEW * CHUNK), len(pools[main])))]
        others = [place for label, pool in pools.items() if label != main for place in pool]
        mixed = rng.permutation(others)[: round((1 - SKEW) * CHUNK)].tolist()
        for label, pool in pools.items():
            pools[label] = [place for place in pool if place not in set(mixed)]
        order += rng.permutation([*own, *mixed]).tolist()
    return np.array(order)


def _in_parts(rows: Array, labels: Array, parts: Array, test: Array, rng: np.random.Generator) -> Stream:
    """Part by part, in any order of parts and of rows within; tested within each as often as in others."""
    names = rng.permutation(np.unique(parts))
    places = np.concatenate([rng.permutation(np.flatnonzero(parts == name)) for name in names])
    sizes = [int((parts == name).sum()) for name in names]
    times = CHECKPOINTS // len(names)
    ends = [
        sum(sizes[:part]) + size * time // times
        for part, size in enumerate(sizes)
        for time in range(1, times + 1)
    ]
    return _plain(rows[places], labels[places], np.array(ends), test)


def _with_regrets(
    rows: Array, labels: Array, test: Array, rng: np.random.Generator, when: np.random.Generator
) -> Stream:
    """Rows come late, those of one label not before half of the others did, and some are taken back."""
    left = rng.integers(0, SOURCES, len(rows)) < LEAVERS
    late = labels == when.choice(np.unique(labels))
    sent = np.where(late, when.uniform(0.5, 1.0, len(rows)), when.uniform(0.0, 1.0, len(rows))) * len(rows)
    told = sent + when.exponential(DELAY, len(rows))
    undone = told[left] + REGRET + when.exponential(DELAY, int(left.sum()))
    order = np.argsort(np.concatenate([told, undone]), kind="stable")
    back = np.repeat([False, True], [len(rows), int(left.sum())])
    every, said = np.concatenate([rows, rows[left]]), np.concatenate([labels, labels[left]])
    return Stream(every[order], said[order], back[order], _evenly(len(order)), test)


def _plain(rows: Array, labels: Array, ends: Array, test: Array) -> Stream:
    return Stream(rows, labels, np.zeros(len(rows), np.bool_), ends, test)


def _evenly(events: int) -> Array:
    return events * np.arange(1, CHECKPOINTS + 1) // CHECKPOINTS
