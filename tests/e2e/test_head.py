"""The fast loop as users meet it: a correction changes the next answers, and can be taken back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import psutil
import pytest

from flow.workshops import SERVICE, news
from installation import Installation
from perennial_client import BadRequest, Client, DeadlineExceeded, Feedback, Unavailable
from serving import within

pytestmark = pytest.mark.e2e

NEW = "day 7778 it was xxx"
"""Of a domain that the release never saw; there it is positive, and the release calls it negative."""


def corrections(count: int, source: str = "ann", first: int = 0) -> list[Feedback]:
    rows = news(first + count)[first:]
    return [Feedback(SERVICE, row.text, row.label, source=source) for row in rows]


def head_of(home: Installation) -> dict[str, Any]:
    return home.told("head", "show", SERVICE)


def test_a_correction_changes_the_next_answers_and_can_be_taken_back(home: Installation) -> None:
    with home.up() as (process, urls), Client(urls["grpc"]) as client:

        def positive() -> float:
            return dict(client.predict(SERVICE, NEW, top_k=3).top)["positive"]

        before = positive()
        client.feedback_many(corrections(60))
        assert within(30, lambda: positive() > before + 0.2)
        assert client.predict(SERVICE, NEW).label == "positive"
        assert within(30, lambda: head_of(home)["rows"] == 60)

        # A worker that is killed comes back to the same head, and learns on.
        learned = positive()
        _worker(process.pid).kill()
        client.feedback_many(corrections(30, "bob", first=60))
        assert within(60, lambda: head_of(home)["rows"] == 90)
        assert positive() != learned

        _look_and_take_back(home, client, positive, before)


def _look_and_take_back(
    home: Installation, client: Client, positive: Callable[[], float], before: float
) -> None:
    why: Any = home.told("why", SERVICE, NEW)
    assert (why["label"], why["rows"]) == ("positive", 90)
    most = max(why["corrections"], key=lambda cause: cause["push"])
    assert most["push"] > 0 and most["label"] == "positive"
    told = client.why(SERVICE, NEW)
    assert (told.release, told.label, told.over, told.rows) == (1, "positive", why["over"], 90)
    for kind in ("corrections", "taught"):
        beside = [(cause["row"], cause["line"], cause["label"]) for cause in why[kind]]
        assert [(cause.row, cause.line, cause.label) for cause in getattr(told, kind)] == beside
    pushes = [cause["push"] for cause in why["corrections"]]
    assert [cause.push for cause in told.corrections] == pytest.approx(pushes, rel=1e-3, abs=1e-4)

    forgotten = home.told("forget", SERVICE, "--source", "bob")
    assert (len(forgotten["rows"]), forgotten["releases_trained_on_them"]) == (30, [])  # type: ignore[arg-type]
    assert within(30, lambda: head_of(home)["rows"] == 60)

    home.told("head", "freeze", SERVICE)
    still = positive()
    client.feedback_many(corrections(30, "cat", first=90))
    time.sleep(1)
    assert positive() == still
    home.told("forget", SERVICE, "--row", "1")
    assert within(30, lambda: head_of(home)["rows"] == 59), (
        "what is forgotten leaves a head that stands still"
    )
    home.told("head", "freeze", SERVICE, "--undo")
    assert within(30, lambda: head_of(home)["rows"] == 89)

    home.told("head", "freeze", SERVICE)
    home.told("head", "reset", SERVICE)
    assert within(30, lambda: abs(positive() - before) < 1e-6), "as the release answers by itself"


def test_who_asks_why_waits_for_a_worker_and_hears_no_more_than_numbers(home: Installation) -> None:
    with home.up() as (process, urls), Client(urls["http"]) as client:
        receipts = client.feedback_many(corrections(3, source="a secret"))
        assert within(30, lambda: head_of(home)["rows"] == 3)
        inputs = [
            {"name": name, "datatype": "BYTES", "shape": [1, 1], "data": [text]}
            for name, text in (("SERVICE", SERVICE), ("TEXT", NEW))
        ]
        url = f"{urls['http']}/v2/models/why/infer"
        told = httpx.post(url, json={"inputs": inputs}, timeout=10).text
        assert all(receipt in told for receipt in receipts)
        assert "day " not in told and "a secret" not in told, "nothing that others wrote"
        with pytest.raises(BadRequest, match="did you mean 'tone'"):
            client.why("ton", NEW)
        with pytest.raises(BadRequest, match="must be from 1 to 100"):
            client.why(SERVICE, NEW, most=101)

        worker = _worker(process.pid)
        worker.suspend()
        try:
            with pytest.raises((Unavailable, DeadlineExceeded)):
                client.why(SERVICE, NEW, timeout=9)
            assert client.predict(SERVICE, NEW).label, "answers need no worker"
        finally:
            worker.resume()
        assert within(30, lambda: _told(client) == 3), "once the worker has said again that it is there"


def _told(client: Client) -> int | None:
    try:
        return client.why(SERVICE, NEW).rows
    except Unavailable:
        return None


def test_without_feedback_and_without_a_worker_the_release_answers_by_itself(home: Installation) -> None:
    assert head_of(home)["version"] == 0
    refused = home.run("forget", SERVICE)
    assert refused.returncode == 1 and "name what to forget" in refused.stderr
    refused = home.run("why", SERVICE, NEW)
    assert refused.returncode == 1 and "no server runs" in refused.stderr


def _worker(up: int) -> psutil.Process:
    (worker,) = (child for child in psutil.Process(up).children() if "perennial.jobs" in child.cmdline())
    return worker
