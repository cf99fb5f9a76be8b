"""Releases to bench with: one under other numbers, broken ones, and what a release should answer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from perennial.cli.build import enqueue_build
from perennial.cli.learn import run_here_or_follow
from perennial.errors import Unavailable
from perennial.jobs import data
from perennial.jobs.workshop import Workshop, pipeline_of
from perennial.repository.layout import MANIFEST, write_manifest
from perennial.types import Bundle, Example, text_tensor
from perennial_client import Answer

Probabilities: TypeAlias = npt.NDArray[np.float64]
"""(labels,) or (texts, labels), the labels in the order of their names."""

NOT_SERVED = ("checkpoint", "data")
"""Folders of a bundle of which no server ever sees a file."""

Break: TypeAlias = Callable[[bytes], bytes]
BREAKS: tuple[Break, ...] = (
    lambda engine: engine[: len(engine) // 2],
    lambda engine: engine.replace(b"input_ids", b"input_idz"),  # opens, and takes other tensors
    lambda _: b"no engine",
)
"""What can be wrong with an engine file that its manifest describes."""


def copy_release(
    bundle: Bundle,
    folder: Path,
    release: int,
    previous: int,
    break_engine: Break | None = None,
) -> Bundle:
    """The bundle's files under another number, without a history: the feedback that it learned is not where
    the copy will serve, and numbers there are others' rows. Its engine file is broken if told so.

    What is served is copied: Triton takes a link that comes or goes for a change of the file, since that
    changes its ctime, and would initialise every other release that shares the file again.
    """
    shutil.copytree(bundle.folder, folder, ignore=shutil.ignore_patterns(MANIFEST, *NOT_SERVED))
    for name in NOT_SERVED:
        shutil.copytree(bundle.folder / name, folder / name, copy_function=os.link)
    for path in (folder / "data").glob("*.jsonl"):
        numberless = [replace(example, row=None) for example in data.read(path)]
        path.unlink()  # it is the original's as well
        data.write(path, numberless)
    if break_engine:
        engine = folder / bundle.manifest["file"]
        engine.write_bytes(break_engine(engine.read_bytes()))
    alone = {"previous": previous, "parent": 0, "feedback_rows": []}
    lineage = {**bundle.manifest["lineage"], **alone}
    return write_manifest(folder, {**bundle.manifest, "release": release, "lineage": lineage})


def train_further(shop: Workshop, serving: Bundle, examples: Sequence[Example]) -> Bundle:
    """The next release, trained on from `serving`, as a user builds a service anew."""
    file = shop.state.folder("samples") / "further.jsonl"
    data.write(file, examples)
    task, checkpoint = serving.manifest["task"], serving.folder / "checkpoint"
    job = enqueue_build(shop, serving.service, task, checkpoint, file)
    run_here_or_follow(shop, job, quiet=True)
    done = shop.store.job(job.id)
    if done.state != "kept":
        raise Unavailable(f"the second release was not built but {done.state}: {done.detail}")
    return shop.bundle(done.service, done.release)


def expected(bundle: Bundle, texts: Sequence[str]) -> Probabilities:
    """What the release answers in process, each text alone: (texts, labels)."""
    pipeline = pipeline_of(bundle)
    top_k = np.array([[len(bundle.manifest["labels"])]], np.int32)
    asked = [{"TEXT": text_tensor([text]), "TOP_K": top_k} for text in texts]
    answers = pipeline.codec.decode(asked, pipeline.outputs(texts))
    pipeline.session.close()
    return np.stack([_by_label(one["TOP_LABELS"][0], one["TOP_SCORES"][0]) for one in answers])


def answered(answer: Answer) -> Probabilities:
    """An answer that was asked for every label: (labels,)."""
    labels, scores = zip(*answer.top, strict=True)
    return _by_label(labels, scores)


def _by_label(labels: Sequence[str | bytes], scores: Sequence[float]) -> Probabilities:
    return np.array([score for _, score in sorted(zip(labels, scores, strict=True))], np.float64)


def distance(one: Probabilities, other: Probabilities) -> Probabilities:
    """Total variation over the last axis, in [0, 1]."""
    return np.asarray(np.abs(one - other).sum(-1) / 2)
