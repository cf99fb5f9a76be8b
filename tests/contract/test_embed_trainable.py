"""What the torch half of `embed` promises the jobs, on a tiny BERT."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perennial import plugins
from perennial.errors import ConfigError
from perennial.pipeline import Pipeline, request_of
from perennial.types import Example
from tiny import TONED, tiny_queries, wanting

TEXT = "the movie was very bad"


@pytest.fixture(scope="module")
def task() -> Any:
    return plugins.get("tasks/embed", "train")()


@pytest.fixture(scope="module")
def taught(task: Any, tiny_encoder: Path) -> Any:
    """A hundred steps."""
    torch.manual_seed(0)  # of dropout
    model = task.load(tiny_encoder, [])
    task.know(model, TONED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(100):
        optimizer.zero_grad()
        task.loss(model, tiny_queries(24)).backward()
        optimizer.step()
    return model.eval()


def test_a_vector_is_the_mean_of_the_last_hidden_states_of_length_1(task: Any, tiny_encoder: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    model = task.load(tiny_encoder, []).eval()
    theirs, asked = (
        AutoModel.from_pretrained(tiny_encoder).eval(),
        AutoTokenizer.from_pretrained(tiny_encoder),
    )
    with torch.inference_mode():
        hidden = theirs(**asked(TEXT, return_tensors="pt")).last_hidden_state
        wanted = torch.nn.functional.normalize(hidden.mean(1))
        first = torch.nn.functional.normalize(hidden[:, 0])
        torch.testing.assert_close(model.of([TEXT]), wanted, rtol=0, atol=1e-5)
        model.pooling = "cls"
        torch.testing.assert_close(model.of([TEXT]), first, rtol=0, atol=1e-5)


def test_pooling_is_read_from_the_checkpoint_and_kept(task: Any, tiny_encoder: Path, tmp_path: Path) -> None:
    model = task.load(tiny_encoder, [])
    model.pooling = "cls"
    task.save(model, tmp_path)
    assert task.load(tmp_path, []).pooling == "cls"
    (tmp_path / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(
        ConfigError, match="pools by pooling_mode_max_tokens; a service that embeds takes the mean"
    ):
        task.load(tmp_path, [])
    modules = [
        {"type": f"sentence_transformers.models.{name}"} for name in ("Transformer", "Pooling", "Dense")
    ]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ConfigError, match="has a module Dense"):
        task.load(tmp_path, [])


def test_what_does_not_load_is_told_in_one_line(task: Any, tiny_encoder: Path, tmp_path: Path) -> None:
    task.save(task.load(tiny_encoder, []), tmp_path)
    (tmp_path / "1_Pooling/config.json").write_text("{")
    for checkpoint in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigError, match=r"does not load: .*; give the folder or hub id") as refused:
            task.load(checkpoint, [])
        assert "\n" not in str(refused.value)


def test_it_learns_to_find_what_texts_want(task: Any, taught: Any, tiny_encoder: Path) -> None:
    fresh = task.load(tiny_encoder, [])
    task.know(fresh, TONED)
    rows = tiny_queries(48)[24:]
    before, after = (task.score(model, rows).metrics["ndcg@10"] for model in (fresh, taught))
    assert after > before + 0.2


def test_what_is_not_relevant_is_pushed_away(task: Any, tiny_encoder: Path) -> None:
    model = task.load(tiny_encoder, [])
    task.know(model, {"a": "great day", "b": "awful day"})
    said = [{"document": "a", "said": "relevant"}, {"document": "b", "said": "not relevant"}]
    row = Example("a lovely movie", json.dumps(said))

    def likeness(name: str) -> float:
        with torch.inference_mode():
            return float(model.of([row.text])[0] @ model.of([model.documents[name]])[0])

    apart = likeness("a") - likeness("b")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(20):
        optimizer.zero_grad()
        task.loss(model, [row]).backward()
        optimizer.step()
    assert likeness("a") - likeness("b") > apart + 0.1


def test_who_waits_is_told_how_many_documents_are_read(task: Any, tiny_encoder: Path, tmp_path: Path) -> None:
    model, told = task.load(tiny_encoder, []), list[tuple[int, int]]()
    task.know(model, {str(number): f"day {number}" for number in range(70)}, lambda *some: told.append(some))
    task.write_codec(model, [], tmp_path, 0.0)
    assert told == [(64, 70), (70, 70)]


def test_nothing_that_is_known_costs_nothing(task: Any, tiny_encoder: Path) -> None:
    model = task.load(tiny_encoder, [])
    loss = task.loss(model, [Example(TEXT, "[]"), Example(TEXT, wanting("gone"))])
    loss.backward()
    assert loss.item() == 0.0
    assert task.score(model, [Example(TEXT, "[]")]).metrics["accuracy"] == 1.0


def test_the_codec_and_every_session_find_what_the_network_finds(
    task: Any, taught: Any, tmp_path: Path
) -> None:
    task.export(taught, tmp_path)
    task.write_codec(taught, [], tmp_path, 0.0)
    codec, rows = plugins.get("tasks/embed", "codec")(tmp_path), tiny_queries(30)
    texts = [row.text for row in rows]
    found = []
    for session in (
        task.session(taught),
        plugins.get("engines", "onnxruntime")().open(tmp_path / "model.onnx", 1),
    ):
        with closing(session):
            answers = Pipeline(codec, session).answers(texts)
        vectors = np.concatenate([answer["EMBEDDING"] for answer in answers])
        np.testing.assert_allclose(vectors, taught.known(texts).numpy(), atol=1e-5)
        found.append([answer["LABEL"].item() for answer in answers])
        assert codec.score(answers, rows).metrics["recall@10"] > 0.8
    assert found[0] == found[1]
    (encoded,) = codec.encode([request_of(["bad " * 100])])
    assert encoded["TRUNCATED"].item()


def test_texts_are_made_up_and_nothing_is_said_of_them(task: Any, tiny_encoder: Path) -> None:
    model = task.load(tiny_encoder, [])
    rows = task.made_up(model, 40, seed=0)
    assert rows == task.made_up(model, 40, seed=0) and {row.label for row in rows} == {"[]"}
    assert task.labels(tiny_encoder) == []
