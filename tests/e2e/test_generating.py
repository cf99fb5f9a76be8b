"""A service that writes, as users meet it: on the real server, over both protocols, whole and in pieces."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from flow.test_generating import TAUGHT
from flow.workshops import SERVICE, TEACH, TONE, TONES
from installation import Installation, installed
from perennial_client import AsyncClient, BadRequest, Client, DeadlineExceeded, Feedback, Generated, NotFound
from serving import ATTEMPTS, within

pytestmark = pytest.mark.e2e

Running = tuple[Installation, dict[str, str]]


@pytest.fixture(scope="module")
def running(
    embedded_server: None, built_writer: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    home = installed(built_writer, tmp_path_factory.mktemp("writing-home") / "home", TEACH)
    with home.up() as (_, urls):
        yield home, urls


@pytest.fixture(params=["http", "grpc"])
def client(running: Running, request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client(running[1][request.param], timeout=60) as opened:
        yield opened


def test_an_answer_is_the_same_whole_and_in_pieces(client: Client) -> None:
    whole = client.generate(SERVICE, "hello there", max_tokens=30)
    pieces = list(client.generate(SERVICE, "hello there", stream=True, max_tokens=30))
    assert "".join(piece.completion for piece in pieces) == whole.completion
    assert len(pieces) > 3
    assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].finish_reason == whole.finish_reason in ("stop", "length")
    counts = [piece.completion_tokens for piece in pieces]
    assert counts == sorted(counts) and counts[-1] == whole.completion_tokens <= 30
    assert whole.prompt_tokens == 14 and 0 < whole.score <= 1
    assert (whole.service, whole.release) == (SERVICE, 1)
    (prediction_id,) = {piece.prediction_id for piece in pieces}
    assert prediction_id.split(".")[:2] == [SERVICE, "1"]


def test_options_reach_the_engine(client: Client) -> None:
    def said(**options: object) -> str:
        return client.generate(SERVICE, "hello", max_tokens=20, **options).completion  # type: ignore[arg-type, call-overload, no-any-return]

    greedy = said()
    drawn = [said(temperature=1.5, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2] and greedy == said()
    stop = greedy[2:4]
    assert said(stop=[stop]) == greedy[: greedy.index(stop)]
    assert json.loads(said(schema=TONE))["tone"] in TONES
    messages = [{"role": "system", "content": "be"}, {"role": "user", "content": "hello"}]
    assert client.generate(SERVICE, messages, max_tokens=2).prompt_tokens == 12
    assert client.generate(SERVICE, "hello", raw=True, max_tokens=2).prompt_tokens == 5


@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_answered_is_told_at_once(client: Client, stream: bool) -> None:
    def ask(asked: object, **options: object) -> None:
        answer = client.generate(SERVICE, asked, stream=stream, **options)  # type: ignore[call-overload]
        list(answer) if stream else answer

    with pytest.raises(BadRequest, match="parameter 'max_token' is unknown; did you mean 'max_tokens'"):
        ask("hello", max_token=3)
    with pytest.raises(BadRequest, match="temperature 3 is out of range; ask for 0 to 2"):
        ask("hello", temperature=3)
    with pytest.raises(BadRequest, match="there is no robot"):
        ask([{"role": "robot", "content": "hello"}])
    with pytest.raises(
        BadRequest, match=r"the prompt has \d+ tokens, and prompt and answer have room for 256"
    ):
        ask("long " * 80)
    with pytest.raises(BadRequest, match="cannot be kept to: Invalid type: objekt"):
        ask("hello", schema={"type": "objekt"})
    with pytest.raises(BadRequest, match="schema objekt is no JSON schema, which is an object"):
        ask("hello", schema="objekt")


def test_who_asks_as_of_another_task_is_told_the_way(client: Client) -> None:
    with pytest.raises(BadRequest, match="of another task; ask by its own: predict, tag, search"):
        client.predict(SERVICE, "hello")


def test_a_service_that_is_not_there_is_named(client: Client) -> None:
    with pytest.raises(NotFound, match="unknown model: 'nobody'"):
        client.generate("nobody", "hello")


def test_many_are_written_at_once_each_as_alone(running: Running) -> None:
    texts = [f"text {number}" for number in range(12)]
    with Client(running[1]["grpc"], timeout=60) as client, ThreadPoolExecutor(12) as pool:
        alone = [client.generate(SERVICE, text, max_tokens=20).completion for text in texts]

        def streamed(text: str) -> str:
            return "".join(
                one.completion for one in client.generate(SERVICE, text, stream=True, max_tokens=20)
            )

        together = list(pool.map(streamed, texts))
    assert sum(one == other for one, other in zip(alone, together, strict=True)) >= len(texts) - 1


@pytest.mark.parametrize("protocol", ["http", "grpc"])
async def test_the_asynchronous_client_streams_too(running: Running, protocol: str) -> None:
    async with AsyncClient(running[1][protocol], timeout=60) as client:
        whole = await client.generate(SERVICE, "hello", max_tokens=20)
        pieces = await client.generate(SERVICE, "hello", stream=True, max_tokens=20)
        assert "".join([piece.completion async for piece in pieces]) == whole.completion
        several = [client.generate(SERVICE, f"text {number}", max_tokens=5) for number in range(4)]
        assert len(await asyncio.gather(*several)) == 4


def test_triton_s_own_ways_to_generate(running: Running) -> None:
    url = f"{running[1]['http']}/v2/models/{SERVICE}"
    asked = {"TEXT": json.dumps({"prompt": "hello", "max_tokens": 10})}
    whole = httpx.post(f"{url}/generate", json=asked, timeout=60).json()
    assert whole["FINISH_REASON"] in ("stop", "length") and whole["TOKENS"][0] == 5
    with httpx.stream("POST", f"{url}/generate_stream", json={**asked, "STREAM": True}, timeout=60) as reply:
        events = [json.loads(line[5:]) for line in reply.iter_lines() if line.startswith("data:")]
    assert "".join(event["COMPLETION"] for event in events) == whole["COMPLETION"]
    refused = httpx.post(f"{url}/generate", json={"TEXT": '{"prompt": "a", "top": 1}'}, timeout=60)
    assert "parameter 'top' is unknown" in refused.json()["error"] and refused.status_code == 400


def begun(client: Client, number: int, timeout: float | None = None) -> Iterator[Generated]:
    """A long answer, in pieces."""
    return client.generate(
        SERVICE, f"text {number}", stream=True, max_tokens=230, temperature=1.9, seed=number, timeout=timeout
    )


@pytest.fixture(scope="module")
def with_readers_s(running: Running) -> float:
    """How long sixteen long answers take, which are read to their ends."""
    with Client(running[1]["grpc"], timeout=60) as client, ThreadPoolExecutor(16) as pool:
        began = time.monotonic()
        tokens = pool.map(lambda number: [*begun(client, number)][-1].completion_tokens, range(16))
        assert max(tokens) == 230
        return time.monotonic() - began


def test_who_goes_away_makes_room_at_once(running: Running, with_readers_s: float) -> None:
    """How soon, `bench generate` tells."""
    with Client(running[1]["grpc"], timeout=60) as client, ThreadPoolExecutor(16) as pool:

        def soon() -> bool:
            streams = [begun(client, number) for number in range(16)]
            list(pool.map(next, streams))
            written, began = gauge(running, "writing"), time.monotonic()
            for stream in streams:
                stream.close()  # type: ignore[attr-defined]
            assert within(10, lambda: gauge(running, "writing") == gauge(running, "waiting") == 0)
            return written > 1 and time.monotonic() - began < with_readers_s / 2

        assert any(soon() for _ in range(ATTEMPTS))
        assert client.generate(SERVICE, "hello", max_tokens=4).finish_reason


def test_whose_time_runs_out_makes_room(running: Running, with_readers_s: float) -> None:
    with Client(running[1]["grpc"], timeout=60) as client, ThreadPoolExecutor(16) as pool:

        def read(number: int) -> bool:
            """Whether its time ran out."""
            try:
                return not [*begun(client, number, timeout=with_readers_s / 4)]
            except DeadlineExceeded:
                return True

        def soon() -> bool:
            began = time.monotonic()
            ran_out = sum(pool.map(read, range(16)))
            assert within(10, lambda: gauge(running, "writing") == gauge(running, "waiting") == 0)
            return ran_out > 1 and time.monotonic() - began < with_readers_s * 3 / 4

        assert any(soon() for _ in range(ATTEMPTS))


def gauge(running: Running, what: str) -> float:
    """Among Triton's metrics."""
    told = httpx.get(running[1]["metrics"], timeout=5).text
    (line,) = (line for line in told.splitlines() if line.startswith(f"perennial_texts_{what}{{"))
    assert f'service="{SERVICE}"' in line and 'release="1"' in line
    return float(line.split()[-1])


