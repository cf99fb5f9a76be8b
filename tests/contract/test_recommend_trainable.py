"""What the torch half of `recommend` promises the jobs."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perennial import plugins
from perennial.errors import ConfigError
from perennial.pipeline import Pipeline
from perennial.types import UNTOLD, Example
from tiny import TONED, asking, tiny_tastes, wanting


@pytest.fixture(scope="module")
def task() -> Any:
    return plugins.get("tasks/recommend", "train")()


@pytest.fixture(scope="module")
def taught(task: Any, tiny_encoder: Path) -> Any:
    torch.manual_seed(0)  # of dropout
    model = task.load(tiny_encoder, [])
    task.know(model, TONED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        task.loss(model, tiny_tastes(120)).backward()
        optimizer.step()
    return model.eval()


def logits(task: Any, model: Any, *rows: Example) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = task.logits(model.eval(), rows)
    return found


def test_it_learns_what_users_of_a_taste_want(task: Any, taught: Any, tiny_encoder: Path) -> None:
    fresh = task.load(tiny_encoder, [])
    task.know(fresh, TONED)
    rows = [Example(row.text.replace("user ", "other "), row.label) for row in tiny_tastes(90)]
    before, after = (task.score(model, rows).metrics["recall@20"] for model in (fresh, taught))
    assert after > max(0.9, before + 0.2)


def test_what_was_saved_answers_the_same_and_goes_on(task: Any, taught: Any, tmp_path: Path) -> None:
    task.save(taught, tmp_path)
    again = task.load(tmp_path, [])
    rows = tiny_tastes(12)
    torch.testing.assert_close(logits(task, again, *rows), logits(task, taught, *rows))
    assert again.items == TONED
    task.know(again, {**dict(list(TONED.items())[1:]), "new": "it was a great day number 99"})
    assert len(again.items) == len(TONED) and "new" in again.items
    kept = logits(task, taught, *rows)[:, 1:]
    row = tiny_tastes(12)[5]
    assert logits(task, again, row).shape == (1, len(TONED))
    first = next(iter(TONED))
    unlike = [place for place, one in enumerate(rows) if first not in one.text]
    torch.testing.assert_close(logits(task, again, *rows)[unlike, :-1], kept[unlike], rtol=1e-4, atol=1e-4)


def test_an_item_that_nobody_took_stands_near_those_of_like_text(task: Any, taught: Any) -> None:
    from copy import deepcopy

    model = deepcopy(taught)
    task.know(model, {**TONED, "new": TONED["positive/1"]})
    with torch.no_grad():
        items = torch.nn.functional.normalize(model.all_items() - model.own, dim=-1)
    assert float(items[-1] @ items[[*TONED].index("positive/1")]) == pytest.approx(1.0, abs=1e-4)


def test_what_is_not_wanted_is_pushed_away(task: Any, tiny_encoder: Path) -> None:
    model = task.load(tiny_encoder, [])
    task.know(model, TONED)
    ids = [*TONED]
    said = f'[{{"document": "{ids[0]}", "said": "rated", "rating": 1}}]'
    row, wish = Example(asking("ann"), said), Example(asking("ann"), wanting(ids[1]))
    apart = logits(task, model, row)[0, [1, 0]]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(20):
        model.train()
        optimizer.zero_grad()
        task.loss(model, [row, wish]).backward()
        optimizer.step()
    after = logits(task, model, row)[0, [1, 0]]
    assert after[0] - after[1] > apart[0] - apart[1] + 0.1
    assert task.columns(model, [row, wish]).tolist() == [UNTOLD, 1]


def test_the_codec_and_every_session_find_what_the_network_finds(
    task: Any, taught: Any, tmp_path: Path
) -> None:
    task.export(taught, tmp_path)
    task.write_codec(taught, [], tmp_path, 0.0)
    codec, rows = plugins.get("tasks/recommend", "codec")(tmp_path), tiny_tastes(30)
    texts, found = [row.text for row in rows], []
    for session in (
        task.session(taught),
        plugins.get("engines", "onnxruntime")().open(tmp_path / "model.onnx", 1),
    ):
        with closing(session):
            answers = Pipeline(codec, session).answers(texts)
        found.append([answer["LABEL"].item() for answer in answers])
        best = logits(task, taught, rows[0]).sigmoid()
        assert codec.score(answers, rows).metrics["recall@20"] == pytest.approx(
            task.score(taught, rows).metrics["recall@20"], abs=0.05
        )
        np.testing.assert_allclose(answers[0]["SCORES"][0, 0], float(best.max()), atol=0.02)
    assert found[0] == found[1]


def test_what_it_cannot_do_is_told_in_one_line(task: Any, tiny_encoder: Path) -> None:
    model = task.load(tiny_encoder, [])
    for refuse in (
        lambda: task.labels(tiny_encoder),
        lambda: task.loss(model, tiny_tastes(2)),
        lambda: task.freeze(model, "lora", 1),
    ):
        with pytest.raises(ConfigError) as refused:
            refuse()
        assert "\n" not in str(refused.value)
