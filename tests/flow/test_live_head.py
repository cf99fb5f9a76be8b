"""The head of a real, tiny release: which rows it is made of, and how far the golden set lets it go."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from flow.workshops import SERVICE, news
from perennial.jobs.learn import open_head
from perennial.jobs.live_head import LiveHead
from perennial.jobs.workshop import Workshop, pipeline_of
from perennial.types import FeedbackRow
from tiny import LABELS, tiny_examples


def rows(count: int) -> list[FeedbackRow]:
    return [
        FeedbackRow(**vars(replace(row, source=f"user {number % 5}")), row=number + 1)
        for number, row in enumerate(news(count))
    ]


def taught(shop: Workshop, feedback: list[FeedbackRow]) -> LiveHead:
    """As the fast loop does, but the engine is asked here."""
    bundle = shop.bundle(SERVICE, 1)
    live = open_head(shop, bundle)
    if feedback:
        outputs = pipeline_of(bundle).outputs([row.text for row in feedback])
        live.take(feedback, live.described(feedback, outputs, None))
    return live


def test_a_release_begins_with_its_own_answers(shop: Workshop) -> None:
    assert not taught(shop, []).judged().weights.any()


def test_a_row_is_asked_of_the_head_that_has_not_learned_it(shop: Workshop) -> None:
    feedback = rows(90)
    bundle = shop.bundle(SERVICE, 1)
    outputs = pipeline_of(bundle).outputs([row.text for row in feedback])
    live = taught(shop, feedback[:60])
    alone, with_head = (
        [kept.was_right for kept in live.described(feedback[60:], outputs[60:], weights)]
        for weights in (None, live.judged().weights)
    )
    told = [answer["LABEL"].item().decode() for answer in pipeline_of(bundle).decode([""] * 30, outputs[60:])]
    assert alone == [said == row.label for said, row in zip(told, feedback[60:], strict=True)]
    assert sum(with_head) > sum(alone)


def test_rows_in_any_order_make_the_same_head_to_the_last_bit(shop: Workshop) -> None:
    feedback = [replace(row, trust=0.1 * (number % 10)) for number, row in enumerate(rows(90))]
    shuffled = Random(0).sample(feedback, 90)
    heads = [taught(shop, order).judged().weights for order in (feedback, shuffled)]
    assert heads[0].any() and np.array_equal(*heads)


def test_of_what_a_source_says_of_a_text_the_latest_row_counts(shop: Workshop) -> None:
    first, *others = rows(60)
    second = replace(first, row=99, label=next(label for label in LABELS if label != first.label))
    wanted = taught(shop, [*others, second]).judged().weights
    for order in ([first, *others, second], [second, *others, first]):
        assert np.array_equal(taught(shop, order).judged().weights, wanted)
    another = replace(second, source="another user")
    assert len(taught(shop, [first, *others, another]).rows) == 61, "what others say is said as well"


def test_a_head_that_would_cost_the_golden_set_too_much_goes_less_far(shop: Workshop) -> None:
    wrong = dict(zip(LABELS, (*LABELS[1:], LABELS[0]), strict=True))
    poison = [
        FeedbackRow(SERVICE, example.text, wrong[example.label], f"bot {number}", row=number + 1)
        for number, example in enumerate(4 * tiny_examples(600))
    ]
    figures = taught(shop, poison).judged().figures
    assert figures["hold"] > 1
    before, after = figures["golden"]["before"], figures["golden"]["after"]
    assert after["accuracy"] >= before["accuracy"] - shop.service(SERVICE).golden_margin


def test_it_can_be_asked_what_it_would_say_had_no_row_told_of_some_texts(shop: Workshop) -> None:
    feedback = rows(60)
    hidden = [row.text for row in feedback[:20]]
    without = taught(shop, feedback[20:])
    assert np.allclose(taught(shop, feedback).blind(hidden), without.solve().weights, atol=1e-12)


@pytest.mark.parametrize("order", [list, reversed])
def test_influence_tells_the_rows_of_a_text_from_others(shop: Workshop, order: type) -> None:
    feedback = list(order(rows(60)))
    live = taught(shop, feedback)
    (said,) = pipeline_of(shop.bundle(SERVICE, 1)).outputs([feedback[7].text])
    pushes = live.solve().influence(live.evidence, said["features"][0])
    label = LABELS.index(feedback[7].label)
    alike = np.array([row.label == feedback[7].label for row in live.rows])
    assert pushes[: len(alike)][alike, label].mean() > pushes[: len(alike)][~alike, label].mean()
