"""Bench `serve`: the whole ensemble over gRPC beside its bare engine session in process, on the same texts.

Rounds take turns, server then bare, so that a machine that slows down slows both; figures are medians of
the rounds. A request that fails ends it. The breakdown is Triton's own statistics: where a request's time
goes, stage by stage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TypeAlias

import numpy as np
from rich.console import Console
from rich.progress import track

from perennial.config import Settings
from perennial.jobs.workshop import cores
from perennial.repository.layout import STAGES, ensemble_model, stage_model
from perennial.server.control import Control, Spent
from perennial_perf import analyzer
from perennial_perf.benches._bare import Bare, Way
from perennial_perf.benches._processor import processor_time
from perennial_perf.benches._sandbox import SERVICE, sandbox, say, serving, target, texts_of
from perennial_perf.report import Draft, Figures, Goal, Report

__all__ = ["run"]

Row: TypeAlias = dict[str, float]
Stopwatch: TypeAlias = Callable[[], AbstractContextManager[Row]]


@dataclass(frozen=True)
class Size:
    """`requests` by number of clients; `torch` and `look` count texts."""

    rounds: int
    requests: Mapping[int, int]
    texts: int
    torch: int
    look: int


FULL = Size(5, {1: 400, 8: 1200, 32: 1600}, 600, 100, 160)
QUICK = Size(1, {1: 60, 8: 100, 32: 200}, 60, 16, 32)
TORCH_WAYS = (Way(1, cores(), 1), Way(1, cores(), 16, by_length=True))
SINGLE, CROWD = 1, 32
WARM_UP = 100
RELEASE = 1
MODELS = tuple(stage_model(SERVICE, stage) for stage in STAGES)


@dataclass
class Rounds:
    """What each round measured: rows of the server by clients, rates and times of the bare sessions, of
    which `best` names the quickest ways to run one, and of the engine stage's line alone; and whose processor
    time the crowd's requests took."""

    best: Sequence[Way]
    served: dict[int, list[Row]] = field(default_factory=dict)
    parts: dict[int, list[dict[str, Row]]] = field(default_factory=dict)
    bare: list[Row] = field(default_factory=list)
    line: list[Row] = field(default_factory=list)
    processor: list[Row] = field(default_factory=list)

    def served_by(self, clients: int) -> Row:
        return _median(self.served[clients])

    def breakdown(self, clients: int) -> dict[str, Row]:
        rounds = self.parts[clients]
        return {name: _median([one[name] for one in rounds]) for name in rounds[0]}


def run(settings: Settings, *, quick: bool = False) -> Report:
    draft = Draft("serve")
    size = QUICK if quick else FULL
    tools = analyzer.fetch(settings.folder.folder("tools"), say)
    with sandbox(settings, "serve") as shop:
        texts = texts_of(shop.bundle(SERVICE, RELEASE), size.texts)
        Random(0).shuffle(texts)
        bare = Bare(shop.bundle(SERVICE, RELEASE), texts)
        say("looking for the quickest way to run the bare session")
        best = bare.best_ways(size.look)
        with (
            serving(shop) as server,
            shop.control() as control,
            analyzer.analyzer(tools, target(server), SERVICE, texts) as load,
        ):
            assert control
            stopwatch = partial(
                processor_time, server.run.server_pid, shop.settings.repository, SERVICE, RELEASE
            )
            rounds = _go_round(size, load, control, bare, best, stopwatch)
    return draft.report(_figures(rounds), _goals(rounds))


def _goals(rounds: Rounds) -> list[Goal]:
    bare, crowd, single = _median(rounds.bare), rounds.served_by(CROWD), rounds.served_by(SINGLE)
    most = max(bare[way.name] for way in rounds.best)
    return [
        Goal("requests/s, 32 clients / texts/s, bare", crowd["requests/s"] / most, 0.85, ">="),
        Goal("p50 ms, 1 client - p50 ms, bare", single["p50"] - bare["single"], 3.0, "<="),
        Goal("padding of the engine's runs, 32 clients, %", _median(rounds.line)["padding, %"], 10.0, "<="),
    ]


