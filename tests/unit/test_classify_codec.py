"""The codec of `classify`: what it refuses, what it says to the engine, and what it makes of the logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.errors import BadRequest
from perennial.tasks.classify.codec import ClassifyCodec
from perennial.types import Example, Tensors, text_tensor
from tiny import tiny_codec


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> ClassifyCodec:
    return ClassifyCodec(tiny_codec(tmp_path_factory.mktemp("codec")))


def ask(*texts: str | bytes, top_k: list[int] | None = None) -> Tensors:
    request = {"TEXT": text_tensor(list(texts))}
    if top_k is not None:
        request["TOP_K"] = np.array(top_k, dtype=np.int32).reshape(-1, 1)
    return request


def said(*logits: list[float]) -> Tensors:
    rows = np.array(logits, dtype=np.float32)
    return {"logits": rows, "TRUNCATED": np.zeros((len(rows), 1), dtype=np.bool_)}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"", "is empty"),
        (" \t\n ", "is empty"),
        (b"good\0bad", "NUL character at byte 4"),
        (b"caf\xe9", "not UTF-8 at byte 3"),
        ("é" * 10_001, "has 20002 bytes; the most is 20000"),
    ],
)
def test_a_text_that_cannot_be_answered_is_refused_by_index_and_rule(
    codec: ClassifyCodec, text: str | bytes, rule: str
) -> None:
    with pytest.raises(BadRequest, match=rf"TEXT\[1\].*{rule}"):
        codec.check(ask("fine", text))


def test_the_longest_text_allowed_is_answered(codec: ClassifyCodec) -> None:
    codec.check(ask("é" * 10_000))


@pytest.mark.parametrize("top_k", [0, -1, 4])
def test_top_k_is_at_least_one_and_at_most_the_labels(codec: ClassifyCodec, top_k: int) -> None:
    with pytest.raises(BadRequest, match=rf"TOP_K {top_k} is out of range.*ask for 1 to 3"):
        codec.check(ask("good", top_k=[top_k]))


def test_top_k_is_one_value_a_request(codec: ClassifyCodec) -> None:
    with pytest.raises(BadRequest, match=r"TOP_K \[1, 2\] differs"):
        codec.check(ask("good", "bad", top_k=[1, 2]))


@settings(max_examples=60)
@given(raw=st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace")))
def test_whatever_passes_the_check_can_be_encoded(codec: ClassifyCodec, raw: bytes) -> None:
    request = ask(raw)
    try:
        codec.check(request)
    except BadRequest:
        return
    (encoded,) = codec.encode([request])
    assert encoded["input_ids"].shape == encoded["attention_mask"].shape


@settings(max_examples=25)
@given(
    groups=st.lists(
        st.lists(st.sampled_from(["good", "a bad day", "the very plain movie"]), min_size=1), min_size=1
    )
)
def test_requests_encoded_together_are_as_if_encoded_alone(
    codec: ClassifyCodec, groups: list[list[str]]
) -> None:
    requests = [ask(*texts) for texts in groups]
    for request, together in zip(requests, codec.encode(requests), strict=True):
        (alone,) = codec.encode([request])
        assert all(np.array_equal(alone[name], together[name]) for name in alone)


def test_a_request_is_padded_to_its_own_longest_text(codec: ClassifyCodec) -> None:
    short, mixed = codec.encode([ask("good"), ask("good", "the movie was good")])
    assert short["input_ids"].shape == (1, 3)  # [CLS] good [SEP]
    assert mixed["attention_mask"].tolist() == [[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]]
    assert mixed["input_ids"][0, 3:].tolist() == [0, 0, 0]


def test_only_a_text_that_lost_tokens_is_flagged(codec: ClassifyCodec) -> None:
    (encoded,) = codec.encode([ask("very " * 62, "very " * 63)])
    assert encoded["input_ids"].shape == (2, 64)
    assert encoded["TRUNCATED"].tolist() == [[False], [True]]


def test_scores_are_probabilities_at_the_calibrated_temperature(tmp_path: Path) -> None:
    codec = ClassifyCodec(tiny_codec(tmp_path, temperature=2.0))
    (answer,) = codec.decode([ask("good")], [said([2.0, 0.0, 4.0])])
    assert answer["LABEL"].tolist() == [[b"positive"]]
    assert answer["SCORE"][0, 0] == pytest.approx(np.e**2 / (np.e + 1 + np.e**2))
    assert answer["SCORE"].dtype == np.float32


def test_the_runners_up_come_best_first_and_only_to_who_asked(codec: ClassifyCodec) -> None:
    plain, ranked = codec.decode(
        [ask("good"), ask("bad", "plain", top_k=[2, 2])],
        [said([0.0, 1.0, 2.0]), said([3.0, 2.0, 1.0], [0.0, 9.0, 1.0])],
    )
    assert plain["TOP_LABELS"].tolist() == [[b"positive"]]
    assert ranked["TOP_LABELS"].tolist() == [[b"negative", b"neutral"], [b"neutral", b"positive"]]
    assert (np.diff(ranked["TOP_SCORES"]) <= 0).all()
    assert np.array_equal(ranked["TOP_SCORES"][:, :1], ranked["SCORE"])


def test_an_unsure_answer_abstains_and_its_neighbour_does_not(tmp_path: Path) -> None:
    codec = ClassifyCodec(tiny_codec(tmp_path, threshold=0.5))
    (answer,) = codec.decode([ask("good", "bad")], [said([0.1, 0.0, 0.0], [5.0, 0.0, 0.0])])
    assert answer["LABEL"].tolist() == [[b""], [b"negative"]]
    assert answer["TOP_LABELS"].tolist() == [[b"negative"], [b"negative"]]


def test_macro_f1_is_the_mean_over_the_labels_that_occur(codec: ClassifyCodec) -> None:
    answers = [{"LABEL": text_tensor(["positive", "positive", "negative", "positive"])}]
    gold = ["positive", "positive", "negative", "negative"]
    scores = codec.score(answers, [Example(label, label) for label in gold])
    assert scores.metrics == {"accuracy": 0.75, "macro_f1": pytest.approx((4 / 5 + 2 / 3) / 2)}
    assert scores.correct.tolist() == [1.0, 1.0, 1.0, 0.0]


def test_an_abstained_answer_counts_as_wrong(codec: ClassifyCodec) -> None:
    scores = codec.score(
        [{"LABEL": text_tensor(["", "positive"])}], [Example("a", "negative"), Example("b", "positive")]
    )
    assert scores.correct.tolist() == [0.0, 1.0]
