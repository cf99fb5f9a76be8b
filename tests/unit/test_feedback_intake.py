"""What the feedback model takes and what it refuses, on a real store."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perennial.errors import BadRequest, Conflict, PerennialError, Unavailable
from perennial.predictions import prediction_id
from perennial.serve.checks import Outcome
from perennial.serve.intake import Intake
from perennial.stores.sqlite import SqliteStore
from perennial.types import Tensors
from watched import SENTIMENT, STRICT, WatchedStore

KEY = b"k" * 32


@pytest.fixture
def intake(store: WatchedStore) -> Intake:
    return Intake(store, KEY)


def request(*rows: dict[str, bytes | str]) -> Tensors:
    """A request of these rows; what a row leaves out is a good row's."""
    whole = [{"SERVICE": "sentiment", "TEXT": "a film", "LABEL": "positive", **row} for row in rows or ({},)]
    names = {name for row in whole for name in row}
    return {name: column([row.get(name, "") for row in whole]) for name in names}


def column(values: list[bytes | str]) -> np.ndarray:
    raw = [value.encode() if isinstance(value, str) else value for value in values]
    return np.array(raw, dtype=np.object_).reshape(-1, 1)


def refusal(outcome: Outcome) -> PerennialError:
    assert isinstance(outcome, PerennialError), outcome
    return outcome


# --- what a row must be


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"SERVICE": "sentimen"}, "SERVICE 'sentimen' is unknown; did you mean 'sentiment'"),
        ({"SERVICE": "?"}, "known: 'sentiment', 'strict'"),
        ({"LABEL": "postive"}, "LABEL 'postive' is unknown; did you mean 'positive'"),
        ({"LABEL": ""}, "the label is empty"),
        ({"TEXT": ""}, "TEXT is empty"),
        ({"TEXT": " \n\t"}, "TEXT is empty"),
        ({"TEXT": "a\0b"}, "TEXT holds a NUL at 1"),
        ({"TEXT": b"ab\xff"}, "TEXT is not UTF-8: byte 0xff at 2"),
        ({"TEXT": "é" * 21}, "TEXT has 42 bytes and may have 40 at most"),
        ({"LABEL": b"\xff"}, "LABEL is not UTF-8"),
        ({"SERVICE": b"\xff"}, "SERVICE is not UTF-8"),
        ({"SOURCE": "s" * 201}, "SOURCE has 201 bytes"),
        ({"SOURCE": "\0"}, "SOURCE holds a NUL"),
        ({"KEY": "k" * 201}, "KEY has 201 bytes"),
        ({"KEY": b"\xff"}, "KEY is not UTF-8"),
        ({"PREDICTION_ID": "made-up"}, "PREDICTION_ID 'made-up' is not of the form"),
        ({"SERVICE": "strict"}, "takes no feedback without a PREDICTION_ID"),
    ],
)
def test_a_bad_row_is_refused_by_the_rule_it_breaks(
    intake: Intake, store: WatchedStore, row: dict[str, bytes | str], rule: str
) -> None:
    (outcome,) = intake.take([request(row)])
    assert isinstance(outcome, BadRequest) and rule in str(outcome)
    assert store.commits == 0


def test_the_row_at_fault_is_named(intake: Intake) -> None:
    (outcome,) = intake.take([request({}, {"TEXT": ""}, {})])
    assert str(refusal(outcome)).startswith("row 1: TEXT is empty")


def test_the_longest_text_and_names_are_taken(intake: Intake, store: WatchedStore) -> None:
    longest = {"TEXT": "é" * 20, "SOURCE": "s" * 200, "KEY": "k" * 200}
    intake.take([request(longest)])
    (stored,) = store.feedback("sentiment")
    assert (stored.text, stored.source, stored.key) == tuple(longest.values())


def test_columns_of_different_length_are_refused(intake: Intake) -> None:
    (outcome,) = intake.take([{**request({}, {}), "LABEL": column(["positive"])}])
    assert "one value a row" in str(refusal(outcome))


# --- what a prediction id proves


def test_a_proven_row_has_full_trust_and_its_release(intake: Intake, store: WatchedStore) -> None:
    claimed = prediction_id("strict", 7, b"a film", KEY)
    intake.take([request({"SERVICE": "strict", "PREDICTION_ID": claimed})])
    (stored,) = store.feedback("strict")
    assert (stored.trust, stored.release, stored.prediction_id) == (1.0, 7, claimed)


def test_an_unproven_row_has_the_trust_of_its_service(intake: Intake, store: WatchedStore) -> None:
    intake.take([request()])
    (stored,) = store.feedback("sentiment")
    assert (stored.trust, stored.release, stored.prediction_id) == (SENTIMENT.unproven_trust, None, None)


@pytest.mark.parametrize(
    ("claimed", "rule"),
    [
        (prediction_id("strict", 7, b"a film", KEY), "is of service 'strict' and SERVICE says 'sentiment'"),
        (prediction_id("sentiment", 7, b"another", KEY), "not issued for this text"),
        (prediction_id("sentiment", 7, b"a film", b"stolen"), "not issued for this text"),
    ],
    ids=["of another service", "of another text", "under another key"],
)
def test_an_id_that_proves_something_else_is_refused(intake: Intake, claimed: str, rule: str) -> None:
    (outcome,) = intake.take([request({"PREDICTION_ID": claimed})])
    assert rule in str(refusal(outcome))


