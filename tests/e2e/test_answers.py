"""Claims about a service's answers, asked of a real server with a real, tiny transformer."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from bundles import real_bundle
from perennial import plugins, predictions
from perennial.errors import BadRequest, Unavailable
from perennial.jobs.engines import unusable
from perennial.jobs.workshop import pipeline_of
from perennial.pipeline import Pipeline
from perennial.stores import open_store
from perennial.types import Bundle, Tensors, text_tensor
from services import Service
from serving import Served, within
from tiny import LABELS, tiny_examples

pytestmark = pytest.mark.e2e

TEXTS = [example.text for example in tiny_examples(40)]
BAD = {
    "no text": b"  ",
    "a NUL": b"good\0",
    "no UTF-8": b"\xff good",
    "too long": b"good " * 5000,
}


@pytest.fixture(scope="module")
def mood(served: Served, tiny_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(served, "mood") as service:
        service.promote(real_bundle(tiny_release, tmp_path_factory.mktemp("mood") / "1", 1, "mood"))
        yield service


def in_process(bundle: Bundle) -> Pipeline:
    """The same release without a server."""
    return pipeline_of(bundle, threads=1)


def labels(answer: Tensors) -> list[str]:
    return [raw.decode() for raw in answer["LABEL"].ravel()]


def test_answers_are_those_of_the_release_in_process(mood: Service) -> None:
    expected = in_process(mood.serving).answers(TEXTS)
    together = mood.ask(TEXTS)
    for row, alone in enumerate(expected):
        answer = mood.ask([TEXTS[row]])
        for said in ({name: array[row : row + 1] for name, array in together.items()}, answer):
            assert labels(said) == labels(alone)
            np.testing.assert_allclose(said["SCORE"], alone["SCORE"], rtol=1e-4)
            assert said["TRUNCATED"].item() == alone["TRUNCATED"].item()


GRAPHS = [name for name in plugins.names("engines") if not plugins.get("engines", name).writes]


@pytest.mark.parametrize("name", GRAPHS)
def test_the_server_opens_the_files_of_every_engine(
    served: Served, tiny_release: Path, tmp_path: Path, name: str
) -> None:
    if reason := unusable(name, "classify"):
        pytest.skip(reason)
    bundle = real_bundle(tiny_release, tmp_path / "1", 1, "asked", name)
    expected = in_process(bundle).answers(TEXTS)
    with Service(served, "asked") as service:
        service.promote(bundle)
        for clients in (1, 8):
            with ThreadPoolExecutor(clients) as pool:
                answers = list(pool.map(lambda text: service.ask([text]), TEXTS))
            assert [labels(answer) for answer in answers] == [labels(answer) for answer in expected]


def test_requests_that_come_at_once_each_get_their_own_answer(mood: Service) -> None:
    expected = [labels(answer) for answer in in_process(mood.serving).answers(TEXTS)]
    with ThreadPoolExecutor(16) as clients:
        assert [
            labels(answer) for answer in clients.map(lambda text: mood.ask([text]), TEXTS * 5)
        ] == expected * 5


def test_every_answer_proves_its_release_and_its_text(mood: Service) -> None:
    key = bytes.fromhex(mood.served.state.secret("prediction-id").read_text())
    ids = [raw.decode() for raw in mood.ask(TEXTS[:3])["PREDICTION_ID"].ravel()]
    assert len(set(ids)) == 3
    for text, claimed in zip(TEXTS, ids, strict=False):
        found = predictions.verify(claimed, text.encode(), key)
        assert (found.service, found.release) == ("mood", 1)
    with pytest.raises(BadRequest):
        predictions.verify(ids[0], b"another text", key)


def test_runners_up_come_when_they_are_asked_for(mood: Service) -> None:
    alone = mood.ask(TEXTS[:2])
    assert alone["TOP_LABELS"].tolist() == alone["LABEL"].tolist()
    answer = mood.ask(TEXTS[:2], top_k=3)
    assert [set(map(bytes.decode, row)) for row in answer["TOP_LABELS"]] == [set(LABELS)] * 2
    assert (np.diff(answer["TOP_SCORES"], axis=1) <= 0).all()
    np.testing.assert_allclose(answer["TOP_SCORES"].sum(axis=1), 1, rtol=1e-5)
    with pytest.raises(BadRequest, match="TOP_K 4"):
        mood.ask(TEXTS[:2], top_k=4)


def test_an_over_long_text_is_answered_and_flagged(mood: Service) -> None:
    answer = mood.ask(["good", "good " * 100])
    assert answer["TRUNCATED"].ravel().tolist() == [False, True]


@pytest.mark.parametrize("why", BAD)
def test_a_bad_text_is_refused_and_its_neighbours_are_answered(mood: Service, why: str) -> None:
    expected = labels(mood.ask([TEXTS[0]]))

    def ask(raw: bytes) -> list[str]:
        try:
            return labels(mood.ask([raw]))
        except BadRequest as error:
            return [type(error).__name__]

    asked = [TEXTS[0].encode(), BAD[why], TEXTS[0].encode()] * 20
    with ThreadPoolExecutor(16) as clients:
        assert list(clients.map(ask, asked)) == [expected, ["BadRequest"], expected] * 20


@pytest.mark.parametrize(("text", "full"), [(TEXTS[-1], "the "), ("good " * 4000, "the tokenizer")])
def test_what_does_not_fit_in_a_line_is_refused_as_unavailable(mood: Service, text: str, full: str) -> None:
    crowd = [text] * 64

    def ask(_: int) -> list[str]:
        try:
            return labels(mood.ask(crowd))
        except Unavailable as error:
            return [str(error)]

    expected = labels(mood.ask(crowd[:1])) * 64
    with ThreadPoolExecutor(24) as clients:
        answers = list(clients.map(ask, range(96)))
    refused = [answer[0] for answer in answers if answer != expected]
    assert len(refused) < len(answers)
    assert all("rows wait for the" in line for line in refused)
    assert any(f"rows wait for {full}" in line for line in refused)
    assert labels(mood.ask(crowd)) == expected


def post(mood: Service, text: str) -> tuple[int, str]:
    url = f"{mood.served.server.run.http_url}/v2/models/mood/infer"
    tensor = {"name": "TEXT", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
    try:
        with urllib.request.urlopen(url, json.dumps({"inputs": [tensor]}).encode(), timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_http_tells_good_from_bad(mood: Service) -> None:
    status, body = post(mood, TEXTS[0])
    assert status == 200
    assert json.loads(body)["model_version"] == "1"
    status, body = post(mood, " ")
    assert (status, "is empty; send" in body) == (400, True)


def test_what_users_ask_is_kept_where_its_owner_wants_that_and_nothing_of_the_watchdogs_questions(
    mood: Service,
) -> None:
    watchdogs = {"TEXT": text_tensor(["a question of the watchdog's"])}
    mood.served.control.ask(mood.name, None, watchdogs, {"probe": True})
    mood.ask(["a question of a user's"])
    with closing(open_store(mood.served.state.store_url)) as store:
        assert within(10, lambda: "a question of a user's" in store.requests(mood.name))
        assert "a question of the watchdog's" not in store.requests(mood.name)
