"""One way to learn a stream by moving the encoder: all rows at once, or in rebuilds between which a fast head
answers. Runs in a process of one thread, so that processor time is what it takes.

Knows ways by name. Leaves what they come to to `encoder`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch import set_num_threads

from perennial import memory, plugins
from perennial.config import HeadSettings, load
from perennial.heads import Statistics
from perennial.jobs import training
from perennial.jobs.balance import balanced
from perennial.jobs.workshop import codec_of, trainable
from perennial.pipeline import Pipeline
from perennial.samples.sentiment import Sentiment
from perennial.types import Array, Example, Moving, Tensors
from perennial_perf.benches._course import scores
from perennial_perf.benches._features import sentiment
from perennial_perf.benches._streams import Corpus, Spec, Stream, draw

REBUILDS = 3
MEMORY = 0.05
"""The share of a stream's rows that is stored from one rebuild to the next."""
VALIDATED = 100
"""Rows of which training tells its progress; nothing is chosen by them."""
BALANCE, HEAD = 0.5, HeadSettings()


@dataclass(frozen=True)
class Way:
    """`rebuilds` of 0 is all rows at once, which no service can wait for: a bound."""

    learner: str
    trainable: Moving = "last-k"
    rebuilds: int = REBUILDS
    epochs: int = 1
    learning_rate: float = 3e-4
    batch_size: int = 32
    fast_head: bool = False

    @property
    def name(self) -> str:
        if not self.rebuilds:
            return f"joint, {self.trainable}"
        return f"fast head + rebuilds, {self.learner}" if self.fast_head else f"rebuilds, {self.learner}"


@dataclass
class Taught:
    """F1 by slice (domains,): `served` before each promotion and `promoted` after it; `cpu_s` of each
    training, `head_s` of all rows' way through the network for the fast head."""

    seen: list[int] = field(default_factory=list)
    served: list[Array] = field(default_factory=list)
    promoted: list[Array] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    head_s: float = 0.0


@dataclass(frozen=True)
class Lesson:
    """A corpus with its texts, and a stream of it."""

    corpus: Corpus
    texts: Sequence[str]
    stream: Stream

    @property
    def rows(self) -> list[Example]:
        left = self.stream.left()
        pairs = zip(self.stream.rows[left], self.stream.labels[left], strict=True)
        return [Example(self.texts[row], self.corpus.labels[label]) for row, label in pairs]

    @property
    def asked(self) -> list[str]:
        return [self.texts[row] for row in self.stream.test]

    def scored(self, answers: Sequence[Tensors]) -> Array:
        labels = {label.encode(): column for column, label in enumerate(self.corpus.labels)}
        said = np.array([labels[answer["LABEL"].item()] for answer in answers])
        return scores(self.corpus, self.stream.test, said)


def run(state: Path, way: Way, texts: int, spec: Spec) -> Taught:
    """In a process of its own."""
    set_num_threads(1)
    settings = load(None, state=state)
    corpus, found = sentiment(settings, texts)
    encoder = Sentiment(settings.folder.folder("samples")).encoder()
    return taught(way, encoder, Lesson(corpus, found, draw(corpus, spec)), spec.seed)


def taught(way: Way, encoder: Path, lesson: Lesson, seed: int) -> Taught:
    task = trainable(Sentiment.task)
    model = task.load(encoder, lesson.corpus.labels)
    remembered, known, told = list[Example](), 0, Taught()
    rows, parts = lesson.rows, way.rebuilds or 1
    asked = _Asked(task, model, lesson, rows[:VALIDATED]) if way.fast_head else None
    for part in range(parts):
        fresh = rows[len(rows) * part // parts : len(rows) * (part + 1) // parts]
        if asked:
            told.served.append(asked.with_head(fresh, remembered))
            told.head_s += asked.head_s
        began = time.process_time()
        _train(way, task, model, fresh, remembered, seed)
        told.cpu_s.append(time.process_time() - began)
        remembered, known = memory.update(remembered, known, fresh, round(MEMORY * len(rows)), seed)
        told.seen.append(len(rows) * (part + 1) // parts)
        if asked or part == parts - 1:
            asked = _Asked(task, model, lesson, fresh[:VALIDATED])
            told.promoted.append(asked.alone())
    return told


class _Asked:
    """What a model, as it now is, makes of the texts of the test, with the codec that would serve it."""

    def __init__(self, task: Any, model: Any, lesson: Lesson, calibration: Sequence[Example]) -> None:
        self._lesson, self.head_s = lesson, 0.0
        with TemporaryDirectory() as folder:
            task.write_codec(model, calibration, Path(folder), 0.0)
            self._pipeline = Pipeline(codec_of(Sentiment.task, Path(folder)), task.session(model), 32)
        self._outputs = self._pipeline.outputs(lesson.asked)

    def alone(self) -> Array:
        return self._scored(None)

    def with_head(self, fresh: Sequence[Example], remembered: Sequence[Example]) -> Array:
        """Once the head has learned the fresh rows, which the model has not; what it remembers holds it."""
        codec, labels = self._pipeline.codec, len(self._lesson.corpus.labels)
        told, held = (Statistics(codec.feature_size, labels, labels) for _ in range(2))
        began = time.process_time()
        told.add(codec.evidence(self._pipeline.outputs([row.text for row in fresh]), fresh))
        self.head_s = time.process_time() - began
        if remembered:
            outputs = self._pipeline.outputs([row.text for row in remembered])
            held.add(codec.evidence(outputs, remembered).held())
        return self._scored(told.solve(HEAD.ridge, BALANCE, held).weights)

    def _scored(self, weights: Array | None) -> Array:
        self._pipeline.codec.take_head(weights)
        return self._lesson.scored(self._pipeline.decode(self._lesson.asked, self._outputs))


def _train(
    way: Way, task: Any, model: Any, fresh: Sequence[Example], old: Sequence[Example], seed: int
) -> None:
    learner = plugins.get("learners", way.learner)(batch_size=way.batch_size, seed=seed)
    options = training.Options(
        epochs=way.epochs,
        max_steps=10**6,
        learning_rate=way.learning_rate,
        trainable=way.trainable,
        max_seconds=1e9,
        seed=seed,
        patience=way.epochs,
    )
    material = training.Material(
        *balanced([*fresh], [*old], BALANCE, plugins.labels_of(Sentiment.task).kind), fresh[:VALIDATED]
    )
    quiet: Callable[..., None] = lambda *_: None  # noqa: E731
    with TemporaryDirectory() as folder:
        training.train(task, learner, model, material, options, folder=Path(folder), progress=quiet)