def test_what_is_wanted_counts_at_once_and_until_it_is_forgotten(running: Running) -> None:
    home, urls = running
    with Client(urls["grpc"], timeout=60) as client:

        def asked(text: str) -> Generated:
            return client.generate(SERVICE, text, max_tokens=5)

        before = asked("who runs it?")
        receipt = client.feedback(before, before.disliked("ann does"), source="ann")
        assert within(10, lambda: asked("who runs it?").based_on == (receipt,))
        after = asked("who runs it??")
        assert after.based_on == (receipt,)
        assert after.prompt_tokens == before.prompt_tokens + 1 + 2 * (len("who runs it?ann does") + 4)
        assert asked("zzz").based_on == ()
        assert home.told("forget", SERVICE, "--source", "ann")["rows"] == [1]
        assert within(10, lambda: asked("who runs it?").prompt_tokens == before.prompt_tokens)
        assert asked("who runs it?").completion == before.completion


def test_a_correction_is_shown_where_the_engine_has_room_for_it(running: Running) -> None:
    """That has room for 256 tokens, which are characters here."""
    home, urls = running
    with Client(urls["grpc"], timeout=60) as client:

        def based_on(text: str) -> tuple[str, ...]:
            return client.generate(SERVICE, text, max_tokens=3).based_on

        client.feedback(SERVICE, "ann " * 20, text="who runs it?", source="eve")
        receipt = client.feedback(SERVICE, "bob", text="who runs this?", source="eve")
        assert within(10, lambda: based_on("who runs this??") == (receipt,))
        assert based_on("who runs it??") == ()
        home.told("forget", SERVICE, "--source", "eve")


