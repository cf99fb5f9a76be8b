"""What may be said of documents, and how well they were found."""

from __future__ import annotations

import json

import numpy as np
import pytest

from perennial.errors import BadRequest
from perennial.plugins import labels_of
from perennial.ranking.index import Index
from perennial.ranking.judgements import Judgement, parsed
from perennial.ranking.scores import judge

LABELS = labels_of("embed")


def one_form(label: str) -> str:
    return LABELS.read(label, "a text", None)


def test_ways_of_saying_the_same_are_one_label() -> None:
    alike = ("b", '{"document": "b"}', '[{"said": "relevant", "document": "b"}]', '["b"]')
    assert {one_form(label) for label in alike} == {'[{"document": "b", "said": "relevant"}]'}
    clicked = '{"document": "b", "said": "clicked", "position": 3}'
    several = f'[{clicked}, {{"document": "a", "said": "not relevant"}}]'
    assert parsed(one_form(several)) == [Judgement("a", "not relevant"), Judgement("b", "clicked", 3)]
    assert one_form(one_form(several)) == one_form(several)
    assert LABELS.kind(one_form(several)) == "clicked+not relevant" and LABELS.kind("[]") == "nothing"


def test_a_click_counts_less_than_a_word_and_more_from_further_down() -> None:
    weights = [Judgement("a", "clicked", place).weight for place in (1, 4, 50)]
    assert weights == [0.5, 2.0, 5.0] and Judgement("a").weight == 1.0


def test_what_was_rarely_shown_and_stars_count_by_how_much_they_say() -> None:
    weights = [Judgement("a", "clicked", 2, chance).weight for chance in (1.0, 0.5, 0.001)]
    assert weights == [1.0, 2.0, 10.0]
    starred = [Judgement("a", "rated", rating=stars) for stars in (1, 2, 3, 4, 5)]
    assert [one.weight for one in starred] == [1.0, 0.5, 0.0, 0.5, 1.0]
    assert [one.wanted for one in starred] == [False, False, False, True, True]
    assert not Judgement("a", "skipped").wanted
    said = '[{"document": "b", "rating": 4}, {"document": "a", "said": "skipped", "propensity": 0.5}]'
    assert parsed(one_form(said)) == [
        Judgement("a", "skipped", propensity=0.5),
        Judgement("b", "rated", rating=4),
    ]


@pytest.mark.parametrize(
    ("label", "complaint"),
    [
        (" ", "the label is empty"),
        ("{", "is not JSON"),
        ('{"document": ""}', "names no document"),
        ("[3]", "judgement 3 is none"),
        ('{"document": "a", "score": 1}', "has 'score'"),
        ('{"document": "a", "said": "relevnt"}', "did you mean 'relevant'"),
        ('{"document": "a", "said": "clicked", "position": 0}', "position 0 of 'a' is no place"),
        ('{"document": "a", "said": "clicked", "propensity": 2}', "propensity 2 of 'a' is no chance"),
        ('{"document": "a", "rating": 6}', "rating 6 of 'a' is out of range"),
        ('{"document": "a", "said": "rated"}', "'a' is rated without a rating"),
        ('["a", "a"]', "'a' is judged twice"),
    ],
)
def test_what_is_no_judgement_is_refused_in_one_line(label: str, complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint) as refused:
        one_form(label)
    assert "\n" not in str(refused.value)


def score(found: list[str], *said: Judgement) -> tuple[float, float]:
    label = json.dumps([vars(one) for one in said])
    scores = judge([found], [label], 10)
    return round(float(scores.correct[0]), 3), round(scores.metrics["recall@10"], 3)


def test_a_document_is_worth_most_at_the_first_place() -> None:
    ten = [str(number) for number in range(10)]
    assert score(ten, Judgement("0")) == (1.0, 1.0)
    assert score(ten, Judgement("2")) == (0.5, 1.0)
    assert score(ten, Judgement("10")) == (0.0, 0.0)
    assert score(["1", "0"], Judgement("0"), Judgement("1")) == (1.0, 1.0)
    assert score(["1", "2"], Judgement("0"), Judgement("1")) == (0.613, 0.5)


def test_what_is_not_relevant_takes_away() -> None:
    bad = Judgement("1", "not relevant")
    assert score(["0", "2"], bad) == (1.0, 1.0)
    assert score(["1", "2"], bad) == (0.0, 0.0)
    assert score(["0", "1"], Judgement("0"), bad)[0] == 0.369


def test_of_a_folder_any_ten_are_enough() -> None:
    ten = [f"film/{number}" for number in range(10)]
    assert score(ten, Judgement("film/")) == (1.0, 1.0)
    assert score([*ten[:5], *"abcde"], Judgement("film/"))[1] == 0.5
    assert score(["filmography"], Judgement("film/")) == (0.0, 0.0)


def test_what_is_expected_is_the_mean_of_what_is_there_by_its_likeness() -> None:
    index = Index.of(["ahead", "aside"], np.eye(2, dtype=np.float32))
    asked = np.array([[1.0, 0.0], [0.6, 0.8]], np.float32)
    ahead = 1 / (1 + np.exp(-10 * (asked[:, 0] - asked[:, 1])))
    assert index.expected(asked, 10.0) == pytest.approx(np.stack([ahead, 1 - ahead], 1), abs=1e-6)
    index.take([("ahead", None)])
    assert index.expected(asked, 10.0) == pytest.approx(np.array([[0.0, 1.0], [0.0, 1.0]]))
    index.take([("aside", None)])
    assert not index.expected(asked, 10.0).any()
