"""OpenAI's API, as its own client meets it, on the real server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from flow.workshops import SERVICE, TEACH, TONE, TONES
from installation import Installation, installed
from perennial_client import Client
from serving import ATTEMPTS, within

pytestmark = pytest.mark.e2e

Running = tuple[Installation, dict[str, str]]
HELLO: list[Any] = [{"role": "user", "content": "hello there"}]


@pytest.fixture(scope="module")
def running(
    embedded_server: None, built_writer: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, dict[str, str]]]:
    home = installed(
        built_writer,
        tmp_path_factory.mktemp("openai-home") / "home",
        TEACH.model_copy(update={"recall": False}),
    )
    with home.up() as (process, urls):
        assert within(30, lambda: _answers(urls["openai"]))
        yield process.pid, urls


@pytest.fixture
def theirs(running: tuple[int, dict[str, str]]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=running[1]["openai"], api_key="none", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture
def ours(running: tuple[int, dict[str, str]]) -> Iterator[Client]:
    with Client(running[1]["grpc"], timeout=60) as client:
        yield client


def test_the_services_that_write_are_listed(theirs: openai.OpenAI) -> None:
    (model,) = theirs.models.list().data
    assert model.id == SERVICE and model.owned_by == "perennial" and time.time() - model.created < 3600
    assert theirs.models.retrieve(SERVICE).id == SERVICE
    with pytest.raises(openai.NotFoundError, match="model 'nobody' is unknown; known: 'tone'"):
        theirs.models.retrieve("nobody")


def test_a_conversation_is_answered_as_our_client_has_it(theirs: openai.OpenAI, ours: Client) -> None:
    expected = ours.generate(SERVICE, "hello there", max_tokens=20)
    told = theirs.chat.completions.create(model=SERVICE, messages=HELLO, max_tokens=20)
    (choice,) = told.choices
    assert choice.message.content == expected.completion and choice.message.role == "assistant"
    assert choice.finish_reason == expected.finish_reason
    assert told.usage and told.usage.prompt_tokens == expected.prompt_tokens
    assert told.usage.completion_tokens == expected.completion_tokens
    assert told.id.split(".")[:2] == [SERVICE, "1"] and told.system_fingerprint == "release 1"
    receipt = ours.feedback(expected, "so be it")
    assert receipt


def test_a_conversation_streams(theirs: openai.OpenAI, ours: Client) -> None:
    expected = ours.generate(SERVICE, "hello there", max_tokens=20)
    *parts, last = theirs.chat.completions.create(
        model=SERVICE, messages=HELLO, max_tokens=20, stream=True, stream_options={"include_usage": True}
    )
    assert "".join(part.choices[0].delta.content or "" for part in parts) == expected.completion
    assert [part.choices[0].finish_reason for part in parts[:-1]] == [None] * (len(parts) - 1)
    assert parts[-1].choices[0].finish_reason == expected.finish_reason
    assert not last.choices and last.usage
    assert len({part.id for part in (*parts, last)}) == 1
    assert last.usage.completion_tokens == expected.completion_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_keeps_to_a_schema(theirs: openai.OpenAI, stream: bool) -> None:
    told = theirs.chat.completions.create(
        model=SERVICE,
        messages=HELLO,
        stream=stream,
        response_format={"type": "json_schema", "json_schema": {"name": "a_tone", "schema": TONE}},
    )
    if isinstance(told, openai.Stream):
        text = "".join(part.choices[0].delta.content or "" for part in told)
    else:
        text = told.choices[0].message.content or ""
    assert json.loads(text)["tone"] in TONES


def test_a_text_is_gone_on_with(theirs: openai.OpenAI, ours: Client) -> None:
    expected = ours.generate(SERVICE, "hello", raw=True, max_tokens=12).completion
    assert theirs.completions.create(model=SERVICE, prompt="hello", max_tokens=12).choices[0].text == expected
    parts = theirs.completions.create(model=SERVICE, prompt="hello", max_tokens=12, stream=True)
    assert "".join(part.choices[0].text for part in parts) == expected


def test_what_is_asked_wrongly_is_told_before_anything_is_answered(theirs: openai.OpenAI) -> None:
    def ask(**more: Any) -> None:
        theirs.chat.completions.create(**{"model": SERVICE, "messages": HELLO, **more})

    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match=r"temperature 3\.0 is out of range; ask for 0 to 2"):
            ask(temperature=3.0, stream=stream)
        with pytest.raises(openai.BadRequestError, match="there is no robot"):
            ask(messages=[{"role": "robot", "content": "a"}], stream=stream)
        with pytest.raises(openai.BadRequestError, match=r"the prompt has \d+ tokens"):
            ask(messages=[{"role": "user", "content": "long " * 80}], stream=stream)
    with pytest.raises(openai.BadRequestError, match="parameter 'tools' is unknown"):
        ask(tools=[])
    with pytest.raises(openai.NotFoundError, match="did you mean 'tone'") as refused:
        ask(model="ton")
    assert refused.value.code == "model_not_found"


@pytest.mark.parametrize("stream", [False, True])
def test_who_goes_away_makes_room(
    running: tuple[int, dict[str, str]], theirs: openai.OpenAI, stream: bool
) -> None:
    """Sixteen who leave after a moment, beside as many who stay."""
    url = f"{running[1]['openai']}/chat/completions"
    asked = {"model": SERVICE, "messages": HELLO, "max_tokens": 230, "temperature": 1.9, "stream": stream}

    def ask(seed: int, patience_s: float) -> None:
        ends_at, told = time.monotonic() + patience_s, {**asked, "seed": seed}
        with (
            suppress(httpx.ReadTimeout),
            httpx.Client(timeout=patience_s) as plain,
            plain.stream("POST", url, json=told) as reply,
        ):
            for _ in reply.iter_lines():
                if time.monotonic() > ends_at:
                    break

    def ask_all(patience_s: float) -> float:
        began = time.monotonic()
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda seed: ask(seed, patience_s), range(16)))
        metrics = running[1]["metrics"]
        assert within(10, lambda: 'texts_writing{release="1",service="tone"} 0' in httpx.get(metrics).text)
        return time.monotonic() - began

    whole_s = ask_all(60)
    assert any(ask_all(whole_s / 4) < whole_s * 3 / 4 for _ in range(ATTEMPTS))
    assert theirs.chat.completions.create(model=SERVICE, messages=HELLO, max_tokens=4).choices


def test_a_front_that_dies_comes_back_on_its_port(
    running: tuple[int, dict[str, str]], theirs: openai.OpenAI
) -> None:
    (front,) = (
        child
        for child in psutil.Process(running[0]).children()
        if "perennial.jobs" in child.cmdline() and _listens(child)
    )
    front.kill()
    assert within(30, lambda: _answers(running[1]["openai"]))
    assert theirs.chat.completions.create(model=SERVICE, messages=HELLO, max_tokens=2).choices


def _listens(process: psutil.Process) -> bool:
    return any(one.status == psutil.CONN_LISTEN for one in process.net_connections("tcp4"))


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/models", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
