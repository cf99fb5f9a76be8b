"""Which engine serves a candidate: the one that was asked for, or the quickest of all that this machine has.

An engine is asked for by its name or as `auto`: for a build on the command line, else in the service's
settings; where neither says anything a rebuild keeps that of the serving release.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from perennial import plugins
from perennial.engine_options import AUTO
from perennial.errors import PerennialError, Unavailable
from perennial.jobs.run import Result, Run
from perennial.jobs.workshop import NO_OPTIONS, codec_of, engine_of
from perennial.pipeline import engine_inputs
from perennial.plugins import labels_of
from perennial.protocols import Engine
from perennial.speed import speed
from perennial.types import Bundle, Exported

FIRST = {False: "onnxruntime", True: "genai"}
"""Of a service's first release, by whether it writes."""
SAMPLES = 300

Choice = Mapping[str, Any]
"""`engine`, its `options`, `precision` and the engine `file` below the step's folder; of `auto` what was
measured, too."""


def build(run: Run) -> Result:
    """What may serve, in the order to try it. Of `auto` everything is built and measured; of a named engine
    the first precision is built, and the others once they are wanted."""
    name, exported = asked_for(run, run.base), _exported(run)
    with run.fresh("engine") as folder:
        if name == AUTO:
            built = list(_measured(run, exported, folder))
            choices = sorted((one for one in built if "file" in one), key=lambda one: -one["texts_per_s"])
            if not choices:
                reasons = "; ".join(f"{one['engine']}: {one['reason']}" for one in built)
                raise Unavailable(f"no engine can serve this network here: {reasons}")
            return {"choices": choices, "left_out": [one for one in built if "file" not in one]}
        choices = list(_choices(run, name))
        run.report("engine", 0, 1, choices[0]["precision"])
        _build(exported, folder, choices[0])
    return {"choices": choices, "left_out": []}


def built(run: Run, choice: Choice) -> Path:
    """The engine file of a choice, which is built now unless it was."""
    file = run.folder / "engine" / str(choice["file"])
    return file if file.exists() else _build(_exported(run), run.folder / "engine", choice)


def asked_for(run: Run, serving: Bundle | None) -> str:
    """A name, or `auto`."""
    kept = serving.manifest["engine"] if serving else FIRST[labels_of(run.job.payload["task"]).writes]
    return str(run.job.payload.get("engine") or run.settings.engine or kept)


def engine_for(choice: Choice) -> Engine:
    return engine_of(choice["engine"], choice.get("options", NO_OPTIONS))


def unusable(name: str, task: str, options: Mapping[str, Any] = NO_OPTIONS) -> str | None:
    """Why an engine makes no release of a task here, or None: the gates run what it builds."""
    engine, writes = engine_of(name, options), labels_of(task).writes
    if engine.writes != writes:
        return f"a service of the task {task} needs an engine that {_DOES[writes]}, such as {FIRST[writes]}"
    return engine.available() or engine.runs_here()


_DOES = {False: "runs a graph once", True: "writes"}


def _choices(run: Run, name: str) -> Iterator[Choice]:
    """One for each precision of an engine, cheapest to serve first."""
    options = run.settings.engine_options.get(name, {})
    engine = engine_of(name, options)
    filename = engine.triton("embedded", 1).filename
    for precision in engine.precisions():
        file = f"{name}/{precision}/{filename}"
        yield {"engine": name, "options": options, "precision": precision, "file": file}


def _build(exported: Exported, folder: Path, choice: Choice) -> Path:
    target = folder / choice["engine"] / choice["precision"]
    return engine_for(choice).build(exported, target, choice["precision"])


def _measured(run: Run, exported: Exported, folder: Path) -> Iterator[Choice]:
    """A choice for all that can be built and opened here, and a reason for what cannot."""
    names, how = plugins.names("engines"), run.shop.placement(run.job.service)
    for number, name in enumerate(names):
        if reason := unusable(name, run.task, run.settings.engine_options.get(name, {})):
            yield {"engine": name, "reason": reason}
            continue
        for choice in _choices(run, name):
            run.report("engine", number, len(names), f"{name} {choice['precision']}")
            try:
                file, engine = _build(exported, folder, choice), engine_for(choice)
                yield {
                    **choice,
                    **speed(engine, file, exported.samples, how),
                }
            except PerennialError as error:
                yield {"engine": name, "precision": choice["precision"], "reason": str(error)}


def _exported(run: Run) -> Exported:
    """With texts that were trained on, so that those that judge stay unseen by the quantisers."""
    codec = codec_of(run.task, run.folder / "train/codec")
    texts = [one.text for one in codec.probes([*run.read("train"), *run.read("old")])][:SAMPLES]
    return Exported(run.folder / "export", engine_inputs(codec, texts), codec.longest)
