"""Bench `peers`: the ensemble over HTTP beside what users would pick instead, on the same texts.

Every server is asked by one load generator, in a process of its own, and is alone on the machine while it is
measured; rounds take turns, so that a machine that slows down slows all; figures are medians of the rounds.
A peer is first set up in each way that its documentation leaves open, and goes on in the one that answers
most under load. One that cannot be installed, does not start or answers something else is a line in the
report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from random import Random

import numpy as np

from perennial.config import Settings
from perennial.errors import Unavailable
from perennial.types import Bundle
from perennial_perf.benches._peer_models import folders
from perennial_perf.benches._peer_processes import install
from perennial_perf.benches._peers import FOLDER, Kind, Peer, Way, peers, quick_peers
from perennial_perf.benches._sandbox import SERVICE, sandbox, say, texts_of
from perennial_perf.benches._servers import OURS, WARM_UP, Row, Server, ours, server_of, surest_answers
from perennial_perf.report import Draft, Figures, Goal, Report

__all__ = ["run"]


@dataclass(frozen=True)
class Size:
    """`requests` by number of clients, each round; `look` counts those that choose a peer's way."""

    rounds: int
    requests: Mapping[int, int]
    texts: int
    look: int


FULL = Size(3, {1: 120, 8: 320, 32: 640}, 600, 240)
QUICK = Size(1, {1: 40, 8: 80, 32: 160}, 400, 64)
SINGLE, CROWD = 1, 32
RELEASE = 1
STOCK = "a classifier of transformers' own on the same encoder, with a random head; its answers say nothing"


@dataclass
class Results:
    """Each server's rows by clients, one a round; and what there is to say of servers."""

    answers: Mapping[int, str]
    rows: dict[str, dict[int, list[Row]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def median(self, name: str, clients: int) -> Row:
        """Of the rounds; but all failures, and the worst that others took."""
        rounds = self.rows[name][clients]
        medians = {column: float(np.median([row[column] for row in rounds])) for column in rounds[0]}
        failed, others = sum(row["failed"] for row in rounds), max(row["others %"] for row in rounds)
        return {**medians, "failed": failed, "others %": others}

    @contextmanager
    def noting(self, name: str) -> Iterator[None]:
        """A server that lets the block down is a note, and has no figures."""
        try:
            yield
        except Unavailable as error:
            say(f"{name}: {error}")
            self.notes.append(f"{name}: {error}")
            self.rows.pop(name, None)


def run(settings: Settings, *, quick: bool = False) -> Report:
    draft = Draft("peers")
    if not FOLDER.is_dir():
        raise Unavailable(
            f"{FOLDER} is not there; run this bench from a checkout, which has the peers' servers"
        )
    size, chosen = (QUICK, quick_peers()) if quick else (FULL, peers())
    with sandbox(settings, "peers") as shop:
        bundle = shop.bundle(SERVICE, RELEASE)
        texts = texts_of(bundle, size.texts)
        Random(0).shuffle(texts)
        results = Results(surest_answers(bundle, texts))
        servers = [ours(shop, texts), *_rivals(settings, bundle, texts, chosen, size, results)]
        _go_round(size, servers, results)
    kinds = {server.name: server.kind for server in servers if server.name in results.rows}
    return draft.report(_figures(size, results), goals_of(kinds, results), results.notes)


def _rivals(
    settings: Settings,
    bundle: Bundle,
    texts: Sequence[str],
    chosen: Sequence[Peer],
    size: Size,
    results: Results,
) -> list[Server]:
    """Those that can be installed and started, each in its best way."""
    home, logs = settings.folder.folder("peers").resolve(), settings.folder.folder("logs")
    models, found = folders(home, bundle), []
    for peer in chosen:
        with results.noting(peer.name):
            setup = partial(
                server_of,
                peer,
                python=install(home, peer.folder, peer.requirements),
                model=models[peer.graph],
                log=logs / f"peers-{peer.folder}.log",
                texts=texts,
            )
            found.append(setup(_best_way(peer, setup, size, results)))
    return found


def _best_way(peer: Peer, setup: Callable[[Way], Server], size: Size, results: Results) -> Way:
    """The one that answers most under load, by a look at each."""
    rates = {}
    for way in peer.ways():
        say(f"{peer.name}: a look at {way.name}")
        server = setup(way)
        with server.start() as target:
            server.compare(target, results.answers)
            server.load(target, CROWD, WARM_UP)
            rates[way] = server.load(target, CROWD, size.look)["requests/s"]
    said = ", ".join(f"{way.name} {rate:.0f}" for way, rate in rates.items())
    results.notes.append(f"{peer.name}, requests/s by way, of which the quickest was measured: {said}")
    if peer.label is None:
        results.notes.append(f"{peer.name}: {STOCK}")
    return max(rates, key=lambda way: rates[way])


def _go_round(size: Size, servers: Sequence[Server], results: Results) -> None:
    for number in range(size.rounds):
        for server in servers:
            say(f"round {number + 1} of {size.rounds}: {server.name}")
            with nullcontext() if server.kind == "ours" else results.noting(server.name):
                _measure(server, size.requests, results)
        servers = [server for server in servers if server.name in results.rows]


def _measure(server: Server, requests: Mapping[int, int], results: Results) -> None:
    rows = results.rows.setdefault(server.name, {clients: [] for clients in requests})
    with server.start() as target:
        server.compare(target, results.answers)
        server.load(target, CROWD, WARM_UP)
        for clients, count in requests.items():
            rows[clients].append(server.load(target, clients, count))


def goals_of(kinds: Mapping[str, Kind], results: Results) -> list[Goal]:
    """By the kinds of the servers that have figures; without a peer to compare with, a goal is not met."""

    def best(column: str, clients: int, choose: Callable[[Sequence[float]], float], *of: Kind) -> float:
        values = [results.median(name, clients)[column] for name, kind in kinds.items() if kind in of]
        return choose(values) if values else float("nan")

    p50 = best("p50", SINGLE, min, "ours") / best("p50", SINGLE, min, "fp32", "graph")
    rate = best("requests/s", CROWD, max, "ours")
    fp32, graph = (rate / best("requests/s", CROWD, max, kind) for kind in ("fp32", "graph"))
    failed = sum(results.median(OURS, clients)["failed"] for clients in results.rows[OURS])
    return [
        Goal("p50, 1 client / best peer's", p50, 0.6, "<="),
        Goal("requests/s, 32 clients / best fp32 peer's", fp32, 4.5, ">="),
        Goal("requests/s, 32 clients / best int8 or openvino peer's", graph, 1.7, ">="),
        Goal("failed requests of ours", failed, 0, "=="),
    ]


def _figures(size: Size, results: Results) -> Figures:
    return {
        f"{'1 client' if clients == 1 else f'{clients} clients'}: {name}": results.median(name, clients)
        for clients in size.requests
        for name in results.rows
    }
