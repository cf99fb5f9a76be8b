"""What an engine said of a set, as it is kept: of whole texts, and of their tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from perennial.jobs import said
from perennial.types import Tensors


def whole(number: int) -> Tensors:
    return {"logits": np.full((1, 3), number, np.float32), "TRUNCATED": np.array([[number % 2 == 0]])}


def of_tokens(number: int) -> Tensors:
    return {
        "logits": np.full((1, number + 2, 3), number, np.float32),
        "TRUNCATED": np.array([[number % 2 == 0]]),
    }


def same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_texts_without_tokens_are_one_request(tmp_path: Path) -> None:
    said.write(tmp_path / "set.npz", [whole(number) for number in range(4)])
    (found,) = said.read(tmp_path / "set.npz")
    assert found["logits"][:, 0].tolist() == [0, 1, 2, 3]
    assert said.count(tmp_path / "set.npz") == 4


def test_texts_of_many_lengths_are_a_request_each(tmp_path: Path) -> None:
    texts = [of_tokens(number) for number in range(4)]
    said.write(tmp_path / "set.npz", texts)
    found = said.read(tmp_path / "set.npz")
    assert all(same(one, other) for one, other in zip(found, texts, strict=True))
    assert said.count(tmp_path / "set.npz") == 4


def test_some_are_kept(tmp_path: Path) -> None:
    for kind in (whole, of_tokens):
        said.write(tmp_path / "set.npz", [kind(number) for number in range(4)])
        said.keep(tmp_path / "set.npz", [3, 1], tmp_path / "part.npz")
        found = said.read(tmp_path / "part.npz")
        assert [float(row[..., 0].flat[0]) for one in found for row in one["logits"]] == [3, 1]
        assert said.count(tmp_path / "part.npz") == 2
        said.keep(tmp_path / "set.npz", [], tmp_path / "none.npz")
        assert said.count(tmp_path / "none.npz") == 0
