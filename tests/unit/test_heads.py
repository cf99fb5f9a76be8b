"""The analytic head: the same rows give the same bits, and it goes as far as rows have evidence."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from perennial.heads import Evidence, Solution, Statistics, corrected, evidence
from perennial.types import Array

SIZE, LABELS, SLOPE = 24, 3, 0.25
RIDGE, BALANCE = 1.0, 0.5


def rows(count: int, seed: int = 0, labels: int = LABELS) -> Evidence:
    """Texts whose features lean towards their label, and a release that knows nothing of it."""
    rng = np.random.default_rng(seed)
    said = rng.integers(0, labels, count)
    features = rng.normal(size=(count, SIZE)) + 2 * np.eye(LABELS, SIZE)[said]
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return evidence(features, rng.normal(size=(count, LABELS)), said, rng.choice([0.5, 1.0], count), SLOPE)


def taught(*parts: Evidence) -> Statistics:
    statistics = Statistics(SIZE, LABELS, LABELS)
    for part in parts:
        statistics.add(part)
    return statistics


def solved(statistics: Statistics) -> Solution:
    return statistics.solve(RIDGE, BALANCE)


def test_the_order_of_rows_and_the_size_of_batches_change_no_bit() -> None:
    every = rows(300)
    shuffled = every.at(np.random.default_rng(1).permutation(300))
    one_by_one = taught(*(shuffled.at([place]) for place in range(300)))
    assert np.array_equal(solved(taught(every)).weights, solved(one_by_one).weights)


def test_rows_taken_out_leave_no_trace() -> None:
    stays, goes = rows(200, seed=1), rows(100, seed=2)
    statistics = taught(stays, goes)
    statistics.remove(goes)
    assert np.array_equal(solved(statistics).weights, solved(taught(stays)).weights)
    both = taught(stays, goes).without(taught(goes))
    assert np.array_equal(solved(both).weights, solved(taught(stays)).weights)


def test_without_feedback_the_release_answers_as_it_does() -> None:
    held = taught(rows(200).held())
    assert not solved(held).weights.any()
    assert not solved(Statistics(SIZE, LABELS, LABELS)).weights.any()


def test_what_a_release_was_taught_holds_it_in_place() -> None:
    known, feedback = rows(500, seed=3), rows(20, seed=4)
    free, bound = solved(taught(feedback)), solved(taught(feedback, known.held()))
    there = known.features * 2.0**-14
    moved = [float(np.abs(there @ head.weights[:-1] + head.weights[-1]).mean()) for head in (free, bound)]
    assert moved[1] < 0.5 * moved[0]


def test_corrections_are_learned() -> None:
    feedback, later = rows(200, seed=5), rows(200, seed=6)
    head = solved(taught(feedback)).weights
    rng = np.random.default_rng(6)
    rng.integers(0, LABELS, 200)
    said = corrected(np.zeros((200, LABELS)), later.features * 2.0**-14, head).argmax(1)
    assert (said == later.labels).mean() > 0.8


def test_a_label_without_rows_is_learned_from_its_first_ones() -> None:
    known = rows(200, seed=7, labels=2)
    new = Evidence(
        *(getattr(rows(60, seed=8), name) for name in ("features", "residuals", "labels", "trust"))
    )
    third = new.at(new.labels == 2)
    head = solved(taught(known.held(), third)).weights
    answered = corrected(np.zeros((len(third), LABELS)), third.features * 2.0**-14, head).argmax(1)
    assert (answered == 2).mean() > 0.9


def test_a_label_that_training_drove_down_is_learned_from_its_first_rows() -> None:
    """As 100 steps of film reviews did with a fourth label: to these logits."""
    known, new = rows(100, seed=7, labels=2), rows(120, seed=8)
    third = new.features[new.labels == 2] * 2.0**-14
    drove = np.tile([0.5, 0.7, -2.7], (100, 1))
    told = evidence(third, drove[: len(third)], np.full(len(third), 2), np.ones(len(third)), SLOPE)
    head = solved(taught(known.held(), told.at([*range(20)]))).weights / SLOPE
    asked = third[20:]
    assert (corrected(drove[: len(asked)], asked, head).argmax(1) == 2).mean() > 0.75
    assert (corrected(drove, known.features * 2.0**-14, head).argmax(1) == 2).mean() < 0.1


def test_influence_is_what_a_head_without_the_row_would_not_say() -> None:
    feedback, asked = rows(80, seed=9), rows(1, seed=10).features[0] * 2.0**-14
    statistics = taught(feedback, rows(200, seed=11).held())
    whole = solved(statistics)
    told = whole.influence(feedback, asked)
    refitted: list[Array] = []
    for place in range(len(feedback)):
        without = solved(statistics.without(taught(feedback.at([place])))).weights
        refitted.append(np.append(asked, 1.0) @ (whole.weights - without))
    assert told.shape == (80, LABELS)
    # Leaving a row out also shifts, by a little, what each label counts; with equal say it is exact.
    for label in range(LABELS):
        assert spearmanr(told[:, label], np.array(refitted)[:, label]).statistic > 0.95


def test_influence_is_exact_where_labels_keep_their_weights() -> None:
    feedback, asked = rows(40, seed=12), rows(1, seed=13).features[0] * 2.0**-14
    statistics = taught(feedback)
    whole = statistics.solve(RIDGE, 0.0)
    without = statistics.without(taught(feedback.at([7]))).solve(RIDGE, 0.0)
    lost = np.append(asked, 1.0) @ (whole.weights - without.weights)
    assert whole.influence(feedback, asked)[7] == pytest.approx(lost, abs=1e-12)


def test_trust_counts_and_none_counts_nothing() -> None:
    one = rows(50, seed=14)
    silent = Evidence(one.features, one.residuals, one.labels, np.zeros(50))
    assert not solved(taught(silent)).weights.any()
    assert np.abs(solved(taught(one)).weights).sum() > 0
