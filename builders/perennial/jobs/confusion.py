"""What a candidate takes for what: a classification report of each set that judges it, as text and JSON, and
the confusion matrix as a picture where perennial_perf and matplotlib are there to draw it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from perennial.state import State
from perennial.types import Array


def report_of(state: State, service: str, release: int) -> str | None:
    """Where the text of a candidate's report is, if it is; picture and JSON are beside it."""
    path = _place(state, service, release).with_suffix(".txt")
    return str(path) if path.is_file() else None


def keep(
    state: State, service: str, release: int, labels: Sequence[str], matrices: Mapping[str, Array]
) -> None:
    write(_place(state, service, release), labels, matrices)


def write(path: Path, labels: Sequence[str], matrices: Mapping[str, Array]) -> None:
    """`path`, without a suffix, as .txt, .json and .png. A matrix (labels, labels) counts for each right
    label, by row, what was answered; of a set without rows nothing is said."""
    judged = {name: matrix for name, matrix in matrices.items() if matrix.any()}
    reports = {name: _report(labels, matrix, output_dict=True) for name, matrix in judged.items()}
    figures = {
        name: {"report": reports[name], "labels": list(labels), "confusion": matrix.tolist()}
        for name, matrix in judged.items()
    }
    path.with_suffix(".json").write_text(json.dumps(figures, ensure_ascii=False, indent=2) + "\n")
    texts = [f"{name}\n\n{_report(labels, matrix, digits=3)}" for name, matrix in judged.items()]
    path.with_suffix(".txt").write_text("\n".join(texts))
    with suppress(ModuleNotFoundError):
        import_module("perennial_perf.confusion").draw(labels, judged, path.with_suffix(".png"))


def _report(labels: Sequence[str], matrix: Array, **how: Any) -> Any:
    from sklearn.metrics import classification_report

    named = [place for place in range(len(labels)) if matrix[place].any() or matrix[:, place].any()]
    truth, said = (places.ravel() for places in np.indices(matrix.shape))
    counts = matrix.ravel()
    return classification_report(
        truth.repeat(counts),
        said.repeat(counts),
        labels=named,
        target_names=[labels[place] for place in named],
        zero_division=0.0,
        **how,
    )


def _place(state: State, service: str, release: int) -> Path:
    """Without a suffix."""
    return state.folder("reports") / f"{service}-{release}"
