"""Teach one candidate, in this process, or in several that `accelerate launch` starts:

    accelerate launch --num_processes N -m perennial.jobs.fit ORDER

ORDER is a JSON file: the `settings`, the `job` whose snapshot is learned, its `lease`, and the `folder` that
the candidate is left in. Knows what a candidate consists of; leaves the loop to `training`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from perennial import plugins
from perennial.children import die_with_parent
from perennial.config import AGAIN, FIRST, Settings, TrainingSettings
from perennial.errors import PerennialError, TrainingFailed
from perennial.jobs import augment, between, data, training
from perennial.jobs.balance import balanced
from perennial.jobs.run import Result, Run
from perennial.jobs.workshop import cores, open_workshop, trainable
from perennial.task_protocol import Searching, Trainable
from perennial.types import Example, Lease

ORDER, RESULT, FAILED = "order.json", "result.json", "failed.txt"


def settings_of(run: Run) -> TrainingSettings:
    """As the service's settings say, and where they leave a default as it is, as the task has it."""
    task = trainable(run.task)
    if run.parent:
        return _told(run.settings.rebuild, AGAIN, task.training)
    return _told(run.settings.build, FIRST, task.building)


def _told(said: TrainingSettings, default: TrainingSettings, usual: Mapping[str, Any]) -> TrainingSettings:
    left = {name: value for name, value in usual.items() if getattr(said, name) == getattr(default, name)}
    return said.model_copy(update=left)


def model_of(run: Run, task: Trainable) -> Any:
    snapshot = run.job.steps["snapshot"]
    model = task.load(_start(run), snapshot["labels"], snapshot.get("further", ()))
    if documents := run.documents():
        told = "embedding documents"
        cast(Searching, task).know(model, documents, lambda done, of: run.report("train", done, of, told))
    return model


def fit(run: Run, folder: Path) -> None:
    """The model, taught; of several processes the first leaves what all of them learned in `folder`."""
    how, settings, validation = settings_of(run), run.settings, run.read("validation")
    task, learned = trainable(run.task), run.learned(folder)
    options = _options(run, how, task.metric)
    model = model_of(run, task)
    began = between.weights(model)
    fresh = augment.augmented(learned, how.augment, settings.seed)
    first = os.environ.get("RANK", "0") == "0"
    kind = plugins.labels_of(run.task).kind
    report = training.train(
        task,
        plugins.get("learners", how.learner)(batch_size=how.batch_size, seed=settings.seed),
        model,
        training.Material(*balanced(fresh, run.read("old"), how.balance, kind), validation),
        options,
        folder=run.shop.state.folder("logs", "tensorboard", run.job.service, str(run.job.release)),
        progress=partial(run.report, "train") if first else lambda *_: None,
    )
    if not first:
        return
    share, after = 0.0, report.after
    if how.interpolate:
        share, after = between.go_back(task, model, began, how.interpolate, validation, options.metric)
    _leave(run, task, model, folder, validation)
    known = {**how.model_dump(mode="json"), "threads": options.threads}
    report_of = {**asdict(report), "after": after, "interpolated": share}
    _write_result(run, folder, options=known, report=report_of, learned=len(learned))


def keep_as_it_is(run: Run, folder: Path) -> None:
    """A model that was given without data is its candidate; nothing calibrates its scores."""
    task = trainable(run.task)
    _leave(run, task, model_of(run, task), folder, validation=[])
    _write_result(run, folder, options={}, report={}, learned=0)


def result(folder: Path) -> Result:
    told: Result = json.loads((folder / RESULT).read_text())
    return told


def launch(run: Run, folder: Path) -> None:
    """`fit` in as many processes as the settings say, each on its GPU or on its share of the cores."""
    count = settings_of(run).processes
    order = {
        "settings": run.shop.settings.model_dump(mode="json"),
        "job": run.job.id,
        "lease": asdict(run.lease),
        "folder": str(folder),
    }
    file = folder / ORDER
    file.touch(mode=0o600)  # a store's URL may have a password in it
    file.write_text(json.dumps(order))
    command = [
        # --multi_gpu for a CPU's processes as well: with --cpu there would be one
        *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(count)),
        *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
        *("--main_process_ip", "127.0.0.1", "--main_process_port", "0", "-m", __name__, str(file)),
    ]
    on_cpu = {} if torch.cuda.is_available() else {"ACCELERATE_USE_CPU": "true", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        command,
        check=False,
        env={**os.environ, **on_cpu},
        preexec_fn=die_with_parent,
    )
    file.unlink()
    if done.returncode:
        why = folder / FAILED
        reason = why.read_text() if why.is_file() else f"accelerate launch ended with {done.returncode}"
        raise TrainingFailed(f"in {count} processes: {reason}")


def _start(run: Run) -> Path:
    return run.parent.folder / "checkpoint" if run.parent else Path(run.job.payload["from"])


def _options(run: Run, how: TrainingSettings, metric: str) -> training.Options:
    names = training.Options.__dataclass_fields__
    told = {name: value for name, value in how.model_dump().items() if name in names}
    threads = max(1, (how.threads or cores()) // how.processes)
    return training.Options(**{**told, "seed": run.settings.seed, "threads": threads, "metric": metric})


def _leave(run: Run, task: Trainable, model: Any, folder: Path, validation: Sequence[Example]) -> None:
    task.save(model, folder / "checkpoint")
    task.write_codec(model, validation, folder / "codec", run.settings.abstain_below)


def _write_result(run: Run, folder: Path, **told: Any) -> None:
    start = _start(run)
    origin = {
        "processor": training.processor(),
        "start": str(start),
        "start_sha256": data.file_digest([*start.glob("*.safetensors"), *start.glob("*.gguf")]),
    }
    (folder / RESULT).write_text(json.dumps({**told, **origin}))


def main() -> int:
    die_with_parent()  # a launcher that is killed leaves its processes behind
    order = json.loads(Path(sys.argv[1]).read_text())
    shop, folder = open_workshop(Settings.model_validate(order["settings"])), Path(order["folder"])
    try:
        fit(Run(shop, shop.store.job(order["job"]), Lease(**order["lease"])), folder)
    except PerennialError as error:
        (folder / FAILED).write_text(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
