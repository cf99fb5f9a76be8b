"""What each student is worth beside the release that serves: quality on the texts that judge, speed, size and
memory, all in the engine and precision that serve now.

The sessions are measured in turn, round after round, so that what else the machine does hits all alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from perennial.jobs.choose import SERVING
from perennial.jobs.engines import SAMPLES
from perennial.jobs.footprint import memory_mb
from perennial.jobs.price import price
from perennial.jobs.run import Result, Run
from perennial.jobs.students import Student, planned
from perennial.jobs.workshop import codec_of, cores, engine_in, trainable
from perennial.pipeline import Pipeline, engine_inputs
from perennial.protocols import Session
from perennial.speed import latencies_ms, texts_per_s
from perennial.types import Bundle, Example, Exported, Placement

SPEED_TEXTS, ROUNDS = 100, 3

Row: TypeAlias = dict[str, float]


@dataclass(frozen=True)
class Rival:
    """An engine file, and the folder of the codec that belongs to it."""

    file: Path
    codec: Path


def measure(run: Run) -> Result:
    """`rows`: for `serving` and for each student its figures by name."""
    assert run.base
    rivals, judged = {SERVING: rival_of(run.base)}, [*run.read("golden"), *run.read("validation")]
    with run.fresh("measure") as folder:
        for student in planned(run):
            run.report("measure", 0, 0, f"building {student.name}", at_once=True)
            rivals[student.name] = _build(run, run.base, student, folder / student.name)
        rows = qualities(run.base, rivals, judged, lambda name: run.report("measure", 0, 0, f"asking {name}"))
        run.report("measure", 0, 0, "timing all in turn", at_once=True)
        texts = [example.text for example in run.read("golden")[:SPEED_TEXTS]]
        quick = speeds(run.base, rivals, texts, run.shop.placement(run.job.service))
        sizes = {name: _size(run.base, rival) for name, rival in rivals.items()}
    return {"rows": {name: {**rows[name], **quick[name], **sizes[name]} for name in rivals}}


def rival_of(bundle: Bundle) -> Rival:
    return Rival(bundle.folder / bundle.manifest["file"], bundle.folder)


def qualities(
    serving: Bundle,
    rivals: Mapping[str, Rival],
    examples: Sequence[Example],
    tell: Callable[[str], None],
) -> dict[str, Row]:
    """`macro_f1` in [0, 1], and how many `points` (from `low` to `high`, 95 %) it is ahead of `serving`."""
    engine, task = engine_in(serving), serving.manifest["task"]
    texts, answers = [example.text for example in examples], {}
    for name, rival in rivals.items():
        tell(name)
        with closing(engine.open(rival.file, cores())) as session:
            answers[name] = Pipeline(codec_of(task, rival.codec), session).answers(texts)
    codec = codec_of(task, serving.folder)
    return {
        name: {
            "macro_f1": codec.score(said, examples).metrics["macro_f1"],
            **asdict(price(codec, said, answers[SERVING], examples)),
        }
        for name, said in answers.items()
    }


def speeds(
    serving: Bundle, rivals: Mapping[str, Rival], texts: Sequence[str], placement: Placement
) -> dict[str, Row]:
    """`texts_per_s` as the engine stage's instances run them, and `p50_ms` and `p99_ms` of a lone caller."""
    engine, task = engine_in(serving), serving.manifest["task"]
    callers, threads = placement.instances, placement.threads
    alone_threads = placement.alone_threads or cores()
    asked = {name: engine_inputs(codec_of(task, rival.codec), texts) for name, rival in rivals.items()}
    rates: dict[str, list[float]] = {name: [] for name in rivals}
    alone: dict[str, list[float]] = {name: [] for name in rivals}
    with ExitStack() as opened:

        def session(rival: Rival, threads: int) -> Session:
            return opened.enter_context(closing(engine.open(rival.file, threads)))

        opens = {
            name: (session(rival, threads), session(rival, alone_threads)) for name, rival in rivals.items()
        }
        for _ in range(ROUNDS):
            for name, (shared, lone) in opens.items():
                rates[name].append(texts_per_s(shared, asked[name], callers))
                alone[name] += latencies_ms(lone, asked[name])
    return {name: _summary(rates[name], alone[name]) for name in rivals}


def _summary(rates: Sequence[float], latencies: Sequence[float]) -> Row:
    """The median of the rounds' rates, and percentiles of all their runs."""
    p50, p99 = np.percentile(latencies, (50, 99))
    return {"texts_per_s": float(np.median(rates)), "p50_ms": float(p50), "p99_ms": float(p99)}


def _build(run: Run, serving: Bundle, student: Student, folder: Path) -> Rival:
    """With texts that were trained on, so that those that judge stay unseen by the quantisers."""
    lies, task, manifest = run.folder / student.name, trainable(run.task), serving.manifest
    folder.mkdir()
    task.export(task.load(lies / "checkpoint", manifest["labels"]), folder)
    codec = codec_of(run.task, lies / "codec")
    texts = [example.text for example in run.read("old")[:SAMPLES]]
    exported = Exported(folder, engine_inputs(codec, texts), codec.longest)
    file = engine_in(serving).build(exported, folder / "engine", manifest["precision"])
    return Rival(file, lies / "codec")


def _size(serving: Bundle, rival: Rival) -> Row:
    return {"file_mb": rival.file.stat().st_size / 1e6, "memory_mb": memory_mb(serving, rival.file)}
