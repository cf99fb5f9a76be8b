"""The client against the real server: one service of a tiny model, and the feedback model with its store."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from perennial.publishers.local import LocalPublisher
from perennial.repository.layout import WARMUP, ensemble_models, stage_models, write_manifest
from perennial.stores import open_store
from perennial.types import Bundle, Placement, ServiceRecord
from perennial_client import (
    Answer,
    AsyncClient,
    BadRequest,
    Client,
    Conflict,
    Feedback,
    NotFound,
    PerennialClientError,
)
from serving import Served
from tiny import LABELS, tiny_examples

pytestmark = pytest.mark.e2e

SERVICE = "client-tiny"
TEXTS = [example.text for example in tiny_examples(12)]


@pytest.fixture(scope="module")
def service(served: Served, tiny_release: Path) -> Iterator[Served]:
    """The server with release 1 of a service, known to the store."""
    publisher = LocalPublisher(
        served.repository, served.state.folder("staging"), served.state.folder("quarantine")
    )
    publisher.publish(_bundle(served.state.bundle(SERVICE, 1), tiny_release), Placement())
    publisher.point(SERVICE, 1)
    for model in (*stage_models(served.repository, SERVICE), *ensemble_models(SERVICE)):
        served.control.load(model)
    store = open_store(served.state.store_url)
    store.put_service(ServiceRecord(SERVICE, "classify", LABELS, max_text_bytes=200))
    store.close()
    yield served
    for model in (*ensemble_models(SERVICE), *stage_models(served.repository, SERVICE)):
        served.control.unload(model)


def _bundle(folder: Path, release: Path) -> Bundle:
    shutil.copytree(release, folder)
    (folder / WARMUP).write_text(json.dumps(TEXTS[:2]))
    told = {"task": "classify", "engine": "onnxruntime", "file": "model.onnx"}
    return write_manifest(
        folder, {"service": SERVICE, "release": 1, "lineage": {"feedback_rows": []}, **told}
    )


@pytest.fixture(params=["http", "grpc"])
def client(service: Served, request: pytest.FixtureRequest) -> Iterator[Client]:
    run = service.server.run
    with Client(run.grpc_url if request.param == "grpc" else run.http_url) as client:
        yield client


def test_texts_are_answered_in_their_order(client: Client) -> None:
    answers = client.predict(SERVICE, TEXTS, top_k=3)
    assert [answer.text for answer in answers] == TEXTS
    assert [answer.label for answer in answers] == [example.label for example in tiny_examples(12)]
    for answer in answers:
        assert (answer.service, answer.release) == (SERVICE, 1)
        assert answer.top[0][0] == answer.label
        assert sum(score for _, score in answer.top) == pytest.approx(1.0, abs=1e-3)


def test_both_protocols_give_the_same_answer(service: Served) -> None:
    run = service.server.run
    with Client(run.http_url) as http, Client(run.grpc_url) as grpc:
        first, second = (client.predict(SERVICE, TEXTS[0]) for client in (http, grpc))
    assert first.prediction_id != second.prediction_id
    assert first == Answer(**{**vars(second), "prediction_id": first.prediction_id})


def test_the_time_of_an_answer_is_told_in_its_parts(client: Client) -> None:
    began = time.perf_counter()
    answers = client.predict(SERVICE, TEXTS[:3], timings=True)
    took = 1e3 * (time.perf_counter() - began)
    for answer in answers:
        assert answer.timings
        parts = vars(answer.timings).values()
        assert min(parts) >= 0 and answer.timings.engine > 0 and sum(parts) <= took
    assert client.predict(SERVICE, TEXTS[0]).timings is None


def test_more_texts_than_a_batch_are_answered(client: Client) -> None:
    assert len(client.predict(SERVICE, TEXTS * 6)) == 72


def test_a_correction_is_acknowledged_once_for_a_key(client: Client) -> None:
    answer = client.predict(SERVICE, TEXTS[0])
    row = Feedback.on(answer, "neutral", source="test")
    receipt = client.feedback_many([row])[0]
    assert client.feedback(answer, "neutral", source="test", key=row.key) == receipt
    with pytest.raises(Conflict, match="send a new key"):
        client.feedback(answer, "positive", source="test", key=row.key)


def test_many_rows_have_a_receipt_each(client: Client) -> None:
    rows = [Feedback(SERVICE, f"a text of its own, {number}", "neutral") for number in range(300)]
    assert len(set(client.feedback_many(rows))) == 300


def test_what_is_wrong_with_feedback_is_told(client: Client) -> None:
    answer = client.predict(SERVICE, TEXTS[0])
    with pytest.raises(BadRequest, match="did you mean 'neutral'"):
        client.feedback(answer, "neutrl")
    with pytest.raises(BadRequest, match="not issued for this text"):
        client.feedback(answer.prediction_id, "neutral", text="another text")
    with pytest.raises(BadRequest, match="is unknown"):
        client.feedback("no-such-service", "neutral", text="a text")
    with pytest.raises(BadRequest, match="may have 200 at most"):
        client.feedback(SERVICE, "neutral", text="long " * 100)


def test_a_question_that_cannot_be_answered_is_a_bad_request(client: Client) -> None:
    with pytest.raises(BadRequest, match="TEXT"):
        client.predict(SERVICE, "")
    with pytest.raises(NotFound, match="perennial status"):
        client.predict("no-such-service", TEXTS[0])
    with pytest.raises(PerennialClientError, match="LABEL"):
        client.predict("toy", TEXTS[0])


def test_ready_is_true_of_what_is_loaded(client: Client) -> None:
    assert client.ready(SERVICE) and client.ready("feedback")
    assert not client.ready("no-such-service")


@pytest.mark.parametrize("protocol", ["http_url", "grpc_url"])
async def test_many_questions_at_once_are_each_answered(service: Served, protocol: str) -> None:
    async with AsyncClient(getattr(service.server.run, protocol)) as client:
        answers = await asyncio.gather(*(client.predict(SERVICE, text) for text in TEXTS * 4))
        receipt = await client.feedback(answers[0], "neutral")
    assert [answer.text for answer in answers] == TEXTS * 4
    assert receipt
