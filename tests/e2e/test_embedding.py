"""A service that embeds, as users meet it: on the real server, over both protocols, with its worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flow.workshops import SEARCH, SERVICE, news_that_wants
from installation import Installation, installed
from perennial_client import AsyncClient, BadRequest, Client, Feedback, Judged
from serving import within
from tiny import TONED, tiny_queries

pytestmark = pytest.mark.e2e

NEW = "day 7778 it was xxx"


@pytest.fixture(scope="module")
def running(
    embedded_server: None, built_searcher: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Installation, dict[str, str]]]:
    """`perennial up` on the searcher that was built."""
    home = installed(built_searcher, tmp_path_factory.mktemp("embedding-home") / "home", SEARCH)
    with home.up() as (_, urls):
        yield home, urls


@pytest.fixture(params=["http", "grpc"])
def client(running: tuple[Installation, dict[str, str]], request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client(running[1][request.param]) as opened:
        yield opened


def wanted(row: Any) -> str:
    (one,) = json.loads(row.label)
    return str(one["document"])


def test_what_texts_want_is_found_best_first(client: Client) -> None:
    rows = tiny_queries(40)
    answers = client.search(SERVICE, [row.text for row in rows])
    hit = [
        all(one.document.startswith(wanted(row)) for one in answer.hits[:5])
        for row, answer in zip(rows, answers, strict=True)
    ]
    assert sum(hit) > 30
    for answer in answers:
        assert len(answer.hits) == 10 and {one.document for one in answer.hits} <= {*TONED}
        scores = [one.score for one in answer.hits]
        assert scores == sorted(scores, reverse=True) and max(scores) <= 1.0001
    assert len(client.search(SERVICE, NEW, top_k=3).hits) == 3


def test_vectors_are_those_that_documents_are_compared_by(client: Client) -> None:
    first, second = client.embed(SERVICE, [TONED["positive/0"], NEW])
    assert len(first.vector) == 32 and np.linalg.norm(first.vector) == pytest.approx(1.0, abs=1e-4)
    (best, *_) = client.search(SERVICE, TONED["positive/0"]).hits
    assert best.document == "positive/0" and best.score == pytest.approx(1.0, abs=0.02)
    short = client.embed(SERVICE, TONED["positive/0"], dimensions=16).vector
    head = np.array(first.vector[:16]) / np.linalg.norm(first.vector[:16])
    np.testing.assert_allclose(short, head, atol=1e-4)
    assert first.vector != second.vector and first.prediction_id != second.prediction_id


def test_what_users_say_of_documents_changes_the_next_answers(
    running: tuple[Installation, dict[str, str]],
) -> None:
    home, urls = running
    with Client(urls["grpc"]) as client:

        def positive() -> int:
            hits = client.search(SERVICE, NEW).hits
            return sum(hit.document.startswith("positive/") for hit in hits)

        before, rows = positive(), news_that_wants(60)
        client.feedback_many([Feedback.on(SERVICE, Judged(wanted(row)), text=row.text) for row in rows])
        assert within(30, lambda: positive() > before + 3)
        shown: Any = home.told("why", SERVICE, NEW)
        assert shown["label"] == client.search(SERVICE, NEW).hits[0].document and shown["rows"] == 60
        assert client.why(SERVICE, NEW, most=3).label == shown["label"]
        found = client.search(SERVICE, NEW)
        worst, clicked = found.hits[0].document, Judged(found.hits[1].document, "clicked", 2)
        assert client.feedback(found, [Judged(worst, "not relevant"), clicked])
        assert within(30, lambda: client.search(SERVICE, NEW).hits[0].document != worst)


def test_documents_are_found_as_soon_as_they_are_indexed_and_not_once_they_are_gone(
    running: tuple[Installation, dict[str, str]],
) -> None:
    home, urls = running
    text = "q w e r t y u i o p"

    def best() -> str:
        with Client(urls["http"]) as client:
            return client.search(SERVICE, text).hits[0].document

    with Client(urls["grpc"]) as client:
        client.index(SERVICE, {"new/1": text, **{f"more/{n}": f"day {n}" for n in range(70)}})
        assert within(10, lambda: best() == "new/1")
        found = client.search(SERVICE, text)
        assert found.hits[0].score == pytest.approx(1.0, abs=0.05)
        client.index(SERVICE, {"new/1": "the movie was great", "new/2": text})
        assert within(10, lambda: best() == "new/2")
        client.index(SERVICE, {"new/2": None})
        assert within(10, lambda: best() != "new/2")
        with pytest.raises(BadRequest, match="ID 'new/' is none"):
            client.index(SERVICE, {"new/": text})
        with pytest.raises(BadRequest, match=f"did you mean {SERVICE!r}"):
            client.index(SERVICE + "s", {"a": text})
    file = home.folder / "more.jsonl"
    file.write_text(json.dumps({"id": "file/1", "text": text}))
    told = home.told("index", SERVICE, str(file), "--remove", "new/1")
    assert told == {"indexed": 1, "removed": 1}
    assert within(10, lambda: best() == "file/1")
    with Client(urls["grpc"]) as client:
        client.index(SERVICE, {"file/1": None, **{f"more/{n}": None for n in range(70)}})
        assert within(10, lambda: client.search(SERVICE, "day 5", top_k=1).hits[0].document in TONED)


def test_what_is_wrong_with_it_is_told(client: Client) -> None:
    found = client.search(SERVICE, NEW)
    for label, said in (
        ([Judged("a"), Judged("a")], "'a' is judged twice"),
        (Judged("", "relevant"), "names no document"),
        ('{"document": "a", "said": "relevnt"}', "did you mean 'relevant'"),
    ):
        with pytest.raises(BadRequest, match=said):
            client.feedback(found, label)
    with pytest.raises(BadRequest, match="TOP_K 101 is out of range; ask for 0 to 100"):
        client.search(SERVICE, NEW, top_k=101)
    with pytest.raises(BadRequest, match="DIMENSIONS 33 is out of range; ask for 8 to 32"):
        client.embed(SERVICE, NEW, dimensions=33)
    with pytest.raises(BadRequest, match="dimensions 0 is out of range"):
        client.embed(SERVICE, NEW, dimensions=0)


def test_the_asynchronous_client_and_the_terminal_have_it_as_well(
    running: tuple[Installation, dict[str, str]],
) -> None:
    home, urls = running

    async def ask() -> tuple[int, int]:
        async with AsyncClient(urls["grpc"]) as client:
            found, embedded = await asyncio.gather(
                client.search(SERVICE, NEW, top_k=4), client.embed(SERVICE, NEW, dimensions=8)
            )
            return len(found.hits), len(embedded.vector)

    assert asyncio.run(ask()) == (4, 8)
    (told,) = home.told("search", SERVICE, NEW, "--top-k", "2")
    assert [hit["document"] in TONED for hit in told["hits"]] == [True, True]
    assert told["hits"][0]["document"] in home.run("search", SERVICE, NEW).stdout
    assert len(json.loads(home.run("embed", SERVICE, NEW).stdout)) == 32
