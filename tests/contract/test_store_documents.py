"""What every store promises of documents, and of where the engines of releases place them."""

from __future__ import annotations

import pytest

from perennial.errors import Fenced
from perennial.store_protocol import Store
from perennial.types import Document, Lease, Placed


@pytest.fixture
def lease(store: Store) -> Lease:
    held = store.acquire("worker", "me", 60.0)
    assert held
    return held


def test_the_last_word_on_a_document_is_kept_under_a_new_number(store: Store) -> None:
    assert store.newest_document("find") == 0 and store.documents("find") == []
    last = store.put_documents("find", {"a": "schön 🎬", "b": "two"})
    assert store.newest_document("find") == last
    assert store.documents("find") == [Document(last - 1, "a", "schön 🎬"), Document(last, "b", "two")]
    again = store.put_documents("find", {"a": None, "c": "three"})
    assert store.documents("find") == [
        Document(last, "b", "two"),
        Document(again - 1, "a", None),
        Document(again, "c", "three"),
    ]
    assert store.documents("find", after=last)[0].name == "a"
    store.put_documents("other", {"b": "elsewhere"})
    assert [one.text for one in store.documents("find")] == ["two", None, "three"]


def test_what_a_release_has_not_placed_yet_is_told_oldest_first(store: Store, lease: Lease) -> None:
    last = store.put_documents("find", {"a": "one", "b": "two", "c": "three"})
    assert [one.name for one in store.unplaced("find", 1, 0, 2)] == ["a", "b"]
    assert [one.name for one in store.unplaced("find", 1, last - 1, 9)] == ["c"]
    store.place(1, {last - 2: b"aaaa", last: b""}, lease)
    store.place(1, {last - 2: b"aaaa", last + 50: b"gone"}, lease)
    assert [one.name for one in store.unplaced("find", 1, 0, 9)] == ["b"]
    assert [one.name for one in store.unplaced("find", 2, 0, 9)] == ["a", "b", "c"], (
        "another release's engine"
    )


def test_places_are_told_in_the_order_in_which_they_came(store: Store, lease: Lease) -> None:
    last = store.put_documents("find", {"a": "one", "b": "two"})
    store.place(1, {last: b"bbbb"}, lease)
    (first,) = store.placed("find", 1)
    assert first == Placed(first.version, "b", b"bbbb")
    store.place(1, {last - 1: b"aaaa"}, lease)
    assert [one.name for one in store.placed("find", 1)] == ["b", "a"]
    assert [one.name for one in store.placed("find", 1, first.version)] == ["a"]
    store.put_documents("find", {"b": "anew"})
    assert [one.name for one in store.placed("find", 1)] == ["a"], "what it said before has no place"
    assert store.placed("find", 2) == [] == store.placed("other", 1)


def test_places_go_with_the_releases_that_made_them(store: Store, lease: Lease) -> None:
    last = store.put_documents("find", {"a": "one"})
    for release in (1, 2):
        store.place(release, {last: b"aaaa"}, lease)
    store.drop_heads("find", [2])
    assert store.placed("find", 1) == [] and len(store.placed("find", 2)) == 1
    assert len(store.documents("find")) == 1


def test_a_worker_that_lost_its_lease_places_nothing(store: Store, lease: Lease) -> None:
    last = store.put_documents("find", {"a": "one"})
    store.release(lease)
    assert store.acquire("worker", "another", 60.0)
    with pytest.raises(Fenced):
        store.place(1, {last: b"aaaa"}, lease)
    assert store.placed("find", 1) == []
