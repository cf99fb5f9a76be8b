"""What the torch half of `tag` promises the jobs, on a tiny BERT."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perennial import plugins
from perennial.encoders.windows import served
from perennial.errors import ConfigError, TrainingFailed
from perennial.jobs import teaching
from perennial.pipeline import Pipeline
from perennial.types import UNTOLD, Example
from tiny import SPAN_LABELS, spoken, tiny_spans

EXAMPLES = tiny_spans(48)
TEXT = "the movie was very bad"


@pytest.fixture(scope="module")
def task() -> Any:
    return plugins.get("tasks/tag", "train")()


@pytest.fixture
def release(tiny_tagger_release: Path) -> Path:
    return tiny_tagger_release


def loaded(task: Any, release: Path) -> Any:
    return task.load(release / "checkpoint", SPAN_LABELS)


def label(*spans: list[Any]) -> str:
    return json.dumps([*spans])


def test_an_encoder_gets_a_head_that_hardly_prefers_a_class(task: Any, tiny_encoder: Path) -> None:
    logits, again = (
        task.logits(task.load(tiny_encoder, SPAN_LABELS).eval(), [Example(TEXT, "[]")]) for _ in range(2)
    )
    assert logits.shape == (7, 5), "of each token, with those that frame it"
    assert 0 < logits.abs().max() < 0.5 and torch.equal(logits, again), "whatever the seed"


def test_the_first_token_of_each_word_is_told(task: Any, tiny_encoder: Path) -> None:
    model = task.load(tiny_encoder, SPAN_LABELS)
    example = Example("so bad, very bad", label([3, 6, "BAD"], [8, 16, "BAD"]))
    columns = task.columns(model, [example]).tolist()
    outside, begins, inside = (model.labels.index(name) for name in ("O", "B-BAD", "I-BAD"))
    assert columns == [UNTOLD, outside, UNTOLD, begins, outside, begins, inside, UNTOLD], "`so` is two tokens"
    assert task.pieces(model, [example]) == [8]


def test_one_span_alone_tells_of_its_words_alone(task: Any, tiny_encoder: Path) -> None:
    model = task.load(tiny_encoder, SPAN_LABELS)
    good = Example(TEXT, json.dumps({"start": 14, "end": 22, "label": "BAD"}))
    none = Example(TEXT, json.dumps({"start": 18, "end": 22, "label": None}))
    told = [[c for c in task.columns(model, [row]).tolist() if c != UNTOLD] for row in (good, none)]
    assert told == [[model.labels.index("B-BAD"), model.labels.index("I-BAD")], [model.labels.index("O")]]


def test_it_learns_and_what_is_saved_is_what_is_loaded(task: Any, release: Path, tmp_path: Path) -> None:
    model = loaded(task, release)
    assert task.score(model, EXAMPLES).metrics == {"accuracy": 1.0, "macro_f1": 1.0, "entity_f1": 1.0}
    task.save(model, tmp_path)
    again = task.load(tmp_path, SPAN_LABELS)
    assert torch.equal(task.logits(model.eval(), EXAMPLES[:3]), task.logits(again.eval(), EXAMPLES[:3]))
    assert task.labels(release / "checkpoint") == [*SPAN_LABELS]


def test_what_is_learned_of_a_long_text_is_found_in_each_window(task: Any, release: Path) -> None:
    long = " ".join(f"day {number} it was {'bad' if number % 3 else 'plain'}" for number in range(40))
    places = [place for place in range(len(long)) if long.startswith("bad", place)]
    example = Example(long, label(*([place, place + 3, "BAD"] for place in places)))
    model, codec = loaded(task, release), plugins.get("tasks/tag", "codec")(release)
    assert model.tokens.max_tokens < task.pieces(model, [example])[0]
    sure = task.score(model, [example]).metrics["entity_f1"]
    assert sure > 0.5
    with closing(task.session(model)) as session:
        answers = Pipeline(codec, session).answers([long])
    assert codec.score(answers, [example]).metrics["entity_f1"] == sure
    graph = plugins.get("engines", "onnxruntime")().open(release / "model.onnx", 1)
    with closing(graph):
        assert Pipeline(codec, graph).answers([long])[0]["LABEL"] == answers[0]["LABEL"]


def test_windows_are_run_as_rows_of_their_own_would_be(task: Any, release: Path) -> None:
    model = loaded(task, release).eval()
    ids = torch.randint(5, 40, (2, 150), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 70:] = 0
    logits, features = served(model)(ids, mask)
    for row, start, end in ((0, 0, 64), (0, 64, 128), (0, 128, 150), (1, 0, 64), (1, 64, 70)):
        alone = model(ids[row : row + 1, start:end], mask[row : row + 1, start:end])
        torch.testing.assert_close(logits[row, start:end], alone[0][0], rtol=0, atol=1e-5)
        torch.testing.assert_close(features[row, start:end], alone[1][0], rtol=0, atol=1e-5)


def test_its_own_score_is_what_the_codec_says_of_the_session_and_of_the_graph(
    task: Any, release: Path
) -> None:
    model, codec = loaded(task, release).train(), plugins.get("tasks/tag", "codec")(release)
    mixed = [*EXAMPLES, Example(TEXT, label([14, 17, "GOOD"]))]
    ours = task.score(model, mixed)
    assert model.training and ours.metrics["accuracy"] < 1
    engine = plugins.get("engines", "onnxruntime")()
    for session in (task.session(model), engine.open(release / "model.onnx", 1)):
        theirs = codec.score(Pipeline(codec, session).answers([row.text for row in mixed]), mixed)
        assert ours.metrics == theirs.metrics
        assert ours.correct.tolist() == theirs.correct.tolist()


def test_a_tagger_of_transformers_keeps_its_own_head(task: Any, tiny_encoder: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, BertConfig, BertForTokenClassification

    names = dict(enumerate(("O", "B-GOOD", "I-GOOD", "B-BAD", "I-BAD")))
    config = BertConfig.from_pretrained(
        tiny_encoder, id2label=names, label2id={v: k for k, v in names.items()}
    )
    theirs = BertForTokenClassification(config).eval()
    theirs.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(tmp_path)
    model = task.load(tmp_path, SPAN_LABELS).eval()
    (placed,) = model.tokens.placed([TEXT])
    ids, mask = (torch.from_numpy(array) for array in model.tokens.pad([placed.ids]))
    with torch.inference_mode():
        wanted = theirs(input_ids=ids, attention_mask=mask).logits[0].numpy()
    columns = [list(names.values()).index(name) for name in model.labels]
    ours = task.logits(model, [Example(TEXT, "[]")]).detach().numpy()
    np.testing.assert_allclose(ours, wanted[:, columns], atol=1e-6)
    assert task.labels(tmp_path) == [*SPAN_LABELS]


def test_a_checkpoint_that_tells_no_spans_is_refused(task: Any, tiny_release: Path) -> None:
    with pytest.raises(ConfigError, match=r"a tagger O, B-… and I-…"):
        task.labels(tiny_release / "checkpoint")


def test_a_label_that_the_service_lacks_is_named(task: Any, release: Path) -> None:
    with pytest.raises(TrainingFailed, match="label 'UGLY' of 'the movie was very bad' is not one of"):
        task.loss(loaded(task, release), [Example(TEXT, label([14, 22, "UGLY"]))])


def test_texts_are_made_up_and_labelled_as_they_are_answered(task: Any, release: Path) -> None:
    model = loaded(task, release)
    rows = task.made_up(model, 60, seed=0)
    assert task.score(model, rows).metrics["accuracy"] == 1.0
    assert len({row.label for row in rows}) > 1


@pytest.mark.parametrize("name", plugins.names("learners"))
def test_every_learner_learns_words(task: Any, release: Path, name: str) -> None:
    torch.manual_seed(0)
    model = loaded(task, release)
    fresh = [spoken(number, "zzz", "BAD") for number in range(24)]
    learner = plugins.get("learners", name)(batch_size=8, seed=0)
    before = float(task.loss(model.eval(), fresh).detach())
    task.freeze(model, "full", 2)
    learner.prepare(task, model, fresh, EXAMPLES[:12])
    optimizer = getattr(torch.optim, learner.optimizer)(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(6):
        for batch in learner.batches(fresh, EXAMPLES[:12]):
            optimizer.zero_grad()
            learner.loss(task, model, batch).backward()
            optimizer.step()
    assert float(task.loss(model.eval(), fresh).detach()) < 0.7 * before


def test_a_student_learns_what_its_teacher_says_of_each_token(
    task: Any, release: Path, tmp_path: Path
) -> None:
    teacher, texts = loaded(task, release), [row.text for row in EXAMPLES[:20]]
    teaching.ask(task, teacher, texts, tmp_path, lambda done: None)
    learner = plugins.get("learners", "finetune")(batch_size=8, seed=0)
    distillation = teaching.Distillation(task, learner, texts, teaching.targets(tmp_path), 1)
    batch = [EXAMPLES[place] for place in (3, 17, 8)]
    losses = [
        float(distillation.loss(task, model.eval(), batch).detach())
        for model in (teacher, task.shallower(teacher, [0]))
    ]
    assert losses[0] < 1e-4 < losses[1], "of itself it learns nothing"
