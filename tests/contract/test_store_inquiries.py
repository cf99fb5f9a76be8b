"""What every store promises of inquiries: a question left for the worker, and what it is told."""

from __future__ import annotations

import time

import pytest

from perennial.errors import Unavailable
from perennial.store_protocol import MAX_INQUIRIES, Store
from perennial.stores import _inquiries
from perennial.types import Inquiry


def test_an_inquiry_waits_until_it_is_told(store: Store) -> None:
    first, second = store.inquire("mood", "schön 🎬", 8), store.inquire("topics", "a text", 1)
    asked = [Inquiry(first, "mood", "schön 🎬", 8), Inquiry(second, "topics", "a text", 1)]
    assert store.inquiries() == asked
    assert store.told(first) is None
    store.tell(first, {"label": "positive", "corrections": [{"row": 7}]})
    assert store.inquiries() == asked[1:]
    assert store.told(first) == {"label": "positive", "corrections": [{"row": 7}]}


def test_an_inquiry_that_is_gone_is_told_nothing(store: Store) -> None:
    number = store.inquire("mood", "a text", 8)
    store.drop_inquiry(number)
    store.tell(number, {"label": "positive"})
    assert (store.inquiries(), store.told(number)) == ([], None)
    assert store.inquire("mood", "another", 8) > number, "nobody else gets an answer to that number"


def test_of_too_many_the_next_is_refused(store: Store) -> None:
    numbers = [store.inquire("mood", f"text {number}", 8) for number in range(MAX_INQUIRIES)]
    with pytest.raises(Unavailable, match="16 others wait to hear why already; ask again in a few seconds"):
        store.inquire("mood", "one more", 8)
    store.drop_inquiry(numbers[0])
    store.inquire("mood", "one more", 8)


def test_what_nobody_fetches_is_gone_after_a_minute(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    forsaken = [store.inquire("mood", f"text {number}", 8) for number in range(MAX_INQUIRIES)]
    store.tell(forsaken[0], {"label": "positive"})
    later = time.time() + _inquiries.KEPT_S + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert store.inquiries() == [], "nobody is told of what nobody waits for"
    number = store.inquire("mood", "a text", 8)
    assert store.inquiries() == [Inquiry(number, "mood", "a text", 8)]
    assert store.told(forsaken[0]) is None
