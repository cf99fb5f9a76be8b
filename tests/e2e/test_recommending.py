"""A service that recommends, as users meet it: on the real server, over both protocols, with its worker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flow.workshops import SERVICE, SUGGEST
from installation import Installation, installed
from perennial_client import AsyncClient, BadRequest, Client, Judged, NotFound
from serving import within
from tiny import TONED

pytestmark = pytest.mark.e2e

TAKEN = ["positive/1", "positive/2"]


@pytest.fixture(scope="module")
def running(
    embedded_server: None, built_recommender: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Installation, dict[str, str]]]:
    """`perennial up` on the recommender that was built, which tries things now and then."""
    tries = SUGGEST.model_copy(update={"explore": 0.1})
    home = installed(built_recommender, tmp_path_factory.mktemp("recommending-home") / "home", tries)
    with home.up() as (_, urls):
        yield home, urls


@pytest.fixture(params=["http", "grpc"])
def client(running: tuple[Installation, dict[str, str]], request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client(running[1][request.param]) as opened:
        yield opened


def test_a_user_gets_what_he_may_want_next_and_not_what_he_took(client: Client) -> None:
    answers = [client.recommend(SERVICE, "ann", TAKEN, top_k=10) for _ in range(4)]
    items = [[one.item for one in answer.suggestions] for answer in answers]
    for some in items:
        assert len({*some}) == 10 and {*some} <= {*TONED} and not {*some} & {*TAKEN}
    assert any("positive/3" in some for some in items)  # which others took after these two
    (answer, *_) = answers
    usual = [one for one in answer.suggestions if one.propensity > 0.5]
    assert {round(one.propensity, 4) for one in usual} == {0.9}
    scores = [one.score for one in usual]
    assert scores == sorted(scores, reverse=True) and all(0 < score < 1 for score in scores)
    assert answer.text == '{"user": "ann", "items": ["positive/1", "positive/2"]}'


def test_some_places_try_something_else(client: Client) -> None:
    answers = [client.recommend(SERVICE, f"user {number}", TAKEN) for number in range(20)]
    tried = [one for answer in answers for one in answer.suggestions if one.propensity < 0.5]
    assert 10 < len(tried) < 90


def test_the_next_answer_reflects_the_last_click_within_a_second(client: Client) -> None:
    user = f"cleo {id(client)}"
    first = client.recommend(SERVICE, user, TAKEN)
    passed, clicked, *_ = [one.item for one in first.suggestions if one.propensity > 0.5]
    client.feedback(first, [first.clicked(clicked), first.skipped(passed)])

    def suggested() -> list[str]:
        return [one.item for one in client.recommend(SERVICE, user, TAKEN).suggestions]

    assert within(5, lambda: clicked not in suggested())
    assert any(passed in suggested() for _ in range(5))
    with pytest.raises(BadRequest, match="'nowhere' was not suggested"):
        first.clicked("nowhere")


def test_what_is_asked_or_said_wrongly_is_refused_in_one_line(client: Client) -> None:
    with pytest.raises(BadRequest, match=r"user '' is none; ask with"):
        client.recommend(SERVICE, "")
    with pytest.raises(BadRequest, match="TOP_K 101 is out of range"):
        client.recommend(SERVICE, "ann", top_k=101)
    answer = client.recommend(SERVICE, "ann")
    with pytest.raises(BadRequest, match="rating 9 of 'positive/1' is out of range"):
        client.feedback(answer, Judged("positive/1", rating=9))


def test_the_command_line_and_the_asynchronous_client_say_the_same(
    running: tuple[Installation, dict[str, str]],
) -> None:
    home, urls = running
    told: Any = home.told("recommend", SERVICE, "dora", *TAKEN, "--top-k", "3")
    assert len(told["suggestions"]) == 3 and {one["item"] for one in told["suggestions"]} <= {*TONED}
    shown: Any = home.told("why", SERVICE, told["text"])
    assert shown["label"] in TONED

    async def ask() -> Any:
        async with AsyncClient(urls["grpc"]) as client:
            return await client.recommend(SERVICE, "dora", TAKEN, top_k=3)

    assert len(asyncio.run(ask()).suggestions) == 3


def test_an_item_that_is_taken_out_is_suggested_no_longer(client: Client) -> None:
    client.index(SERVICE, {"positive/9": None, "brand new": "it was great"})

    def there() -> bool:
        answer = client.recommend(SERVICE, "emma", TAKEN, top_k=47)
        return "positive/9" in [one.item for one in answer.suggestions]

    assert within(10, lambda: not there())


def test_memory_is_told_by_service_and_a_release_above_the_budget_does_not_come_into_service(
    running: tuple[Installation, dict[str, str]],
) -> None:
    home, urls = running
    whole: Any = home.told("status")
    assert 100 < whole["services"][SERVICE]["memory_mb"] < whole["memory_mb"]
    bounded = Installation(home.folder)
    bounded.environment = {**home.environment, "PERENNIAL_SERVER__MEMORY_MB": "50"}
    refused = bounded.run("promote", SERVICE, "1")
    assert refused.returncode == 1
    (line,) = refused.stderr.strip().splitlines()
    assert "server.memory_mb is 50; raise it, or `perennial retire` another service" in line
    with Client(urls["grpc"]) as client:
        assert client.recommend(SERVICE, "ann").release == 1


def test_a_service_is_retired_and_comes_back(running: tuple[Installation, dict[str, str]]) -> None:
    home, urls = running
    before: Any = home.told("status")
    done = home.run("retire", SERVICE)
    assert f"`perennial promote {SERVICE} 1` brings it back" in done.stdout
    with Client(urls["grpc"]) as client:
        with pytest.raises(NotFound, match=SERVICE):
            client.recommend(SERVICE, "ann")

        def without() -> Any:
            return home.told("status")

        assert (SERVICE in without()["services"], without()["out_of_service"]) == (False, [SERVICE])
        assert within(5, lambda: without()["memory_mb"] < before["memory_mb"] - 50)
        assert home.told("retire", SERVICE) == {"retired": SERVICE, "release": 1}
        home.told("promote", SERVICE, "1")
        assert without()["out_of_service"] == []
        assert client.recommend(SERVICE, "ann").release == 1
