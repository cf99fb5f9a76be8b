"""The client against a server that speaks the wire: both protocols, blocking and asynchronous."""

from __future__ import annotations

import asyncio
import doctest
import inspect
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import perennial_client
from fakes_wire import FakeServer
from perennial.shapes import MAX_BATCH_SIZE
from perennial_client import (
    Answer,
    AsyncClient,
    BadRequest,
    Cause,
    Client,
    Conflict,
    DeadlineExceeded,
    Feedback,
    NotFound,
    PerennialClientError,
    Span,
    Timings,
    Unavailable,
    _types,
    _wire,
)

ROOT = Path(__file__).parents[2]
Connect = Callable[..., Any]


class Awaited:
    """An asynchronous client behind a blocking face, so that one claim is put to both."""

    def __init__(self, url: str, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = AsyncClient(url, **options)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return lambda *args, **options: self._loop.run_until_complete(method(*args, **options))

    def close(self) -> None:
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture(params=["http", "grpc"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[Client, Awaited], ids=["blocking", "asynchronous"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    with ExitStack() as stack:

        def open_client(url: str, **options: Any) -> Any:
            client = request.param(url, **options)
            stack.callback(client.close)
            return client

        yield open_client


@pytest.fixture
def client(server: FakeServer, scheme: str, connect: Connect) -> Any:
    return connect(server.url(scheme))


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perennial_client._retry._FIRST_PAUSE_S", 0.01)


def test_one_text_has_one_answer(client: Any) -> None:
    assert client.predict("sentiment", "a\0é😀") == Answer(
        label="positive",
        score=0.5,
        truncated=False,
        top=(("positive", 0.5),),
        prediction_id=f"sentiment.3.{0:026}.TAG",
        text="a\0é😀",
        service="sentiment",
        release=3,
    )


def test_many_texts_have_answers_in_their_order_in_requests_of_at_most_a_batch(
    client: Any, server: FakeServer
) -> None:
    texts = [f"text {number}" for number in range(70)]
    assert [answer.text for answer in client.predict("sentiment", texts)] == texts
    assert [len(columns["TEXT"]) for _, columns in server.wire.seen] == [32, 32, 6]
    assert client.predict("sentiment", []) == []


def test_abstaining_truncating_and_top_k_are_told(client: Any) -> None:
    unsure, cut = client.predict("sentiment", ["?", "long " * 20], top_k=2)
    assert unsure.label is None and not unsure.truncated
    assert cut.label == "positive" and cut.truncated
    assert unsure.top == cut.top == (("positive", 0.5), ("neutral", 0.25))


def test_where_the_time_went_is_told_where_it_was_asked_for(client: Any) -> None:
    assert client.predict("sentiment", "a bore").timings is None
    answers = client.predict("sentiment", ["a bore", "a joy"], timings=True)
    assert [answer.timings for answer in answers] == [Timings(1.5, 0.25, 4.0, 0.5)] * 2


def test_spans_come_in_the_order_of_the_texts(client: Any, server: FakeServer) -> None:
    first, second = client.tag("names", ["Ann lives here", "?"])
    assert first.spans == (Span(0, 3, "PER", 0.5),) and second.spans == ()
    assert (first.text, first.service, first.release, first.truncated) == (
        "Ann lives here",
        "names",
        3,
        False,
    )
    assert client.tag("names", "?").spans == ()
    client.feedback(first, [Span(0, 3, "ORG")], key="k")
    _, columns = server.wire.seen[-1]
    assert json.loads(columns["LABEL"][0]) == [{"start": 0, "end": 3, "label": "ORG"}]
    assert columns["PREDICTION_ID"] == [first.prediction_id]


def test_feedback_on_one_span_tells_of_it_alone() -> None:
    said = [Feedback.on("names", Span(0, 3, name), text="Ann").label for name in ("PER", "")]
    assert [json.loads(label) for label in said] == [
        {"start": 0, "end": 3, "label": "PER"},
        {"start": 0, "end": 3, "label": None},
    ]


def test_why_an_answer_is_as_it_is_is_told_in_types(client: Any, server: FakeServer) -> None:
    told = client.why("sentiment", "a bore", most=1)
    assert server.wire.seen == [("why", {"SERVICE": ["sentiment"], "TEXT": ["a bore"], "MOST": [1]})]
    assert (told.service, told.release, told.label, told.over) == ("sentiment", 3, "positive", "neutral")
    assert (told.release_alone, told.rows) == ("neutral", 2)
    assert told.corrections == (Cause("positive", 0.25, row=7, receipt="01J", line=None),)
    assert told.taught == (Cause("neutral", -0.125, row=None, receipt=None, line=5),)
    client.why("sentiment", "a bore")
    assert "MOST" not in server.wire.seen[-1][1]
    with pytest.raises(BadRequest, match="ask for 1 or more"):
        client.why("sentiment", "a bore", most=0)


def test_feedback_on_an_answer_carries_its_proof(client: Any, server: FakeServer) -> None:
    answer = client.predict("sentiment", "a bore")
    assert client.feedback(answer, "negative", source="editor", key="k") == "receipt-k"
    assert server.wire.seen[-1] == (
        "feedback",
        {
            "SERVICE": ["sentiment"],
            "TEXT": ["a bore"],
            "LABEL": ["negative"],
            "KEY": ["k"],
            "PREDICTION_ID": [answer.prediction_id],
            "SOURCE": ["editor"],
        },
    )


def test_feedback_on_an_id_needs_the_text(client: Any, server: FakeServer) -> None:
    client.feedback("sentiment.3.ULID.TAG", "negative", text="a bore")
    _, columns = server.wire.seen[-1]
    assert columns["SERVICE"] == ["sentiment"] and columns["PREDICTION_ID"] == ["sentiment.3.ULID.TAG"]
    with pytest.raises(BadRequest, match="give text="):
        client.feedback("sentiment.3.ULID.TAG", "negative")


def test_feedback_without_an_answer_names_the_service(client: Any, server: FakeServer) -> None:
    client.feedback("sentiment", "negative", text="a bore")
    _, columns = server.wire.seen[-1]
    assert columns["SERVICE"] == ["sentiment"] and "PREDICTION_ID" not in columns


def test_many_rows_travel_in_batches_with_a_key_each(client: Any, server: FakeServer) -> None:
    rows = [Feedback("sentiment", f"text {number}", "negative") for number in range(300)]
    assert client.feedback_many(rows) == [f"receipt-{row.key}" for row in rows]
    assert [len(columns["KEY"]) for _, columns in server.wire.seen] == [256, 44]
    assert len({row.key for row in rows}) == 300


def test_ready_is_about_one_service(client: Any) -> None:
    assert client.ready("sentiment")
    assert not client.ready("sentimnt")


@pytest.mark.parametrize(
    ("fault", "kind", "hint"),
    [
        ("INVALID_ARGUMENT", BadRequest, "TEXT is empty"),
        ("NOT_FOUND", NotFound, "perennial status"),
        ("INTERNAL", PerennialClientError, "see its log"),
    ],
)
def test_an_error_has_a_type_and_a_way_out_and_is_not_retried(
    client: Any, server: FakeServer, fault: str, kind: type[Exception], hint: str
) -> None:
    server.wire.faults.append(fault)
    server.wire.reason = "TEXT is empty; send at least one character"
    with pytest.raises(kind, match=hint) as caught:
        client.predict("sentiment", "")
    assert type(caught.value) is kind and "127.0.0.1" in str(caught.value)
    assert len(server.wire.seen) == 1


def test_an_error_of_a_later_request_says_where_its_rows_are(client: Any, server: FakeServer) -> None:
    server.wire.faults.extend([0.0, "INVALID_ARGUMENT"])
    with pytest.raises(BadRequest, match="row 0 there is row 32 of the call"):
        client.predict("sentiment", ["a bore"] * 40)


def test_a_key_with_another_body_is_a_conflict(client: Any, server: FakeServer) -> None:
    server.wire.faults.append("ALREADY_EXISTS")
    server.wire.reason = "KEY 'k' of service 'sentiment' came before with another body; send a new key"
    with pytest.raises(Conflict, match="send a new key"):
        client.feedback("sentiment", "negative", text="a bore", key="k")


def test_text_that_has_no_bytes_is_refused_before_it_is_sent(client: Any, server: FakeServer) -> None:
    with pytest.raises(BadRequest, match="surrogates"):
        client.predict("sentiment", "\ud800")
    with pytest.raises(BadRequest, match="top_k 0"):
        client.predict("sentiment", "a bore", top_k=0)
    assert not server.wire.seen


def test_an_overloaded_server_is_asked_again(client: Any, server: FakeServer, short_pauses: None) -> None:
    server.wire.faults.extend(["UNAVAILABLE", "UNAVAILABLE"])
    assert client.predict("sentiment", "a bore").label == "positive"
    assert len(server.wire.seen) == 3


def test_feedback_is_sent_again_under_the_same_key(
    client: Any, server: FakeServer, short_pauses: None
) -> None:
    server.wire.faults.append("UNAVAILABLE")
    client.feedback("sentiment", "negative", text="a bore")
    (_, first), (_, second) = server.wire.seen
    assert first == second and first["KEY"] != [""]


def test_in_an_outage_a_client_soon_sends_each_request_once(
    client: Any, server: FakeServer, short_pauses: None
) -> None:
    server.wire.faults.extend(["UNAVAILABLE"] * 100)
    for _ in range(20):
        with pytest.raises(Unavailable, match="try again later"):
            client.predict("sentiment", "a bore")
    assert len(server.wire.seen) <= 20 + 5


def test_the_deadline_holds_over_retries_and_pauses(client: Any, server: FakeServer) -> None:
    server.wire.faults.extend(["UNAVAILABLE", 5.0])
    start = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"within 0\.3 s.*timeout="):
        client.predict("sentiment", "a bore", timeout=0.3)
    assert time.monotonic() - start < 0.6


def test_a_server_that_is_not_there_is_unavailable(scheme: str, connect: Connect, short_pauses: None) -> None:
    client = connect(f"{scheme}://127.0.0.1:{_free_port()}")
    with pytest.raises(Unavailable, match="is the server up"):
        client.predict("sentiment", "a bore")
    assert not client.ready("sentiment")


def test_a_socket_that_never_answers_costs_no_more_than_the_deadline(scheme: str, connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = connect(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)
        start = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            client.predict("sentiment", "a bore")
        assert time.monotonic() - start < 0.5
        assert not client.ready("sentiment")


def test_a_client_outlives_a_restart_of_its_server(scheme: str, connect: Connect) -> None:
    with FakeServer() as first:
        client = connect(first.url(scheme))
        client.predict("sentiment", "before")
    with FakeServer(first.http_port, first.grpc_port):
        assert client.predict("sentiment", "after").label == "positive"


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://127.0.0.1:21", "http://", "http://host:port", "grpc://host", ""]
)
def test_an_address_says_what_it_should_be(url: str) -> None:
    with pytest.raises(BadRequest, match="grpc://HOST:PORT"):
        Client(url)


def test_a_reply_of_another_server_is_an_error_of_ours() -> None:
    with pytest.raises(PerennialClientError, match="LABEL for none"):
        _wire.answers("sentiment", ["a bore"], {})


def test_a_request_fits_the_servers_batch() -> None:
    feedback = (ROOT / "model_repository/feedback/config.pbtxt").read_text()
    assert f"max_batch_size: {_wire.FEEDBACK_BATCH}" in feedback
    assert _wire.PREDICT_BATCH <= MAX_BATCH_SIZE


def test_an_example_in_a_docstring_runs() -> None:
    assert doctest.testmod(_types) == (0, 1)


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        public = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(method).parameters) for name, method in public if name[0] != "_"}

    assert methods(Client) == methods(AsyncClient)


def test_the_public_names_are_these() -> None:
    assert perennial_client.__all__ == [
        "Answer",
        "AsyncClient",
        "BadRequest",
        "Cause",
        "Client",
        "Conflict",
        "DeadlineExceeded",
        "Embedded",
        "Feedback",
        "Found",
        "Generated",
        "Hit",
        "Judged",
        "Message",
        "NotFound",
        "Options",
        "PerennialClientError",
        "Recommended",
        "Span",
        "Suggestion",
        "Tagged",
        "Timings",
        "Unavailable",
        "Wanted",
        "Why",
    ]


def test_the_client_knows_no_models() -> None:
    code = """
import sys
for name in ("perennial", "torch", "transformers", "tokenizers", "onnxruntime", "sqlalchemy"):
    sys.modules[name] = None  # importing it now fails
import perennial_client
assert not {"httpx", "grpc", "numpy"} & set(sys.modules), "importing the client is cheap"
from perennial_client import _grpc, _http
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_stream_that_ends_without_an_answer_is_an_error(client: Any) -> None:
    with pytest.raises(PerennialClientError, match="the stream ended without an answer"):
        client.generate("chat", "hello")
