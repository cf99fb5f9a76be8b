"""Bench `engines`: every engine and precision that this machine builds and opens, how quick it is on the
serving release, and what its precision costs in quality.

Speed is that of the service's own texts. The price is the difference in macro-F1 to the checkpoint on the
20 Newsgroups test set, by the same texts: enough of them to tell half a point.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.progress import track

from perennial import plugins
from perennial.config import Settings
from perennial.errors import PerennialError
from perennial.jobs import data
from perennial.jobs.engines import unusable
from perennial.jobs.price import price
from perennial.jobs.workshop import codec_of, cores, engine_of, trainable
from perennial.pipeline import Pipeline, engine_inputs
from perennial.protocols import Engine, Session
from perennial.speed import speed
from perennial.task_protocol import Codec
from perennial.types import Bundle, Exported, Placement
from perennial_perf.benches._newsgroups import classifier, posts
from perennial_perf.benches._sandbox import SERVICE, built, console
from perennial_perf.report import Draft, Figures, Goal, Report

__all__ = ["run"]

CALIBRATED_ON, QUICK_POSTS = 300, 100
POINTS = 0.5
"""The most macro-F1, in points, that a precision below fp32 may cost."""
Row = dict[str, float]


@dataclass(frozen=True)
class Network:
    """A release's checkpoint, for engines to build from, and as a session of its own."""

    codec: Codec
    exported: Exported
    checkpoint: Session


@dataclass(frozen=True)
class Choice:
    name: str
    engine: Engine
    precision: str


def run(settings: Settings, *, quick: bool = False) -> Report:
    draft = Draft("engines")
    rows: dict[str, Row] = {}
    left_out: list[str] = []
    with TemporaryDirectory(dir=settings.folder.folder("benches")) as folder:
        serving = _network(built(settings), Path(folder, "serving"))
        judge = _network(classifier(settings), Path(folder, "judge"))
        examples = posts(settings, QUICK_POSTS if quick else 10**9)
        texts = [example.text for example in examples]
        expected = Pipeline(judge.codec, judge.checkpoint, together=32).answers(texts)
        options = settings.service(SERVICE).engine_options
        for one in track(
            _choices(built(settings).manifest["task"], options, left_out), "engine by engine", console=console
        ):
            try:
                row = _speed(serving, one)
                session = one.engine.open(_build(judge, one), cores())
                answers = Pipeline(judge.codec, session).answers(texts)
            except PerennialError as error:
                left_out.append(f"{one.name}: {error}")
                continue
            cost = price(judge.codec, answers, expected, examples)
            rows[one.name] = row | {"points": cost.points, "from": cost.low, "to": cost.high}
    macro_f1 = judge.codec.score(expected, examples).metrics["macro_f1"]
    figures: Figures = {f"checkpoint, macro-F1 on {len(examples)} posts": macro_f1, **rows}
    return draft.report(figures, _goals(rows), left_out)


def _choices(task: str, options: Mapping[str, Mapping[str, Any]], left_out: list[str]) -> list[Choice]:
    choices = []
    for name in plugins.names("engines"):
        own = options.get(name, {})
        if reason := unusable(name, task, own):
            left_out.append(f"{name}: {reason}")
        else:
            engine = engine_of(name, own)
            choices += [Choice(f"{name} {precision}", engine, precision) for precision in engine.precisions()]
    return choices


def _goals(rows: dict[str, Row]) -> list[Goal]:
    return [
        Goal(f"macro-F1 points, {name} - checkpoint", row["points"], -POINTS, ">=")
        for name, row in rows.items()
        if not name.endswith("fp32")
    ]


def _network(bundle: Bundle, folder: Path) -> Network:
    task, codec = trainable(bundle.manifest["task"]), codec_of(bundle.manifest["task"], bundle.folder)
    model = task.load(bundle.folder / "checkpoint", bundle.manifest["labels"])
    folder.mkdir()
    task.export(model, folder)
    texts = [row.text for row in data.read(bundle.folder / "data/memory.jsonl")][:CALIBRATED_ON]
    exported = Exported(folder, engine_inputs(codec, texts), codec.longest)
    return Network(codec, exported, task.session(model))


def _build(network: Network, one: Choice) -> Path:
    return one.engine.build(network.exported, network.exported.folder / one.name, one.precision)


def _speed(network: Network, one: Choice) -> Row:
    began = time.perf_counter()
    file = _build(network, one)
    row = {"build s": time.perf_counter() - began, "MB": file.stat().st_size / 1e6}
    took = speed(one.engine, file, network.exported.samples, Placement(instances=cores()))
    return row | {"texts/s": took["texts_per_s"], "alone ms": took["alone_ms"]}
