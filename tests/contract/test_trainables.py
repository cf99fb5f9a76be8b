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


def test_a_further_label_is_told_apart_and_not_answered_yet(
    task: Any, tiny_release: Path, tmp_path: Path
) -> None:
    checkpoint, wider = tiny_release / "checkpoint", ["negative", "mixed", "neutral", "positive"]
    known, model = logits(task, task.load(checkpoint, LABELS)), task.load(checkpoint, wider, {"mixed"})
    said = logits(task, model)
    np.testing.assert_allclose(said[:, [0, 2, 3]], known, atol=1e-5)
    assert known.min() < said[0, 1] < known.max()
    task.save(model, tmp_path)
    assert np.array_equal(logits(task, task.load(tmp_path, wider)), said)
    with pytest.raises(ConfigError, match=r"labels \['postive'\] are not among"):
        task.load(checkpoint, ["negative", "postive", "mixed"], {"mixed"})


def test_texts_are_made_up_alike_each_time_and_labelled_as_they_are_answered(
    task: Any, tiny_release: Path
) -> None:
    model = task.load(tiny_release / "checkpoint", LABELS)
    rows = task.made_up(model, 60, seed=0)
    assert rows == task.made_up(model, 60, seed=0) != task.made_up(model, 60, seed=1)
    assert task.score(model, rows).metrics["accuracy"] == 1.0
    lengths = [len(row.text.split()) for row in rows]
    assert min(lengths) <= 3 and max(lengths) > 20


def test_a_classifier_says_what_it_tells_apart_and_others_are_refused(
    task: Any, tiny_release: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    assert task.labels(tiny_release / "checkpoint") == list(LABELS)
    with pytest.raises(ConfigError, match=r"classifies nothing yet; give --data"):
        task.labels(tiny_encoder)
    config = json.loads((tiny_encoder / "config.json").read_text())
    unnamed = {**config, "architectures": ["BertForSequenceClassification"]}
    (tmp_path / "config.json").write_text(json.dumps(unnamed))
    with pytest.raises(ConfigError, match=r"calls its labels LABEL_0, LABEL_1; name them in id2label"):
        task.labels(tmp_path)


def test_what_unit_logits_are_worth_does_not_hang_on_a_label_without_rows(
    task: Any, tiny_release: Path, tmp_path: Path
) -> None:
    checkpoint, wider = tiny_release / "checkpoint", [*LABELS, "mixed"]
    model = task.load(checkpoint, wider, {"mixed"})
    model.head.bias.data[3] -= 30
    task.write_codec(model, EXAMPLES, tmp_path / "wide", abstain_below=0.0)
    task.write_codec(task.load(checkpoint, LABELS), EXAMPLES, tmp_path / "plain", abstain_below=0.0)
    slopes = [
        json.loads((tmp_path / name / "calibration.json").read_text())["slope"] for name in ("wide", "plain")
    ]
    assert slopes[0] == pytest.approx(slopes[1], abs=1e-5)


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
    wider = task.load(tmp_path, [*LABELS, "mixed"], {"mixed"})
    task.save(wider, tmp_path / "wider")
    again = logits(task, task.load(tmp_path / "wider", [*LABELS, "mixed"]))
    np.testing.assert_allclose(again, [[*wanted[0], wanted.mean()]], atol=1e-6)


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


@pytest.mark.parametrize(
    ("but", "layers", "moving"),
    [
        ("head", 3, set()),
        ("last-k", 0, set()),
        ("last-k", 1, {"1"}),
        ("last-k", 2, {"0", "1"}),
        ("last-k", 9, {"0", "1"}),
        ("lora", 0, {"0", "1"}),
        ("full", 0, {"0", "1"}),
    ],
)
def test_the_head_learns_and_of_the_stack_what_is_asked_for(
    task: Any, tiny_encoder: Path, but: str, layers: int, moving: set[str]
) -> None:
    model = task.load(tiny_encoder, LABELS)
    task.freeze(model, but, layers)
    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert {name.split("layer.")[1][0] for name in learning if "layer." in name} == moving
    assert {"head.weight", "head.bias"} <= learning
    assert any("embeddings" in name for name in learning) == (but == "full")
    added = {name.split("self.")[1].split(".")[0] for name in learning if "lora_" in name}
    assert added == ({"query", "value"} if but == "lora" else set())


def test_what_lora_added_is_merged_into_a_checkpoint_as_any_other(
    task: Any, tiny_encoder: Path, tmp_path: Path
) -> None:
    model = task.load(tiny_encoder, LABELS)
    names = list(model.state_dict())
    task.freeze(model, "lora", 0)
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=1e-2)
    for _ in range(5):
        optimizer.zero_grad()
        task.loss(model, EXAMPLES[:6]).backward()
        optimizer.step()
    adapted = logits(task, model)
    task.merge(model)
    assert list(model.state_dict()) == names
    np.testing.assert_allclose(logits(task, model), adapted, atol=1e-5)
    before = task.load(tiny_encoder, LABELS).state_dict()[
        "network.encoder.layer.0.attention.self.query.weight"
    ]
    assert not torch.equal(model.network.encoder.layer[0].attention.self.query.weight, before)
    task.save(model, tmp_path)
    np.testing.assert_allclose(logits(task, task.load(tmp_path, LABELS)), adapted, atol=1e-5)


def test_a_network_that_lora_does_not_know_is_refused_in_one_line(task: Any, tiny_encoder: Path) -> None:
    model = task.load(tiny_encoder, LABELS)
    for layer in model.network.encoder.layer:
        layer.attention.self = torch.nn.Identity()
    with pytest.raises(ConfigError, match="LoRA finds no query and value in a BertModel; choose another"):
        task.freeze(model, "lora", 0)


def test_its_own_score_is_what_the_codec_says_of_the_session(task: Any, tiny_release: Path) -> None:
    model = task.load(tiny_release / "checkpoint", LABELS).train()
    codec = plugins.get("tasks/classify", "codec")(tiny_release)
    mixed = [*EXAMPLES, Example("the movie was great", "negative")]
    ours = task.score(model, mixed)
    assert model.training
    theirs = codec.score(Pipeline(codec, task.session(model)).answers([row.text for row in mixed]), mixed)
    assert ours.metrics == theirs.metrics
    assert ours.correct.tolist() == theirs.correct.tolist()


@pytest.mark.parametrize(("name", "built"), [("classify", "tiny_release"), ("tag", "tiny_tagger_release")])
def test_the_graph_takes_and_gives_what_the_codec_names(
    name: str, built: str, request: pytest.FixtureRequest
) -> None:
    import onnx

    release: Path = request.getfixturevalue(built)
    signature = plugins.get(f"tasks/{name}", "codec")(release).signature
    graph = onnx.load(release / "model.onnx")
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
