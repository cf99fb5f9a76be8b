"""Puts a candidate's files together as a bundle: what a release is, and all that it comes from."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from perennial import memory
from perennial.errors import Broken
from perennial.jobs import data
from perennial.jobs.run import Run
from perennial.repository.layout import read_bundle, write_manifest
from perennial.types import Bundle, Example

STEPS_THAT_JUDGE = ("quality", "parity", "latency")
WARMUP_TEXTS = 8
PACKAGES = (
    *("accelerate", "cleanlab", "nncf", "numpy", "onnx", "onnxruntime", "onnxscript", "openvino", "peft"),
    *("scikit-learn", "tensorrt", "tensorrt_rtx_cu13_bindings", "tokenizers", "torch", "transformers"),
)


def refuse_bundle_of_another_job(run: Run) -> None:
    """A store that is new, or was restored, counts from numbers that releases on disk have already."""
    job, folder = run.job, run.shop.state.bundle(run.job.service, run.job.release)
    if folder.exists() and run.shop.bundle_of(job) is None:
        raise Broken(
            f"{folder} is the release of another job than {job.id}, and a release never changes; "
            f"`perennial {job.kind} {job.service}` takes a number above all that are there"
        )


def assemble(run: Run) -> Bundle:
    """The bundle of this job's release; the one on disk where an earlier attempt made it."""
    refuse_bundle_of_another_job(run)
    final = run.shop.state.bundle(run.job.service, run.job.release)
    if not final.exists():
        with run.fresh("bundle") as folder:
            shutil.copytree(run.folder / "train/checkpoint", folder / "checkpoint", copy_function=os.link)
            shutil.copytree(run.folder / "train/codec", folder, copy_function=os.link, dirs_exist_ok=True)
            built = run.folder / "engine" / run.job.steps["parity"]["file"]
            os.link(built, folder / built.name)
            seen = _write_data(run, folder / "data")
            _write_warmup(run, folder / "warmup.json")
            write_manifest(folder, _describe(run, built.name, seen))
        final.parent.mkdir(parents=True, exist_ok=True)
        (run.folder / "bundle").rename(final)
    return read_bundle(final)


def sets(run: Run) -> dict[str, tuple[list[Example], int]]:
    """What later releases start from, and how many rows each set was ever shown: the memory with what was
    learned, golden with what was held out."""
    settings, seen = run.settings, run.parent.manifest["seen"] if run.parent else {}
    grown = {
        "memory": (run.read("old"), run.learned(), settings.memory_rows),
        "golden": (run.read("golden"), run.read("fresh"), settings.golden_rows),
        "validation": (run.read("validation"), [], settings.validation_rows),
    }
    return {
        name: memory.update(old, seen.get(name, len(memory.written(old))), fresh, size, settings.seed)
        for name, (old, fresh, size) in grown.items()
    }


def _write_data(run: Run, folder: Path) -> dict[str, int]:
    """The sets, and what the engine said of those that a head starts from; how many rows each was shown."""
    shutil.copytree(run.folder / "head", folder, copy_function=os.link)
    if documents := run.documents():
        data.write_documents(folder, documents)
    counts = {}
    for name, (rows, counts[name]) in sets(run).items():
        data.write(folder / f"{name}.jsonl", rows)
    return counts


def _write_warmup(run: Run, path: Path) -> None:
    """Real texts, evenly spread over the lengths that the service sees."""
    judging = run.judging()
    ours = [row for row in judging if row.row is None] or judging  # a user may want feedback forgotten
    texts = sorted({row.text for row in ours}, key=len)
    step = max(1, (len(texts) - 1) // (WARMUP_TEXTS - 1))
    path.write_text(json.dumps([*texts[::step][: WARMUP_TEXTS - 1], texts[-1]]))


def _describe(run: Run, engine_file: str, seen: dict[str, int]) -> dict[str, Any]:
    steps, settings = run.job.steps, run.settings
    snapshot, trained = steps["snapshot"], steps["choose" if "choose" in steps else "train"]
    return {
        "service": run.job.service,
        "release": run.job.release,
        "job": run.job.id,
        "task": run.task,
        "labels": snapshot["labels"],
        "documents_until": snapshot.get("documents_until", 0),
        "engine": steps["parity"]["engine"],
        "engine_options": steps["parity"].get("options", {}),  # none of a job begun by an older version
        "precision": steps["parity"]["precision"],
        "file": engine_file,
        "lineage": {
            "previous": snapshot["previous"],
            "parent": run.parent.release if run.parent else 0,
            "start": trained["start"],
            "start_sha256": trained["start_sha256"],
            "data_sha256": snapshot["data_sha256"],
            "feedback_rows": snapshot["feedback_rows"],
            "forgotten": len(run.shop.store.forgotten(run.job.service)),
            "training": trained["options"],
            "seed": settings.seed,
            "packages": dict(_versions()),
            "python": platform.python_version(),
            "processor": trained["processor"],
        },
        "metrics": {
            "train": trained["report"],
            "quality": steps["quality"]["figures"],
            "shadow": steps.get("shadow", {}),  # a job begun by an older version has no such step
        },
        "engines": steps["engine"],
        "verdicts": [_verdict(steps[name]) for name in STEPS_THAT_JUDGE],
        "seen": seen,
        "created_at": time.time(),
    }


def _versions() -> Iterator[tuple[str, str]]:
    """Of those that are installed; an engine that is not has made nothing."""
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            yield package, version(package)


def _verdict(step: Any) -> dict[str, Any]:
    return {key: step[key] for key in ("gate", "outcome", "reason", "figures")}