def _go_round(
    size: Size,
    load: analyzer.Analyzer,
    control: Control,
    bare: Bare,
    best: Sequence[Way],
    stopwatch: Stopwatch,
) -> Rounds:
    rounds = Rounds(best)
    load.measure(8, WARM_UP)
    for _ in track(range(size.rounds), "server and bare session in turn", console=Console(stderr=True)):
        for clients, requests in size.requests.items():
            with _parts(control, rounds.parts.setdefault(clients, [])), stopwatch() as taken:
                rounds.served.setdefault(clients, []).append(load.measure(clients, requests))
            if clients == CROWD:
                rounds.processor.append({name: 1e3 * spent / requests for name, spent in taken.items()})
        rounds.line.append(bare.line(CROWD))
        rounds.bare.append(
            {
                **{way.name: bare.rate(way) for way in best},
                "single": min(bare.single_ms(threads) for threads in range(1, cores() + 1)),
                **{f"torch, {way.name}": bare.torch_rate(way, size.torch) for way in TORCH_WAYS},
            }
        )
    return rounds


@contextmanager
def _parts(control: Control, rows: list[dict[str, Row]]) -> Iterator[None]:
    """Where the time went of the requests that the block sends, appended to `rows`."""
    models = (*MODELS, ensemble_model(SERVICE))
    before = {model: control.spent(model, RELEASE) for model in models}
    yield
    rows.append({model: _each(before[model], control.spent(model, RELEASE)) for model in models})


def _each(before: Spent, after: Spent) -> Row:
    """Milliseconds a request."""
    count = after.requests - before.requests
    names = ("whole", "queue", "input", "infer", "output")
    return {name: (getattr(after, name) - getattr(before, name)) / count for name in names}


def _figures(rounds: Rounds) -> Figures:
    bare = _median(rounds.bare)
    torch = {
        f"transformers in process, {way.name}, texts/s": bare[f"torch, {way.name}"] for way in TORCH_WAYS
    }
    return {
        **{f"bare session, {way.name}, texts/s": bare[way.name] for way in rounds.best},
        "bare session, one text at a time, p50 ms": bare["single"],
        "the engine stage's line without Triton, 32 clients": _median(rounds.line),
        **torch,
        **{_clients(clients): rounds.served_by(clients) for clients in rounds.served},
        **_processor(rounds),
        **_breakdown(rounds),
    }


def _processor(rounds: Rounds) -> Figures:
    """Milliseconds of processor time a request of the crowd's, beside what the bare session takes for a text
    at its best; and how many requests/s there could be at most, were Python's stages free: the engine's work
    as its line does it alone, tritonserver and the load generator share the cores."""
    spent, bare = _median(rounds.processor), _median(rounds.bare)
    each = 1e3 * cores()
    run = each / _median(rounds.line)["texts/s"]
    least = run + spent["tritonserver"] + spent["load generator"]
    table = {**spent, "bare session": each / max(bare[way.name] for way in rounds.best)}
    return {
        f"processor ms of a request, {CROWD} clients": table,
        "requests/s at most, were the Python stages free": each / least,
    }


def _breakdown(rounds: Rounds) -> Figures:
    """Mean milliseconds a request. Triton's figures of the engine end where it hands a request to threads of
    its own: its line and the session's run are in what is left between the stages."""
    table: dict[str, Row] = {}
    for clients in (SINGLE, CROWD):
        parts = rounds.breakdown(clients)
        whole = parts[ensemble_model(SERVICE)]["whole"]
        stages = {name: parts[name] for name in MODELS}
        for name, part in stages.items():
            table[f"{_clients(clients)}: {name}, ms"] = part
        between = whole - sum(part["whole"] for part in stages.values())
        table[f"{_clients(clients)}: beside the stages, ms"] = {
            "engine's line and run, hops": between,
            "gRPC, network, client": rounds.served_by(clients)["mean"] - whole,
        }
    return table


def _clients(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"


def _median(rows: Sequence[Mapping[str, float]]) -> Row:
    return {name: float(np.median([row[name] for row in rows])) for name in rows[0]}
