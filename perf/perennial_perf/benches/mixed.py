"""Bench `mixed`: a service of each task in one server, all asked at once, while one of them is rebuilt; and
how much memory each takes.

The load is open and light: two cores answer all of it, and learn.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace

from perennial.config import Settings
from perennial.jobs.workshop import Workshop
from perennial.plugins import labels_of
from perennial.server.memory import of_service
from perennial.types import Bundle
from perennial.writing.request import Request
from perennial_perf import payloads
from perennial_perf.benches._rebuilds import ask_for_rebuild, give_feedback, wait_until_settled, worker
from perennial_perf.benches._sandbox import (
    OPEN_GATES,
    SERVICE,
    built,
    sample,
    say,
    serving,
    target,
    texts_of,
    together,
)
from perennial_perf.connections import Wire
from perennial_perf.load import Plan, background
from perennial_perf.report import Draft, Figures, Goal, Report
from perennial_perf.stats import percentiles
from perennial_perf.trace import Trace

__all__ = ["run"]

SAMPLES = (SERVICE, "conll", "topics", "movies", "chat")
"""Of the tasks classify, tag, embed, recommend and generate."""
RATE, TEXTS = 2.0, 200
"""Requests a second to each service, and how many different ones."""
WRITTEN_RATE, TOKENS, PATIENCE_S = 0.25, 16, 30.0
STEADY_S, ROWS, WATCH_S = 30.0, 1000, 5.0
QUICK = (2.0, 400)


def run(settings: Settings, *, quick: bool = False) -> Report:
    draft = Draft("mixed")
    steady_s, rows = QUICK if quick else (STEADY_S, ROWS)
    names = [SERVICE, "movies"] if quick else SAMPLES
    bundles = [built(settings, name, takes="minutes") for name in names]
    own = {**OPEN_GATES, "watch_s": WATCH_S}
    with (
        together(settings, [(bundle, own) for bundle in bundles], "mixed") as shop,
        serving(shop) as server,
        ExitStack() as loads,
    ):
        services = [bundle.service for bundle in bundles]
        running = {}
        for service in services:
            wire, requests, rate = _load(shop.bundle(service, 1))
            plan = Plan(target(server, wire), rate=rate, seconds=7200.0, timeout=PATIENCE_S, wire=wire)
            running[service] = loads.enter_context(background(plan, requests))
        say(f"asking {', '.join(services)}")
        time.sleep(steady_s)
        began, megabytes = time.monotonic(), _megabytes(shop, services)
        rated = next(iter(sample(settings).stream().values()))[:rows]
        give_feedback(shop, SERVICE, rated)
        say(f"rebuilding {SERVICE}")
        with worker(shop):
            job = wait_until_settled(shop, ask_for_rebuild(shop, SERVICE))
        traces = {service: load.stop() for service, load in running.items()}
    figures: Figures = {
        "requests/s to each": RATE,
        f"requests/s to one that writes {TOKENS} tokens": WRITTEN_RATE,
        **{f"{service}: steady, ms": _row(trace, 0.0, began) for service, trace in traces.items()},
        **{
            f"{service}: while {SERVICE} is rebuilt, ms": _row(trace, began, float("inf"))
            for service, trace in traces.items()
        },
        **{f"{what}: memory, MB": megabyte for what, megabyte in megabytes.items()},
    }
    failed = sum(trace.failed for trace in traces.values())
    return draft.report(
        figures,
        [
            Goal("failed requests", failed, 0, "=="),
            Goal("services", len(services), len(SAMPLES), "=="),
            Goal("rebuilds kept", int(job.state == "kept"), 1, "=="),
        ],
        ["memory is what each process has for itself and its share of what it shares (PSS)"],
    )


def _load(bundle: Bundle) -> tuple[Wire, list[bytes], float]:
    """What carries the requests to a service, they, and how many a second."""
    texts, writes = texts_of(bundle, TEXTS), labels_of(bundle.manifest["task"]).writes
    if writes:
        texts = [
            replace(asked := Request.read(text), options=replace(asked.options, max_tokens=TOKENS)).text
            for text in texts
        ]
    return *payloads.asked(bundle.service, texts, writes), WRITTEN_RATE if writes else RATE


def _row(trace: Trace, since: float, until: float) -> dict[str, float]:
    some = trace.between(since, until)
    return {**percentiles(some.latency_ms.tolist()), "requests": float(len(some.latency_ms))}


def _megabytes(shop: Workshop, services: list[str]) -> dict[str, float]:
    """Of the processes that answer for each service, and of all else of the server."""
    taken = shop.memory_mb()
    of_services = {name: of_service(name, taken) for name in services}
    return {**of_services, "all else": sum(taken.values()) - sum(of_services.values())}
