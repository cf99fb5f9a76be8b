"""What the codec of `recommend` makes of contexts, and of the vectors of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from perennial.errors import BadRequest
from perennial.pipeline import request_of
from perennial.plugins import labels_of
from perennial.ranking.context import MOST_ITEMS, STRANGERS, USERS, Context, parsed
from perennial.tasks.recommend.codec import TOP, RecommendCodec
from perennial.types import Document, FeedbackRow, Placed, Tensors
from tiny import TONED, asking, tiny_recommender, wanting

ITEMS = [*TONED]


@pytest.fixture
def codec(tmp_path: Path) -> RecommendCodec:
    return RecommendCodec(tiny_recommender(tmp_path))


def encoded(codec: RecommendCodec, *texts: str) -> Tensors:
    (tensors,) = codec.encode([request_of(texts)])
    return tensors


def answer(codec: RecommendCodec, near: str, text: str, top: int = TOP) -> Tensors:
    """To one context whose vector is that of an item."""
    vector = codec.index.vector(near)
    assert vector is not None
    request = request_of([text]) | {"TOP_K": np.array([[top]], np.int32)}
    (found,) = codec.decode([request], [{**encoded(codec, text), "vector": vector[None]}])
    return found


def items(found: Tensors) -> list[str]:
    return [raw.decode() for raw in found["DOCUMENTS"][0] if raw]


def test_a_context_is_read_in_one_form_and_anything_else_is_refused() -> None:
    assert parsed('{"items": ["a", "b"], "user": "7"}') == Context("7", ("a", "b"))
    assert parsed(Context("7", ("a",)).text) == Context("7", ("a",))
    assert parsed('{"user": "7"}').items == ()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a text", "is not JSON"),
        ("[]", "says no user"),
        ("{}", "user None is none"),
        ('{"user": 7}', "user 7 is none"),
        ('{"user": "7", "item": "a"}', "has 'item'"),
        ('{"user": "7", "items": "a"}', "items a are no list of ids"),
        ('{"user": "7", "items": [1]}', r"items \[1\] are no list of ids"),
    ],
)
def test_what_is_no_context_is_refused_in_one_line(codec: RecommendCodec, text: str, complaint: str) -> None:
    for refuse in (
        lambda: codec.check(request_of([asking("a"), text])),
        lambda: labels_of("recommend").read("a", text, None),
    ):
        with pytest.raises(BadRequest, match=complaint) as refused:
            refuse()
        assert "\n" not in str(refused.value)


def test_users_and_strange_items_share_buckets_and_known_items_have_numbers(codec: RecommendCodec) -> None:
    tensors = encoded(codec, asking("ann", ITEMS[0], "strange"), asking("bob"))
    user, known, strange = tensors["input_ids"][0]
    assert 1 <= user <= USERS and known == 1 + USERS + STRANGERS and USERS < strange <= USERS + STRANGERS
    assert tensors["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert tensors["TRUNCATED"].tolist() == [[False], [False]]


def test_of_many_items_the_newest_are_read(codec: RecommendCodec) -> None:
    many = [f"old/{number}" for number in range(MOST_ITEMS)]
    long, newest = encoded(codec, asking("ann", *many, *ITEMS[:1])), encoded(codec, asking("ann", ITEMS[0]))
    assert long["input_ids"].shape == (1, codec.longest) and long["TRUNCATED"].item()
    assert long["input_ids"][0, -1] == newest["input_ids"][0, -1]


def test_what_was_taken_is_not_recommended_again(codec: RecommendCodec) -> None:
    first = items(answer(codec, ITEMS[3], asking("ann")))
    assert first[0] == ITEMS[3] and len(first) == TOP
    later = items(answer(codec, ITEMS[3], asking("ann", *first[:5])))
    assert later[:10] == first[5:15] and len(later) == TOP
    scores = answer(codec, ITEMS[3], asking("ann"))["SCORES"][0]
    assert (np.diff(scores) <= 0).all() and scores[0] == pytest.approx(0.5, abs=1e-4)


def test_clicks_that_were_told_count_as_taken_until_they_are_forgotten(codec: RecommendCodec) -> None:
    plain = encoded(codec, asking("ann", ITEMS[0]))
    codec.take_feedback(
        [
            FeedbackRow("films", asking("ann"), wanting(ITEMS[5])),
            FeedbackRow("films", asking("ann"), json.dumps([{"document": ITEMS[6], "said": "skipped"}])),
            FeedbackRow("films", asking("ann", ITEMS[0]), wanting(ITEMS[0])),
            FeedbackRow("films", asking("bob"), wanting(ITEMS[7])),
        ]
    )
    assert ITEMS[5] not in items(answer(codec, ITEMS[5], asking("ann")))
    meant = {(): (5, 0), (0,): (5, 0), (5,): (5, 0), (1,): (1, 5, 0)}  # by what the request tells
    read = {told: encoded(codec, asking("ann", *(ITEMS[place] for place in told))) for told in meant}
    codec.forget_feedback()
    for told, whole in meant.items():
        wanted = encoded(codec, asking("ann", *(ITEMS[place] for place in whole)))
        assert read[told]["input_ids"].tolist() == wanted["input_ids"].tolist(), told
    assert encoded(codec, asking("ann", ITEMS[0]))["input_ids"].tolist() == plain["input_ids"].tolist()


def test_some_places_try_something_else_and_say_how_likely_that_was(codec: RecommendCodec) -> None:
    usual = answer(codec, ITEMS[0], asking("ann"), top=5)
    assert set(usual["PROPENSITIES"].ravel()) == {1.0}
    codec.explore = 0.2
    tried, chances = 0, set()
    for _ in range(400):
        found = answer(codec, ITEMS[0], asking("ann"), top=5)
        assert len(set(items(found))) == 5
        here = found["PROPENSITIES"][0] < 0.5
        tried += here.sum()
        chances |= {round(float(chance), 5) for chance in found["PROPENSITIES"][0]}
    assert chances == {0.8, round(0.2 / (len(ITEMS) - 5), 5)}
    assert tried / 2000 == pytest.approx(0.2, abs=0.03)


def test_an_item_goes_at_once_and_a_new_one_waits_for_the_next_release(codec: RecommendCodec) -> None:
    changes = [Document(1, ITEMS[0], None), Document(2, "new", "a text"), Document(3, ITEMS[1], "other")]
    placed = codec.place(changes, lambda texts: [])
    assert placed[:2] == [b"", b""]
    codec.take_documents([Placed(one.number, one.name, at) for one, at in zip(changes, placed, strict=True)])
    assert codec.index.vector("new") is None and codec.index.vector(ITEMS[1]) is not None
    left = items(answer(codec, ITEMS[1], asking("ann"), top=60))
    assert sorted(left) == sorted(ITEMS[1:])
