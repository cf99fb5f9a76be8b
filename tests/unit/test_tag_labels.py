"""What a label of `tag` may look like, and the one form in which it is kept."""

from __future__ import annotations

import json
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.errors import BadRequest
from perennial.plugins import labels_of
from perennial.tasks.tag._scores import judge
from perennial.tasks.tag._spans import (
    Label,
    classes_of,
    columns,
    likeliest,
    may_follow,
    names_of,
    parsed,
    spans,
    written,
)
from perennial.types import UNTOLD

TEXT = "Ann flew to New York"
KNOWN = ("LOC", "PER")
WORDS = np.array([[0, 3], [4, 8], [9, 11], [12, 15], [16, 20]])
CLASSES = classes_of(KNOWN)
KINDS = tuple(CLASSES)


def read(label: object) -> str:
    return labels_of("tag").read(json.dumps(label), TEXT, KNOWN)


def test_spans_in_any_writing_and_order_are_the_same_label() -> None:
    ann, york = {"start": 0, "end": 3, "label": "PER"}, {"start": 12, "end": 20, "label": "LOC"}
    forms = ([ann, york], [york, ann], [[0, 3, "PER"], [12, 20, "LOC"]])
    assert {read(form) for form in forms} == {'[[0, 3, "PER"], [12, 20, "LOC"]]'}
    assert read([]) == "[]"
    assert read(york) == json.dumps(york), "one alone"
    assert json.loads(read({"start": 4, "end": 8, "label": None}))["label"] is None


@pytest.mark.parametrize(
    ("label", "rule"),
    [
        ([[0, 21, "PER"]], "does not lie in the text, which has 20 characters"),
        ([[3, 3, "PER"]], "does not lie in the text"),
        ([[-1, 3, "PER"]], "does not lie in the text"),
        ([[0, True, "PER"]], "does not lie in the text"),
        ([[3, 4, "PER"]], "holds white space alone"),
        ([[0, 3, "PRE"]], "did you mean 'PER'"),
        ([[0, 3, ""]], "has no label"),
        ([[0, 3, None]], "has no label"),
        ([[0, 8, "PER"], [4, 11, "LOC"]], "[0, 8, 'PER'] and [4, 11, 'LOC'] overlap"),
        ([[0, 3]], "is no span; give a list of"),
        ({"start": 0, "end": 3, "label": "PRE"}, "did you mean 'PER'"),
        ("PER", "is no list of spans"),
        (7, "is no list of spans"),
    ],
)
def test_what_is_no_label_says_the_way_out(label: object, rule: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(label)
    assert rule in str(refused.value)


def test_what_is_no_json_is_refused_in_one_line() -> None:
    with pytest.raises(BadRequest, match="'PER' is not JSON; give a list of"):
        labels_of("tag").read("PER", TEXT, KNOWN)


def test_the_kind_of_a_text_is_what_it_names() -> None:
    labels = labels_of("tag")
    both = read([[0, 3, "PER"], [12, 20, "LOC"], [4, 8, "PER"]])
    assert (labels.kind(both), labels.names(both)) == ("LOC+PER", ("LOC", "PER"))
    assert (labels.kind("[]"), labels.names("[]")) == ("none", ())
    assert labels.read(labels.some(TEXT, KNOWN), TEXT, KNOWN) == '[[0, 3, "LOC"]]'


def test_each_word_has_a_class_and_one_span_tells_of_its_words_alone() -> None:
    def told(label: object) -> list[str]:
        found = columns(parsed(read(label)), WORDS, CLASSES)
        return ["?" if column == UNTOLD else CLASSES[column] for column in found]

    assert told([[0, 3, "PER"], [12, 20, "LOC"]]) == ["B-PER", "O", "O", "B-LOC", "I-LOC"]
    assert told({"start": 12, "end": 20, "label": "LOC"}) == ["?", "?", "?", "B-LOC", "I-LOC"]
    assert told({"start": 4, "end": 8, "label": None}) == ["?", "O", "?", "?", "?"]
    assert told([[13, 18, "LOC"]]) == ["O", "O", "O", "B-LOC", "I-LOC"], "a word that a span cuts is in it"


def test_what_is_inside_of_nothing_begins() -> None:
    said = ["I-PER", "I-LOC", "O", "B-LOC", "B-LOC"]
    found = [span for span, _ in spans(said, WORDS)]
    assert found == [(0, 3, "PER"), (4, 8, "LOC"), (12, 15, "LOC"), (16, 20, "LOC")]


@given(st.lists(st.sampled_from(CLASSES), min_size=5, max_size=5))
def test_spans_and_classes_say_the_same(said: list[str]) -> None:
    found = tuple(span for span, _ in spans(said, WORDS))
    again = [CLASSES[column] for column in columns(parsed(written(Label(found))), WORDS, CLASSES)]
    assert tuple(span for span, _ in spans(again, WORDS)) == found
    assert names_of(CLASSES) == [*KNOWN]


def test_spans_count_where_ends_and_label_are_right() -> None:
    gold = ['[[0, 3, "PER"], [12, 20, "LOC"]]', "[]", '{"start": 4, "end": 8, "label": null}']
    said = ['[[0, 3, "PER"], [12, 15, "LOC"]]', "[]", '[[0, 3, "PER"]]']
    scores = judge(said, gold)
    assert scores.correct.tolist() == [0.5, 1.0, 1.0], "beside one span that is told of, nothing is wrong"
    assert scores.metrics == pytest.approx({"accuracy": 2 / 3, "macro_f1": 0.5, "entity_f1": 0.5})
    assert judge(['[[4, 8, "PER"]]'], gold[2:]).correct.tolist() == [0.0]


@given(st.integers(0, 1 << 20), st.integers(0, 5))
def test_the_likeliest_classes_are_so_among_all_whose_spans_have_one_label(seed: int, words: int) -> None:
    probabilities = np.random.default_rng(seed).dirichlet([0.3] * len(CLASSES), words)
    allowed = may_follow(KINDS)

    def likely(path: tuple[int, ...]) -> float:
        whole = all(allowed[one, two] for one, two in pairwise(path))
        return float(probabilities[range(words), path].prod()) if whole else -1

    best = max(product(range(len(CLASSES)), repeat=words), key=likely)
    assert likely((*likeliest(probabilities, KINDS).tolist(),)) == pytest.approx(likely(best))


def test_a_span_keeps_its_label_and_may_begin_as_old_checkpoints_say() -> None:
    sure = {"B-LOC": 0.6, "B-PER": 0.4}, {"I-PER": 0.9, "I-LOC": 0.05, "O": 0.05}

    def told(*of_words: dict[str, float]) -> list[str]:
        rows = np.array([[of_word.get(name, 0.0) for name in CLASSES] for of_word in of_words])
        rows = rows.reshape(-1, len(CLASSES))
        return [CLASSES[column] for column in likeliest(rows, KINDS)]

    assert told(*sure) == ["B-PER", "I-PER"]
    assert told({"O": 1.0}, {"I-PER": 0.9, "B-PER": 0.1}) == ["O", "I-PER"]
    assert told() == []
