"""What one side's answers cost beside another's, and how surely that is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perennial.jobs.price import price
from perennial.tasks.classify.codec import ClassifyCodec
from perennial.types import Example, Tensors
from tiny import LABELS, tiny_codec


def test_a_price_is_known_the_better_the_more_texts_judge(tmp_path: Path) -> None:
    codec = ClassifyCodec(tiny_codec(tmp_path))

    def priced(texts: int) -> tuple[float, float]:
        gold = [LABELS[number % 3] for number in range(texts)]
        wrong = [LABELS[(number + (number % 10 == 0)) % 3] for number in range(texts)]
        examples = [Example(str(number), label) for number, label in enumerate(gold)]
        found = price(codec, said(wrong), said(gold), examples)
        assert found.low < found.points < found.high < 0
        return found.points, found.high - found.low

    few, many = priced(60), priced(600)
    assert few[0] == pytest.approx(-10, abs=1) and many[0] == pytest.approx(-10, abs=1)
    assert many[1] < few[1] / 2


def said(labels: list[str]) -> list[Tensors]:
    return [{"LABEL": np.array([[label.encode()]], np.object_)} for label in labels]
