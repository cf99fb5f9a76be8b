"""The report of what a candidate answers wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perennial.jobs.confusion import write

MATRIX = np.array([[8, 2, 0], [1, 9, 0], [0, 5, 5]])
LABELS = ("bad", "fair", "góod")


def test_it_says_of_each_set_what_was_taken_for_what(tmp_path: Path) -> None:
    write(tmp_path / "tone-2", LABELS, {"golden": MATRIX, "fresh": np.zeros((3, 3), int)})
    told = json.loads((tmp_path / "tone-2.json").read_text())
    assert set(told) == {"golden"}, "of a set without rows nothing"
    assert (told["golden"]["labels"], told["golden"]["confusion"]) == (list(LABELS), MATRIX.tolist())
    fair = told["golden"]["report"]["fair"]
    assert fair == pytest.approx({"precision": 9 / 16, "recall": 0.9, "f1-score": 18 / 26, "support": 10})
    text = (tmp_path / "tone-2.txt").read_text()
    assert "golden" in text and "góod" in text and "0.562" in text


def test_it_is_drawn_for_few_labels_and_for_many(tmp_path: Path) -> None:
    for count in (2, 14):
        labels = [f"label {number}" for number in range(count)]
        write(tmp_path / "drawn", labels, {name: np.eye(count, dtype=int) for name in ("golden", "fresh")})
        with Image.open(tmp_path / "drawn.png") as picture:
            assert picture.width > picture.height > 100
