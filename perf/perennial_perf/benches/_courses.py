"""Who learns from which streams: every course of the learning bench, in processes of one thread each.

Knows methods, rivals and streams by name. Leaves what their courses come to to `learn`.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from perennial.children import die_with_parent
from perennial.errors import Unavailable
from perennial.jobs.workshop import cores
from perennial.types import Array
from perennial_perf.benches._course import Course, calibration_error, go, scores
from perennial_perf.benches._fast_head import FastHead
from perennial_perf.benches._methods import Method, Shape
from perennial_perf.benches._rivals import Remote, Rival, running
from perennial_perf.benches._softmax import Derpp, Replay, Sgd
from perennial_perf.benches._streams import Corpus, Kind, Labels, Spec, Stream, draw

FAST: Literal["fast head"] = "fast head"
METHODS: Mapping[str, Callable[[Shape], Method]] = {
    FAST: FastHead,
    "sgd": Sgd,
    "replay": Replay,
    "derpp": Derpp,
}
MEMORY = 0.05
"""The share of a stream's rows that a method may keep."""
JOINT: Literal["joint head"] = "joint head"
JOINT_C = 0.01
"""The best of 1e-4 to 0.1 on stream B of seed 77, which measures nothing else. So are, over its orders, the
rates of steps, of the methods and of the rivals."""


@dataclass(frozen=True)
class Size:
    orders: int
    seeds: int
    train: int
    test: int


@dataclass(frozen=True)
class Lesson:
    """One kind of stream over a corpus, whose features (texts, size) lie in a file."""

    corpus: Corpus
    features: Path
    kind: Kind
    labels: Labels

    @property
    def name(self) -> str:
        return f"{self.kind}, {self.labels}" if len(self.corpus.names) > 1 else f"news, {self.kind}"

    def stream(self, size: Size, order: int, seed: int) -> Stream:
        return draw(self.corpus, Spec(self.kind, self.labels, order, seed, size.train, size.test))


@dataclass(frozen=True)
class Hired:
    """A rival, the python of its environment, and where its process says what went wrong."""

    rival: Rival
    python: Path
    log: Path


Learner: TypeAlias = str | Hired
Courses: TypeAlias = list[list[Course]]
"""Of one learner on one lesson: for each seed, for each order."""


def name_of(learner: Learner) -> str:
    return learner if isinstance(learner, str) else learner.rival.name


@contextmanager
def pool() -> Iterator[Executor]:
    """A process a core; started afresh, for a fork would copy threads that torch has."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores(), context, initializer=_begin) as executor:
        yield executor


def _begin() -> None:
    """In a process of the pool: one that is killed leaves none behind."""
    die_with_parent()
    threadpool_limits(1)


def every(
    asked: Sequence[tuple[Learner, Lesson]], size: Size
) -> Iterator[tuple[Learner, Lesson, Courses | Unavailable]]:
    """As they end; a rival that lets us down gives its reason."""
    with pool() as executor:
        futures = {
            executor.submit(courses, learner, lesson, size): (learner, lesson) for learner, lesson in asked
        }
        for future in as_completed(futures):
            error = future.exception()
            if error is not None and not isinstance(error, Unavailable):
                raise error
            yield (*futures[future], error or future.result())


def courses(learner: Learner, lesson: Lesson, size: Size) -> Courses:
    features = np.load(lesson.features, mmap_mode="r")
    if learner == JOINT:
        return [[joint(lesson, lesson.stream(size, 0, seed), features)] for seed in range(size.seeds)]
    orders, seeds = range(size.orders), range(size.seeds)
    if isinstance(learner, Hired) and lesson.corpus.fixed is not None:
        seeds = range(1)  # its rows are all the same, and 20 classes take river a minute a course
    with _maker(learner) as make:
        return [[_course(make, lesson, size, (order, seed), features) for order in orders] for seed in seeds]


@contextmanager
def _maker(learner: Learner) -> Iterator[Callable[[Shape], Method]]:
    """What makes a new method, time and again; for a rival its one process does."""
    if isinstance(learner, str):
        yield METHODS[learner]
    else:
        with running(learner.python, learner.rival, learner.log) as process:
            yield partial(Remote, process, learner.log, learner.rival)


def _course(
    make: Callable[[Shape], Method], lesson: Lesson, size: Size, drawn: tuple[int, int], features: Array
) -> Course:
    order, seed = drawn
    stream = lesson.stream(size, order, seed)
    memory = round(MEMORY * len(stream.rows))
    method = make(Shape(features.shape[1], len(lesson.corpus.labels), memory, seed))
    return go(method, stream, lesson.corpus, features)


def joint(lesson: Lesson, stream: Stream, features: Array) -> Course:
    """All rows that stay, at once: multinomial logistic regression, in which each label has the same say."""
    began, left = time.process_time(), stream.left()
    model = LogisticRegression(C=JOINT_C, class_weight="balanced", max_iter=1000)
    scale = features.shape[1] ** 0.5
    model.fit(features[stream.rows[left]] * scale, stream.labels[left])
    answers = model.predict_proba(features[stream.test] * scale)
    curve = scores(lesson.corpus, stream.test, answers.argmax(axis=1))[None]
    error = calibration_error(answers, lesson.corpus.gold[stream.test])
    nothing = float("nan")
    return Course(stream.ends[-1:], curve, nothing, nothing, error, time.process_time() - began, nothing)
