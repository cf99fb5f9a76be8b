"""Bench `engines`: the serving release's network in every engine and precision that this machine builds and
opens: how quick each is, and what its precision costs in quality, beside the checkpoint itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from perennial import plugins
from perennial.config import Settings
from perennial.errors import PerennialError
from perennial.jobs import data
from perennial.jobs.engines import unusable
from perennial.jobs.workshop import codec_of, cores, engine_of, trainable
from perennial.pipeline import Pipeline, engine_inputs, longest_input
from perennial.protocols import Codec, Session
from perennial.speed import speed
from perennial.types import Bundle, Example, Exported, Tensors
from perennial_perf.benches._sandbox import SERVICE, built, sample
from perennial_perf.report import Draft, Goal, Report

__all__ = ["run"]

SPEED_TEXTS, QUALITY_TEXTS, QUICK_TEXTS = 300, 3000, 60
RESAMPLES = 300
POINTS = 0.5
"""The most macro-F1, in points, that the quickest engine may cost."""
Row = dict[str, float]


def run(settings: Settings, *, quick: bool = False) -> Report:
    draft, bundle = Draft("engines"), built(settings)
    codec = codec_of(bundle.manifest["task"], bundle.folder)
    examples = _examples(settings, bundle, QUICK_TEXTS if quick else QUALITY_TEXTS)
    texts = [example.text for example in examples]
    rows: dict[str, Row] = {}
    left_out: list[str] = []
    with TemporaryDirectory(dir=settings.folder.folder("benches")) as folder:
        exported, checkpoint = _exported(bundle, codec, Path(folder))
        expected = Pipeline(codec, checkpoint, together=32).answers(texts)
        options = settings.service(SERVICE).engine_options
        choices = _choices(options, left_out)
        for name, precision in track(choices, "engine by engine", console=Console(stderr=True)):
            try:
                engine = engine_of(name, options.get(name, {}))
                began = time.perf_counter()
                file = engine.build(exported, Path(folder, name, precision), precision)
                row = {"build s": time.perf_counter() - began, "MB": file.stat().st_size / 1e6}
                took = speed(engine, file, exported.samples, 1, cores())
                row |= {"texts/s": took["texts_per_s"], "alone ms": took["alone_ms"]}
                answers = Pipeline(codec, engine.open(file, cores())).answers(texts)
            except PerennialError as error:
                left_out.append(f"{name} {precision}: {error}")
                continue
            rows[f"{name} {precision}"] = row | _price(codec, answers, expected, examples)
    return draft.report(rows, _goals(rows), left_out)


def _choices(options: Mapping[str, Mapping[str, Any]], left_out: list[str]) -> list[tuple[str, str]]:
    choices = []
    for name in plugins.names("engines"):
        own = options.get(name, {})
        if reason := unusable(name, own):
            left_out.append(f"{name}: {reason}")
        else:
            choices += [(name, precision) for precision in engine_of(name, own).precisions()]
    return choices


def _goals(rows: dict[str, Row]) -> list[Goal]:
    quickest = max(rows, key=lambda name: rows[name]["texts/s"])
    return [Goal(f"macro-F1 points, {quickest} - checkpoint", rows[quickest]["points"], -POINTS, ">=")]


def _examples(settings: Settings, bundle: Bundle, most: int) -> list[Example]:
    """What judges the release, and texts of the sample's other domains, with their gold labels."""
    own = [
        row for name in ("golden", "validation") for row in data.read(bundle.folder / f"data/{name}.jsonl")
    ]
    others = [
        Example(rated.text, rated.label) for rows in sample(settings).stream().values() for rated in rows
    ]
    Random(0).shuffle(others)
    return [*own, *others][:most]


def _exported(bundle: Bundle, codec: Codec, folder: Path) -> tuple[Exported, Session]:
    """The release's checkpoint, for engines to build from, and as a session of its own."""
    task = trainable(bundle.manifest["task"])
    model = task.load(bundle.folder / "checkpoint", bundle.manifest["labels"])
    task.export(model, folder)
    texts = [row.text for row in data.read(bundle.folder / "data/memory.jsonl")][:SPEED_TEXTS]
    return Exported(folder, engine_inputs(codec, texts), longest_input(codec)), task.session(model)


def _price(
    codec: Codec, answers: Sequence[Tensors], expected: Sequence[Tensors], examples: Sequence[Example]
) -> Row:
    """Points of macro-F1 that the answers are ahead of the checkpoint's, with their 95 % interval by paired
    bootstrap over the texts."""

    def ahead(chosen: Sequence[int]) -> float:
        gold = [examples[place] for place in chosen]
        ours, theirs = (codec.score([said[place] for place in chosen], gold) for said in (answers, expected))
        return 100 * (ours.metrics["macro_f1"] - theirs.metrics["macro_f1"])

    count, random = len(examples), np.random.default_rng(0)
    low, high = np.percentile(
        [ahead(random.integers(0, count, count).tolist()) for _ in range(RESAMPLES)], (2.5, 97.5)
    )
    return {"points": ahead(range(count)), "from": float(low), "to": float(high)}
