"""What is learned where several sources speak of one text, and how much one of them may say."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.jobs.votes import agreed, capped, said
from perennial.plugins import labels_of
from perennial.ranking.judgements import parsed
from perennial.types import Example, FeedbackRow

PLAIN = labels_of("classify")
SOURCES = st.lists(st.sampled_from("abcdef"), max_size=60)


def rows(*told: tuple[str, str, str], trust: float = 1.0) -> list[FeedbackRow]:
    """Source, text and label of each, in their order."""
    return [
        FeedbackRow("tone", text, label, source=source, trust=trust, row=number)
        for number, (source, text, label) in enumerate(told)
    ]


def learned(feedback: list[FeedbackRow], **trust: float) -> list[tuple[str, str, float]]:
    return [(one.text, one.label, one.weight) for one in agreed(said(feedback, trust, PLAIN), PLAIN).values()]


def test_a_source_corrects_itself() -> None:
    feedback = rows(("ann", "a text", "x"), ("ann", "A  text", "y"))
    assert learned(feedback) == [("A  text", "y", 1.0)]
    assert learned(rows(("", "a text", "x"), ("", "a text", "y"))) == [("a text", "y", 1.0)]


def test_of_several_sources_the_majority_is_learned_with_its_share() -> None:
    told = [("ann", "t", "x"), ("bob", "t", "x"), ("cat", "t", "y")]
    assert learned(rows(*told)) == [("t", "x", pytest.approx(2 / 3))]
    assert learned(rows(*told, ("bob", "t", "y"))) == [("t", "y", pytest.approx(2 / 3))]
    assert learned(rows(*told[1:])) == [("t", "y", 0.5)], "of equals what was said last"


def test_a_vote_counts_as_far_as_its_source_is_trusted() -> None:
    told = rows(("ann", "t", "x"), ("bob", "t", "y"), ("cat", "t", "y"))
    assert learned(told, bob=0.25, cat=0.25) == [("t", "x", pytest.approx(1 / 1.5))]
    assert learned(told, ann=0.0, bob=0.5, cat=0.0) == [("t", "y", 0.5)]
    assert learned(told, ann=0.0, bob=0.0, cat=0.0) == []


def test_agreement_costs_no_trust() -> None:
    whole, doubted = rows(("ann", "t", "x")), rows(("bob", "t", "x"), trust=0.5)
    assert learned([*whole, *doubted]) == [("t", "x", 1.0)]


def test_who_proves_what_was_answered_speaks_for_itself_and_all_others_without_a_name_are_one() -> None:
    proven = [
        FeedbackRow("tone", "t", "x", prediction_id=name, release=1, row=number)
        for number, name in enumerate(("one", "two"))
    ]
    unproven = [FeedbackRow("tone", "t", "y", prediction_id=name, row=5) for name in (None, None, "forged")]
    assert learned([*proven, *unproven]) == [("t", "x", pytest.approx(2 / 3))]


@given(SOURCES, st.floats(0.05, 1.0), st.integers(0, 3))
def test_no_source_has_more_than_its_share_of_what_is_kept(names: list[str], share: float, seed: int) -> None:
    heard = said(rows(*((name, f"text {number}", "x") for number, name in enumerate(names))), {}, PLAIN)
    kept, lost = capped(heard, share, seed)
    counts, before = Counter(source for _, source in kept), Counter(names)
    assert all(count <= share * len(kept) + 1e-9 for count in counts.values())
    assert {name: before[name] - counts[name] for name in lost} == lost
    assert len(kept) + sum(lost.values()) == len(heard)
    assert bool(kept) >= (len(before) * share >= 1 and bool(names)), "some is left where that can be"
    if share == 1.0:
        assert kept == heard


def test_a_flood_is_cut_and_the_others_are_kept_whole() -> None:
    flood = [("flood", f"planted {number}", "x") for number in range(900)]
    others = [(f"user {number % 20}", f"real {number}", "y") for number in range(100)]
    kept, lost = capped(said(rows(*flood, *others), {}, PLAIN), 0.2, seed=0)
    assert lost == {"flood": 875}
    texts = [example.text for example in kept.values()]
    assert sum(text.startswith("real") for text in texts) == 100
    planted = [text for text in texts if text.startswith("planted")]
    assert planted != [f"planted {number}" for number in range(25)], "drawn from all of them"


def test_what_is_kept_is_the_source_and_row_of_the_newest_vote_for_it() -> None:
    (example,) = agreed(
        said(rows(("ann", "t", "x"), ("bob", "T", "x"), ("cat", "t", "y")), {}, PLAIN), PLAIN
    ).values()
    assert example == Example("T", "x", pytest.approx(2 / 3), "bob", 1)


def test_what_several_say_of_different_documents_adds_up() -> None:
    ranking = labels_of("embed")
    told = [
        ("ann", "t", '[{"document": "a", "said": "relevant"}]'),
        ("ann", "t", '[{"document": "b", "said": "relevant"}]'),
        ("bob", "t", '[{"document": "b", "said": "not relevant"}, {"document": "c", "said": "relevant"}]'),
        ("ann", "t", '[{"document": "a", "said": "not relevant"}]'),
        ("cat", "t", '[{"document": "b", "said": "not relevant"}]'),
    ]
    (example,) = agreed(said(rows(*told), {}, ranking), ranking).values()
    assert {one.document: one.said for one in parsed(example.label)} == {
        "a": "not relevant",
        "b": "not relevant",
        "c": "relevant",
    }
    assert example.weight == pytest.approx((1 + 2 / 3 + 1) / 3)