def test_feedback_of_an_answer_is_taken_within_its_window(store: WatchedStore) -> None:
    asked = {"SERVICE": "strict", "PREDICTION_ID": prediction_id("strict", 7, b"a film", KEY)}
    time.sleep(0.002)  # an id tells milliseconds
    outcomes = []
    for window in (3600.0, 0.001):
        store.put_service(replace(STRICT, feedback_within_s=window))
        outcomes += Intake(store, KEY).take([request(asked)])
    assert isinstance(outcomes[0], list)
    assert "and 'strict' takes feedback within 0.001 s (feedback_within_s)" in str(refusal(outcomes[1]))


# --- a batch of requests


def test_a_batch_of_requests_is_one_commit(intake: Intake, store: WatchedStore) -> None:
    outcomes = intake.take([request({"TEXT": "a"}, {"TEXT": "b"}), request({"TEXT": "c"})])
    receipts = [receipt for outcome in outcomes if isinstance(outcome, list) for receipt in outcome]
    assert [(row.receipt, row.text) for row in store.feedback("sentiment")] == list(
        zip(receipts, "abc", strict=True)
    )
    assert store.commits == 1


def test_a_bad_request_does_not_harm_its_neighbours(intake: Intake, store: WatchedStore) -> None:
    intake.take([request({"KEY": "k"})])
    good, bad, conflict, last = intake.take(
        [
            request({"TEXT": "good"}),
            request({"TEXT": "half"}, {"TEXT": ""}),
            request({"TEXT": "fresh"}, {"TEXT": "other", "KEY": "k"}),
            request({"TEXT": "last"}),
        ]
    )
    assert isinstance(good, list) and isinstance(last, list)
    assert isinstance(bad, BadRequest)
    assert isinstance(conflict, Conflict) and str(conflict).startswith("row 1: KEY 'k'")
    assert [row.text for row in store.feedback("sentiment")] == ["a film", "good", "last"]


def test_a_retry_gets_the_receipt_of_its_first_time(intake: Intake, store: WatchedStore) -> None:
    sent = request({"KEY": "k"})
    assert intake.take([sent]) == intake.take([sent])
    assert len(store.feedback("sentiment")) == 1


ROWS = st.fixed_dictionaries(
    {"TEXT": st.sampled_from(["a", "b", ""]), "KEY": st.sampled_from(["", "k1", "k2"])}
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(st.lists(ROWS, min_size=1, max_size=3), max_size=6))
def test_requests_together_fare_as_they_would_one_by_one(
    store_template: Path, tmp_path: Path, batch: list[list[dict[str, str]]]
) -> None:
    requests = [request(*rows) for rows in batch]  # type: ignore[arg-type]
    fared = []
    for taking in (
        lambda intake: intake.take(requests),
        lambda intake: [intake.take([r])[0] for r in requests],
    ):
        store = SqliteStore(f"sqlite:///{shutil.copy(store_template, tmp_path / 'example.db')}")
        outcomes = taking(Intake(store, KEY))
        stored = [(row.text, row.key) for row in store.feedback("sentiment")]
        fared.append(
            (stored, [str(out) if isinstance(out, PerennialError) else len(out) for out in outcomes])
        )
        store.close()
    assert fared[0] == fared[1]


def test_an_absent_store_is_unavailable_for_all_but_the_bad(intake: Intake, store: WatchedStore) -> None:
    store.away = True
    good, bad = intake.take([request(), request({"TEXT": ""})])
    assert isinstance(good, Unavailable) and isinstance(bad, BadRequest)


def test_a_new_service_is_known_at_once_and_unknown_names_cost_one_read(
    intake: Intake, store: WatchedStore
) -> None:
    intake.take([request()])
    store.put_service(replace(SENTIMENT, name="topics"))
    (outcome,) = intake.take([request({"SERVICE": "topics"})])
    assert isinstance(outcome, list)
    reads = store.reads
    intake.take([request({"SERVICE": f"x{number}"}) for number in range(20)])
    assert store.reads == reads + 1


# --- when a rebuild is due: see test_feedback_trigger too


def test_the_row_that_makes_the_count_enqueues_one_rebuild(intake: Intake, store: WatchedStore) -> None:
    for _ in range(3):
        intake.take([request()])
    assert store.jobs() == []
    for _ in range(3):
        intake.take([request()])
    (job,) = store.jobs()
    assert (job.kind, job.state, job.reason) == ("rebuild", "queued", "4 fresh rows (trigger_count 4)")


def test_a_store_that_fails_at_the_trigger_does_not_take_a_receipt_back(
    intake: Intake, store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise Unavailable("the store is away")

    monkeypatch.setattr(store, "backlog", fail)
    (outcome,) = intake.take([request()])
    assert isinstance(outcome, list) and len(outcome) == 1
