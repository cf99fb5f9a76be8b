"""What every store promises of services and of feedback that it acknowledged."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ulid import ULID

from perennial.errors import Conflict, NotFound
from perennial.store_protocol import Store
from perennial.stores import open_store
from perennial.types import FeedbackRow, NewFeedback, ServiceRecord

SENTIMENT = ServiceRecord("sentiment", "classify", ("negative", "positive"), trigger_count=7)
TOPICS = ServiceRecord("topics", "classify", ("art", "science"), require_prediction_id=True)


@pytest.fixture(autouse=True)
def services(store: Store) -> None:
    store.put_service(SENTIMENT)
    store.put_service(TOPICS)


def row(text: str = "a film", **fields: object) -> NewFeedback:
    return replace(NewFeedback("sentiment", text, "positive"), **fields)


def rows(count: int) -> list[NewFeedback]:
    return [row(f"film {number}") for number in range(count)]


def texts(found: list[FeedbackRow]) -> list[str]:
    return [one.text for one in found]


# --- services


def test_a_service_is_known_as_it_was_put_last(store: Store) -> None:
    changed = replace(SENTIMENT, labels=("bad", "good"), max_text_bytes=9, trigger_age_s=1.5)
    store.put_service(changed)
    assert store.services() == {"sentiment": changed, "topics": TOPICS}


# --- feedback


def test_a_row_comes_back_as_it_was_sent_with_its_receipt(store: Store) -> None:
    sent = row("schön 🎬\n", source="web", key="k", prediction_id="p", release=3, trust=0.25)
    (receipt,) = store.add_feedback([sent])
    (found,) = store.feedback("sentiment")
    assert str(ULID.from_str(receipt)) == receipt == found.receipt
    assert {name: getattr(found, name) for name in vars(sent)} == vars(sent)
    assert found.attempts == 0


def test_rows_are_read_on_from_where_a_reader_stopped(store: Store) -> None:
    store.add_feedback(rows(5))
    first = store.feedback("sentiment", limit=2)
    rest = store.feedback("sentiment", after_row=first[-1].row)
    assert texts([*first, *rest]) == [f"film {number}" for number in range(5)]
    assert store.newest_row("sentiment") == rest[-1].row
    assert (store.feedback("topics"), store.newest_row("topics")) == ([], 0)


def test_a_row_of_an_unknown_service_is_refused_with_its_neighbours(store: Store) -> None:
    with pytest.raises(NotFound, match="'nobody'"):
        store.add_feedback([row(), row(service="nobody")])
    assert store.feedback("sentiment") == []


def test_the_same_key_and_body_give_the_same_receipt_and_one_row(store: Store) -> None:
    sent = row(key="k")
    first, twin = store.add_feedback([sent, sent])
    (again,) = store.add_feedback([replace(sent, trust=0.1)])
    assert first == twin == again
    assert len(store.feedback("sentiment")) == 1


def test_a_key_belongs_to_one_service(store: Store) -> None:
    receipts = store.add_feedback([row(key="k"), row(key="k", service="topics")])
    assert len(set(receipts)) == 2


@pytest.mark.parametrize(
    "other", [{"text": "b"}, {"label": "negative"}, {"source": "b"}, {"prediction_id": "b"}]
)
def test_a_key_with_another_body_is_a_conflict_and_nothing_is_stored(
    store: Store, other: dict[str, str]
) -> None:
    store.add_feedback([row(key="k")])
    with pytest.raises(Conflict, match=r"^row 1: KEY 'k' of service 'sentiment'") as conflict:
        store.add_feedback([row("new"), row(key="k", **other)])
    assert conflict.value.row == 1
    assert texts(store.feedback("sentiment")) == ["a film"]


def test_a_key_with_two_bodies_in_one_call_is_a_conflict(store: Store) -> None:
    with pytest.raises(Conflict):
        store.add_feedback([row("a", key="k"), row("b", key="k")])
    assert store.feedback("sentiment") == []


KEYED = st.builds(row, text=st.sampled_from("ab"), key=st.sampled_from([None, "k1", "k2", "k3"]))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.lists(KEYED, max_size=4), max_size=5))
def test_any_calls_store_each_key_once_and_each_call_whole(
    store: Store, calls: list[list[NewFeedback]]
) -> None:
    salt = ULID()  # every example has keys of its own
    bodies: dict[str, str] = {}
    expected: list[str] = []
    newest = store.newest_row("sentiment")
    for call in calls:
        sent = [replace(one, key=one.key and f"{salt}{one.key}") for one in call]
        known, new = dict(bodies), []
        for one in sent:
            if one.key is None or one.key not in known:
                new.append(one.text)
            known.setdefault(one.key or "", one.text)
        if all(one.key is None or known[one.key] == one.text for one in sent):
            store.add_feedback(sent)
            bodies, expected = known, expected + new
        else:
            with pytest.raises(Conflict):
                store.add_feedback(sent)
    assert texts(store.feedback("sentiment", after_row=newest)) == expected


def test_a_reader_who_follows_row_numbers_misses_none_of_many_writers(url: str, store: Store) -> None:
    writers, calls = 4, 12
    seen: list[str] = []
    done = threading.Event()

    def write(name: int) -> None:
        for call in range(calls):
            store.add_feedback([row(f"{name} {call} {part}") for part in range(3)])

    def follow() -> None:
        reader, newest = open_store(url), 0
        while True:
            last_look = done.is_set()
            found = reader.feedback("sentiment", after_row=newest)
            seen.extend(texts(found))
            newest = found[-1].row if found else newest
            if last_look and not found:
                return reader.close()

    with ThreadPoolExecutor(writers + 1) as pool:
        following = pool.submit(follow)
        for writing in [pool.submit(write, name) for name in range(writers)]:
            writing.result()
        done.set()
        following.result()
    assert len(seen) == len(set(seen)) == writers * calls * 3
