"""Claims about a codec and a session as one predictor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perennial.pipeline import Pipeline
from perennial.tasks.classify.codec import ClassifyCodec
from perennial.types import Tensors
from tiny import LABELS, tiny_codec, tiny_examples

TEXTS = [example.text for example in tiny_examples(40)]


class CountingSession:
    """Answers a row with its tokens' sum, and remembers how many rows each run had."""

    def __init__(self) -> None:
        self.runs: list[int] = []

    def run(self, tensors: Tensors) -> Tensors:
        assert tensors["attention_mask"].all(), "a row was padded"
        self.runs.append(len(tensors["input_ids"]))
        return {"logits": np.repeat(tensors["input_ids"].sum(axis=1, keepdims=True), len(LABELS), axis=1)}

    def close(self) -> None:
        pass


@pytest.fixture
def codec(tmp_path: Path) -> ClassifyCodec:
    return ClassifyCodec(tiny_codec(tmp_path / "codec"))


def test_each_text_gets_its_own_outputs_whoever_ran_beside_it(codec: ClassifyCodec) -> None:
    alone = Pipeline(codec, CountingSession()).outputs(TEXTS)
    together = Pipeline(codec, CountingSession(), together=4).outputs(TEXTS)
    for one, other in zip(alone, together, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_texts_of_one_length_run_together_and_none_is_padded(codec: ClassifyCodec) -> None:
    session = CountingSession()
    Pipeline(codec, session, together=4).outputs(TEXTS)
    assert sum(session.runs) == len(TEXTS)
    assert max(session.runs) == 4
    assert len(session.runs) < len(TEXTS)
    assert Pipeline(codec, session).outputs([]) == []
