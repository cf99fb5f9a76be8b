"""Ways to keep up with a stream of what people take, each judged on what they take next.

After each period a way learns it, and is asked about the next one: where what each wanted then stands among
all that he had not taken. Ours are taught by the training of a rebuild, in this process.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perennial import memory, plugins
from perennial.jobs import training
from perennial.jobs.workshop import trainable
from perennial.ranking.context import parsed
from perennial.ranking.judgements import parsed as judged
from perennial.split import split
from perennial.types import Array, Example
from perennial_perf.benches._peer_processes import run

TASK, TOP, MEMORY, SEED = "recommend", 20, 2000, 0
VALIDATION = 0.05
_AT_ONCE = 500


@dataclass
class Course:
    """Of one way: the places (rows,) of each period that it was asked about, and how long it learned."""

    places: list[Array] = field(default_factory=list)
    seconds: float = 0.0

    def row(self, items: int) -> dict[str, float]:
        places = np.concatenate(self.places)
        here = places < TOP
        return {
            f"recall@{TOP}": float(here.mean()),
            f"ndcg@{TOP}": float((here / np.log2(places + 2)).mean()),
            "AUC": float(1 - places.mean() / (items - 1)),
            "learning, s": self.seconds,
        }


Periods = Sequence[Sequence[Example]]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Stream:
    """What was built from, and then the periods; `items` are texts by their ids."""

    items: dict[str, str]
    built: Sequence[Example]
    periods: Periods
    encoder: Path
    folder: Path


def stale(stream: Stream, model: Any, say: Say) -> Course:  # noqa: ARG001
    """What was built at first, for good."""
    return Course([places(model, rows) for rows in stream.periods])


def incremental(stream: Stream, model: Any, say: Say) -> Course:
    """Each period on top of what was learned, by the task's own learner."""
    course, kept, seen = Course(), *memory.update([], 0, stream.built, MEMORY, SEED)
    task = trainable(TASK)
    for number, rows in enumerate(stream.periods):
        course.places.append(places(model, rows))
        if number + 1 < len(stream.periods):
            say(f"incremental: learning period {number + 1}")
            course.seconds += learn(stream, model, rows, kept, task.training)
            kept, seen = memory.update(kept, seen, rows, MEMORY, SEED)
    return course


def retrained(stream: Stream, model: Any, say: Say) -> Course:
    """All that there is, from the start, each time."""
    course, so_far = Course(), [*stream.built]
    for number, rows in enumerate(stream.periods):
        course.places.append(places(model, rows))
        so_far += rows
        if number + 1 < len(stream.periods):
            say(f"full retrain: learning {len(so_far)} rows")
            model = trainable(TASK).load(stream.encoder, [])
            model.know(stream.items)
            course.seconds += learn(stream, model, so_far, [], trainable(TASK).building)
    return course


def popularity(stream: Stream, model: Any, say: Say) -> Course:  # noqa: ARG001
    """What was taken most so far, for everyone."""
    course, counts = Course(), Counter[int]()
    number_of = {name: place for place, name in enumerate(stream.items)}
    so_far: list[Example] = [*stream.built]
    for rows in stream.periods:
        counts.update(number_of[wanted(row)] for row in so_far)
        scores = np.array([counts[place] for place in range(len(stream.items))], float)
        found = []
        for row in rows:
            left = scores.copy()
            left[[number_of[name] for name in parsed(row.text).items]] = -1.0
            found.append((left > scores[number_of[wanted(row)]]).sum())
        course.places.append(np.array(found))
        so_far = [*rows]
    return course


def peer(stream: Stream, python: Path, script: Path, variant: str) -> Course:
    """A library that learns all that there is, from the start, each time. `Unavailable` with what it said."""
    course, so_far = Course(), [*stream.built]
    number_of = {name: place for place, name in enumerate(stream.items)}
    users: dict[str, int] = {}
    for rows in stream.periods:
        told = {
            "items": len(stream.items),
            "taken": [
                [users.setdefault(parsed(row.text).user, len(users)), number_of[wanted(row)]]
                for row in so_far
            ],
            "asked": [[number_of[name] for name in parsed(row.text).items] for row in rows],
            "wanted": [number_of[wanted(row)] for row in rows],
        }
        source, target = stream.folder / "asked.json", stream.folder / "places.json"
        source.write_text(json.dumps(told))
        began = time.monotonic()
        run(script.name, str(python), str(script), variant, str(source), str(target))
        course.seconds += time.monotonic() - began
        course.places.append(np.array(json.loads(target.read_text())))
        so_far += rows
    return course


def learn(stream: Stream, model: Any, fresh: Sequence[Example], old: Sequence[Example], how: Any) -> float:
    """As a rebuild does; how many seconds it took."""
    parts = split(fresh, validation=VALIDATION, held_out=0.0)
    names = training.Options.__dataclass_fields__
    task = trainable(TASK)
    options = training.Options(
        **{name: value for name, value in how.items() if name in names}, seed=SEED, metric=task.metric
    )
    began = time.monotonic()
    training.train(
        task,
        plugins.get("learners", how["learner"])(batch_size=how["batch_size"], seed=SEED),
        model,
        training.Material(parts.train, old, parts.validation),
        options,
        folder=stream.folder / "board",
        progress=lambda *_: None,
    )
    return time.monotonic() - began


def places(model: Any, rows: Sequence[Example]) -> Array:
    """(rows,): where what each wanted stands, from 0, among what he had not taken."""
    number_of = {name: place for place, name in enumerate(model.items)}
    found = []
    model.eval()
    with torch.no_grad():
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            contexts = [parsed(row.text) for row in some]
            scores = model.logits([row.text for row in some]).numpy()
            aims = scores[np.arange(len(some)), [number_of[wanted(row)] for row in some]]
            for row, context in enumerate(contexts):
                scores[row, [number_of[name] for name in context.items]] = -np.inf
            found.append((scores > aims[:, None]).sum(axis=1))
    return np.concatenate(found)


def wanted(row: Example) -> str:
    (one,) = judged(row.label)
    return one.document
