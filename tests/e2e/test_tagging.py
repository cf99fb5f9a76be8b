"""A service that tags, as users meet it: on the real server, over both protocols, with its worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flow.workshops import SERVICE, TAG, news_with_spans
from installation import Installation, installed
from perennial_client import AsyncClient, BadRequest, Client, Feedback, Span
from serving import within
from tiny import tiny_spans

pytestmark = pytest.mark.e2e

NEW = "day 7778 it was xxx"


@pytest.fixture(scope="module")
def running(
    embedded_server: None, built_tagger: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Installation, dict[str, str]]]:
    """`perennial up` on the tagger that was built."""
    home = installed(built_tagger, tmp_path_factory.mktemp("tagging-home") / "home", TAG)
    with home.up() as (_, urls):
        yield home, urls


@pytest.fixture(params=["http", "grpc"])
def client(running: tuple[Installation, dict[str, str]], request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client(running[1][request.param]) as opened:
        yield opened


def found(text: str, label: str) -> list[tuple[str, str]]:
    return [(text[start:end], name) for start, end, name in json.loads(label)]


def test_spans_are_found_in_texts_of_any_length_at_once(client: Client) -> None:
    rows = tiny_spans(40)
    answers = client.tag(SERVICE, [row.text for row in rows])
    for row, answer in zip(rows, answers, strict=True):
        assert all(0.3 < span.score <= 1 for span in answer.spans)
        assert (answer.service, answer.text, answer.truncated) == (SERVICE, row.text, False)
    told = [[(answer.text[span.start : span.end], span.label) for span in answer.spans] for answer in answers]
    assert sum(one == found(row.text, row.label) for one, row in zip(told, rows, strict=True)) >= 36
    alone = client.tag(SERVICE, rows[0].text)
    assert [replace(span, score=0) for span in alone.spans] == [
        replace(span, score=0) for span in answers[0].spans
    ]


def test_a_long_text_is_read_to_its_end_and_one_that_is_too_long_says_so(client: Client) -> None:
    """A window is 64 tokens, and there are eight at most."""
    within, beyond = client.tag(SERVICE, ["it was very good " * count for count in (40, 140)])
    assert not within.truncated and beyond.truncated
    assert max(span.end for span in within.spans) > 0.9 * len(within.text)


def test_flat_tensors_say_the_same(running: tuple[Installation, dict[str, str]]) -> None:
    import httpx

    texts = ["the movie number 1 was awful", "the movie number 2 was plain"]
    body = {"inputs": [{"name": "TEXT", "datatype": "BYTES", "shape": [2, 1], "data": texts}]}
    reply = httpx.post(f"{running[1]['http']}/v2/models/{SERVICE}/infer", json=body, timeout=10).json()
    flat = {one["name"]: (one["shape"], one["data"]) for one in reply["outputs"]}
    spans = [json.loads(raw) for raw in flat["SPANS"][1]]
    assert [len(one) for one in spans] == [1, 0]
    assert flat["STARTS"] == ([2, 1], [spans[0][0]["start"], -1])
    assert flat["ENDS"] == ([2, 1], [spans[0][0]["end"], -1])
    assert flat["SPAN_LABELS"] == ([2, 1], ["BAD", ""])
    assert flat["SPAN_SCORES"][1] == pytest.approx([spans[0][0]["score"], 0.0], abs=1e-4)


def test_corrected_spans_change_the_next_answers(running: tuple[Installation, dict[str, str]]) -> None:
    home, urls = running
    with Client(urls["grpc"]) as client:
        rows = [(row.text, [_span(row)] if row.label != "[]" else []) for row in news_with_spans(240)]
        client.feedback_many([Feedback.on(SERVICE, spans, text=text) for text, spans in rows])

        def found() -> list[tuple[int, str]]:
            return [(span.start, span.label) for span in client.tag(SERVICE, NEW).spans]

        assert within(30, lambda: found() == [(16, "GOOD")]), found()
        answer = client.tag(SERVICE, NEW)
        assert client.feedback(answer, answer.spans[0]), "one span alone"
        shown: Any = home.told("why", SERVICE, NEW)
        assert shown["label"].startswith("B-GOOD at 16-")
        assert client.why(SERVICE, NEW, most=3).label == shown["label"]


def _span(row: Any) -> Span:
    ((start, end, name),) = json.loads(row.label)
    return Span(start, end, name)


def test_who_asks_as_of_another_task_is_told_the_way(client: Client) -> None:
    for ask in (client.predict, client.search, client.recommend):
        with pytest.raises(BadRequest, match="of another task; ask by its own: predict, tag, search"):
            ask(SERVICE, NEW)
    with pytest.raises(BadRequest, match="of another task; ask by its own"):
        client.generate(SERVICE, NEW)


def test_what_is_wrong_with_spans_is_told(client: Client) -> None:
    answer = client.tag(SERVICE, NEW)
    for label, said in (
        ([Span(0, 99, "GOOD")], "does not lie in the text, which has 19 characters"),
        ([Span(0, 3, "GODO")], "did you mean 'GOOD'"),
        ([Span(0, 8, "GOOD"), Span(4, 9, "BAD")], "overlap"),
        ("GOOD", "is not JSON"),
    ):
        with pytest.raises(BadRequest, match=said):
            client.feedback(answer, label)
    with pytest.raises(BadRequest, match="SCORE"):
        client.predict(SERVICE, NEW)


def test_the_asynchronous_client_and_the_terminal_have_it_as_well(
    running: tuple[Installation, dict[str, str]],
) -> None:
    home, urls = running

    async def ask() -> list[str]:
        async with AsyncClient(urls["grpc"]) as client:
            return [span.label for span in (await client.tag(SERVICE, "it was bad")).spans]

    assert asyncio.run(ask()) == ["BAD"]
    (told,) = home.told("tag", SERVICE, "it was bad")
    assert [(span["start"], span["end"], span["label"]) for span in told["spans"]] == [(7, 10, "BAD")]
    printed = home.run("tag", SERVICE, "it was bad").stdout
    assert "BAD" in printed and "'bad' at 7-10" in printed
