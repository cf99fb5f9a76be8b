"""What the torch half of every task promises the jobs: `classify`, on a tiny BERT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perennial import plugins
from perennial.errors import ConfigError, TrainingFailed
from perennial.pipeline import Pipeline
from perennial.types import Example
from tiny import LABELS, tiny_examples

EXAMPLES = tiny_examples(30)


@pytest.fixture(scope="module")
def task() -> Any:
    return plugins.get("tasks/classify", "train")()


def logits(task: Any, model: Any) -> Any:
    return task.session(model).run(
        {"input_ids": np.array([[2, 5, 6, 3]]), "attention_mask": np.ones((1, 4), int)}
    )["logits"]


def test_an_encoder_gets_a_head_that_prefers_no_label(task: Any, tiny_encoder: Path) -> None:
    assert logits(task, task.load(tiny_encoder, LABELS)).tolist() == [[0.0, 0.0, 0.0]]


def test_what_is_saved_is_what_is_loaded(task: Any, tiny_release: Path, tmp_path: Path) -> None:
    model = task.load(tiny_release / "checkpoint", LABELS)
    task.save(model, tmp_path)
    again = task.load(tmp_path, LABELS)
    assert np.array_equal(logits(task, model), logits(task, again))
    assert (model.labels, model.tokens.max_tokens) == (again.labels, again.tokens.max_tokens)
    assert not list(tmp_path.glob("*.bin"))


def test_labels_are_found_by_their_names_in_any_order(task: Any, tiny_release: Path) -> None:
    checkpoint = tiny_release / "checkpoint"
    forth = logits(task, task.load(checkpoint, LABELS))
    back = logits(task, task.load(checkpoint, [label.upper() for label in reversed(LABELS)]))
    assert np.array_equal(forth[:, ::-1], back)


def test_a_label_that_a_checkpoint_lacks_among_some_that_it_knows_is_an_error(
    task: Any, tiny_release: Path
) -> None:
    with pytest.raises(ConfigError, match=r"labels \['postive'\] are not among"):
        task.load(tiny_release / "checkpoint", ["negative", "postive"])


def test_a_checkpoint_of_other_labels_gets_a_fresh_head(task: Any, tiny_release: Path) -> None:
    model = task.load(tiny_release / "checkpoint", ["spam", "ham"])
    assert logits(task, model).tolist() == [[0.0, 0.0]]


def test_a_classifier_of_transformers_keeps_its_own_head(
    task: Any, tiny_encoder: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    names = dict(enumerate(LABELS))
    config = BertConfig.from_pretrained(
        tiny_encoder, id2label=names, label2id={v: k for k, v in names.items()}
    )
    theirs = BertForSequenceClassification(config).eval()
    theirs.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(tmp_path)
    ids = torch.tensor([[2, 5, 6, 3]])
    with torch.inference_mode():
        wanted = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.numpy()
    np.testing.assert_allclose(logits(task, task.load(tmp_path, LABELS)), wanted, atol=1e-6)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_folder_that_lacks_a_file_is_refused_in_one_line(
    task: Any, tiny_encoder: Path, tmp_path: Path, name: str
) -> None:
    for file in tiny_encoder.iterdir():
        if file.name != name:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    if name == "model.safetensors":
        torch.save({}, tmp_path / "pytorch_model.bin")  # never read: a pickle runs code
    with pytest.raises(ConfigError, match="does not load") as caught:
        task.load(tmp_path, LABELS)
    assert "\n" not in str(caught.value)


def test_an_example_counts_as_far_as_it_is_trusted(task: Any, tiny_release: Path) -> None:
    model = task.load(tiny_release / "checkpoint", LABELS).eval()
    sure, doubted = Example("good", "negative"), Example("good", "negative", weight=0.25)
    whole = float(task.loss(model, [sure]).detach())
    assert whole > 1
    assert float(task.loss(model, [doubted]).detach()) == pytest.approx(whole / 4)
    assert float(task.loss(model, [sure, doubted]).detach()) == pytest.approx(
        whole * 5 / 8, rel=0.02
    )  # bfloat16


def test_a_label_that_the_service_lacks_is_named(task: Any, tiny_release: Path) -> None:
    model = task.load(tiny_release / "checkpoint", LABELS)
    with pytest.raises(TrainingFailed, match="'joyful' of 'good' is not one of"):
        task.loss(model, [Example("good", "joyful")])


@pytest.mark.parametrize(("layers", "moving"), [(0, set()), (1, {"1"}), (2, {"0", "1"}), (9, {"0", "1"})])
def test_the_head_and_the_last_layers_learn(
    task: Any, tiny_release: Path, layers: int, moving: set[str]
) -> None:
    model = task.load(tiny_release / "checkpoint", LABELS)
    task.freeze(model, layers)
    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert {name.split("layer.")[1][0] for name in learning if "layer." in name} == moving
    assert {"head.weight", "head.bias"} <= learning
    assert not any("embeddings" in name for name in learning)


def test_its_own_score_is_what_the_codec_says_of_the_session(task: Any, tiny_release: Path) -> None:
    model = task.load(tiny_release / "checkpoint", LABELS).train()
    codec = plugins.get("tasks/classify", "codec")(tiny_release)
    mixed = [*EXAMPLES, Example("the movie was great", "negative")]
    ours = task.score(model, mixed)
    assert model.training
    theirs = codec.score(Pipeline(codec, task.session(model)).answers([row.text for row in mixed]), mixed)
    assert ours.metrics == theirs.metrics
    assert ours.correct.tolist() == theirs.correct.tolist()


def test_the_graph_takes_and_gives_what_the_codec_names(tiny_release: Path) -> None:
    import onnx

    signature = plugins.get("tasks/classify", "codec")(tiny_release).signature
    graph = onnx.load(tiny_release / "model.onnx")
    assert [value.name for value in graph.graph.input] == [spec.name for spec in signature.engine_in]
    assert [value.name for value in graph.graph.output] == [spec.name for spec in signature.engine_out]
    assert not any(node.metadata_props for node in graph.graph.node)  # they hold paths of this machine


def test_a_network_that_is_too_sure_of_itself_is_cooled(
    task: Any, tiny_release: Path, tmp_path: Path
) -> None:
    model = task.load(tiny_release / "checkpoint", LABELS)
    task.write_codec(
        model,
        [*EXAMPLES[:20], *(Example(row.text, "neutral") for row in EXAMPLES[:10])],
        tmp_path,
        abstain_below=0.0,
    )
    wrong = json.loads((tmp_path / "calibration.json").read_text())["temperature"]
    right = json.loads((tiny_release / "calibration.json").read_text())["temperature"]
    assert wrong > 1 > right


def test_the_codec_files_leave_cutting_and_padding_to_the_codec(tiny_release: Path) -> None:
    written = json.loads((tiny_release / "tokenizer.json").read_text())
    assert written["truncation"] is written["padding"] is None
