"""What the model `why` asks the worker, and what it tells of its answer, on a real store."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from perennial.errors import BadRequest, PerennialError, Unavailable
from perennial.serve.checks import Outcome
from perennial.serve.inquiries import Inquiries
from perennial.store_protocol import WORKER
from perennial.types import Inquiry, Tensors, text_tensor
from watched import WatchedStore

TOLD = {"label": "positive", "corrections": [{"row": 7, "push": 0.25}]}


def request(service: str = "sentiment", text: str = "a film", most: int | None = None) -> Tensors:
    asked = {"SERVICE": text_tensor([service]), "TEXT": text_tensor([text])}
    return asked if most is None else {**asked, "MOST": np.array([[most]], np.int32)}


@contextmanager
def working(store: WatchedStore, told: Mapping[str, Any]) -> Iterator[list[Inquiry]]:
    """A worker that tells everyone the same; those who asked."""
    assert store.acquire(WORKER, "a worker", 60.0)
    asked: list[Inquiry] = []
    stopping = threading.Event()

    def work() -> None:
        while not stopping.wait(0.01):
            for inquiry in store.inquiries():
                asked.append(inquiry)
                store.tell(inquiry.number, told)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield asked
    finally:
        stopping.set()
        thread.join()


def outcome(store: WatchedStore, asked: Tensors, patience_s: float = 8.0) -> Outcome:
    (found,) = Inquiries(store, patience_s).take([asked])
    assert store.inquiries() == [], "nothing is left of it"
    return found


def refusal(store: WatchedStore, asked: Tensors, patience_s: float = 8.0) -> PerennialError:
    found = outcome(store, asked, patience_s)
    assert isinstance(found, PerennialError), found
    return found


def test_what_the_worker_tells_is_told_on(store: WatchedStore) -> None:
    with working(store, TOLD) as asked:
        for wanted in (request(), request(most=3)):
            found = outcome(store, wanted)
            assert isinstance(found, list) and [json.loads(one) for one in found] == [TOLD]
    assert [(one.service, one.text, one.most) for one in asked] == [
        ("sentiment", "a film", 8),
        ("sentiment", "a film", 3),
    ]


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (request("sentimen"), "SERVICE 'sentimen' is unknown; did you mean 'sentiment'"),
        (request(text=" "), "TEXT is empty"),
        (request(text="é" * 21), "TEXT has 42 bytes and may have 40 at most"),
        (request(most=0), "MOST is 0 and must be from 1 to 100"),
        (request(most=101), "MOST is 101 and must be from 1 to 100"),
    ],
)
def test_a_bad_request_is_refused_and_nobody_asked(store: WatchedStore, bad: Tensors, rule: str) -> None:
    with working(store, TOLD) as asked:
        refused = refusal(store, bad)
    assert isinstance(refused, BadRequest) and rule in str(refused)
    assert asked == []


def test_without_a_worker_nobody_waits(store: WatchedStore) -> None:
    assert "no worker runs" in str(refusal(store, request()))


def test_a_worker_that_tells_nothing_is_not_waited_for_for_ever(store: WatchedStore) -> None:
    assert store.acquire(WORKER, "a worker that is busy", 60.0)
    refused = refusal(store, request(), patience_s=0.1)
    assert isinstance(refused, Unavailable) and "within 0.1 s" in str(refused)


def test_what_the_worker_cannot_tell_is_an_error(store: WatchedStore) -> None:
    with working(store, {"error": "service 'sentiment' has no head"}):
        refused = refusal(store, request())
    assert isinstance(refused, Unavailable) and str(refused) == "service 'sentiment' has no head"