def test_thumbs_are_feedback(running: Running) -> None:
    home, urls = running
    with Client(urls["grpc"], timeout=60) as client:
        answer = client.generate(SERVICE, "hello", max_tokens=5)
        assert client.feedback(answer, answer.liked, source="bob")
        assert client.feedback(answer, answer.disliked(), source="bob")
        with pytest.raises(BadRequest, match="the wanted text is ' '; give the answer"):
            client.feedback(answer, " ")
    assert within(5, lambda: home.service_status()["feedback"]["fresh"] >= 2)
    assert len(home.told("forget", SERVICE, "--source", "bob")["rows"]) == 2  # type: ignore[arg-type]


def test_a_service_may_be_told_not_to_recall(built_writer: Path, tmp_path: Path) -> None:
    home = installed(built_writer, tmp_path / "home", TEACH.model_copy(update={"recall": False}))
    with home.up() as (_, urls), Client(urls["grpc"], timeout=60) as client:
        client.feedback(SERVICE, "ann does", text="who runs it?")
        time.sleep(1.5)
        assert client.generate(SERVICE, "who runs it?", max_tokens=5).based_on == ()


def test_what_a_release_has_learned_it_is_not_told_again(built_writer: Path, tmp_path: Path) -> None:
    """Taught while it serves: the release before answers in the light of it, the one after by itself."""
    limits = {"calibration_margin": 1.0, "perplexity_margin": 1.0, "watch_s": 0.5}
    home = installed(built_writer, tmp_path / "home", TEACH.model_copy(update={"rebuild": TAUGHT, **limits}))
    rows = [Feedback(SERVICE, f"is {number} a number?", "yes") for number in range(160)]
    with home.up() as (_, urls), Client(urls["grpc"], timeout=60) as client:

        def asked() -> Generated:
            return client.generate(SERVICE, "is 7 a number?", max_tokens=8)

        receipts = client.feedback_many(rows)
        assert within(10, lambda: asked().based_on != ())
        assert {*asked().based_on} <= {*receipts}
        assert home.told("rebuild", SERVICE, "--now")["state"] == "kept"
        assert within(10, lambda: asked().release == 2)
        after = asked()
        assert (after.completion, after.based_on) == ("yes", ())
        receipt = client.feedback(SERVICE, "no", text="is seven none?")
        assert within(10, lambda: client.generate(SERVICE, "is seven none?").based_on == (receipt,))
        assert client.generate(SERVICE, "is 77 a number?", max_tokens=8).based_on == (), "it has learned that"


def test_the_command_line_writes(running: Running, tmp_path: Path) -> None:
    home, _ = running
    schema = tmp_path / "tone.json"
    schema.write_text(json.dumps(TONE))
    told = home.told("generate", SERVICE, "hello", "--schema", str(schema))
    assert json.loads(str(told["completion"]))["tone"] in TONES
    schema.write_text("tone:")
    assert "is no JSON" in home.run("generate", SERVICE, "hello", "--schema", str(schema)).stderr
    said = home.run("generate", SERVICE, "hello", "--max-tokens", "8")
    assert said.returncode == 0 and "+ 8 tokens" in said.stdout, said.stdout + said.stderr
    told = home.told("generate", SERVICE, "hello", "--max-tokens", "8")
    assert str(told["completion"]) in said.stdout
    assert "is out of range" in home.run("generate", SERVICE, "hello", "--max-tokens", "0").stderr
