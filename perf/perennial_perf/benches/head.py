"""Bench `head`: how soon a correction changes the answers, while others come and users keep asking.

Each correction is one request. From its receipt on, the bench asks which head answers, until it is one that
has learned the row: all through the ensemble, beside an open load of questions.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from random import Random

import numpy as np
from rich.console import Console
from rich.progress import track
from threadpoolctl import threadpool_limits

from perennial.config import Settings
from perennial.errors import PerennialError
from perennial.heads import Statistics
from perennial.jobs.learn import Learner
from perennial.jobs.workshop import Workshop
from perennial.repository.layout import timed_model
from perennial.server.control import Control
from perennial.types import Array, Rated, text_tensor
from perennial_client import Client, Feedback
from perennial_perf import payloads
from perennial_perf.benches._exactness import Exactness, exactness
from perennial_perf.benches._rebuilds import worker
from perennial_perf.benches._sandbox import SERVICE, sample, sandbox, say, serving, target, texts_of
from perennial_perf.load import Plan, background
from perennial_perf.report import Draft, Figures, Goal, Report
from perennial_perf.stats import percentiles

__all__ = ["run"]

FEEDBACK_RATE, LOAD_RATE, CLIENTS = 50.0, 50.0, 8
LOOK_S = 0.05
PATIENCE_S = 20.0


FULL, QUICK = 3000, 150
"""Corrections."""


def run(settings: Settings, *, quick: bool = False) -> Report:
    draft = Draft("head")
    rated = [row for rows in sample(settings).stream().values() for row in rows]
    rated = Random(0).sample(rated, QUICK if quick else FULL)
    with sandbox(settings, "head") as shop:
        asked = payloads.questions(SERVICE, texts_of(shop.bundle(SERVICE, 1), 400))
        with serving(shop) as server, worker(shop):
            plan = Plan(target(server), CLIENTS, LOAD_RATE, seconds=3600.0)
            with background(plan, asked) as load, shop.control() as control:
                assert control
                with _watched(control, shop) as seen:
                    seen.wait_for(max(_send(server.run.grpc_url, rated[:1], shop)))  # the worker is there
                    acknowledged = _send(server.run.grpc_url, rated[1:], shop)
                    seen.wait_for(max(acknowledged))
                trace = load.stop()
        alone = _arithmetic(shop)
    waits = np.array([seen.at(row) - at for row, at in acknowledged.items()])
    figures: Figures = {
        "corrections": {"rows": len(waits), "rows/s": FEEDBACK_RATE, "heads": seen.heads},
        "from the receipt to the next answers, ms": percentiles(1e3 * waits),
        "answers meanwhile, ms": {
            "requests": len(trace),
            "failed": trace.failed,
            **percentiles(trace.latency_ms),
        },
        "an update, alone, ms": alone.update,
        "taking 100 rows out, ms": alone.deletion_ms,
        "largest difference to a head of the rows in another order": alone.apart,
        "… and to one that never had those taken out": alone.left,
    }
    p95 = float(np.percentile(waits, 95))
    return draft.report(
        figures,
        [
            Goal("seconds from a receipt to the next answers, p95", p95, 1.0, "<="),
            Goal("failed requests meanwhile", trace.failed, 0, "=="),
            Goal("ms of an update, median", alone.update["p50"], 50, "<="),
            Goal("ms to take rows out", alone.deletion_ms, 50, "<="),
            Goal("difference between orders", alone.apart, 1e-9, "<="),
            Goal("difference that rows taken out leave", alone.left, 1e-9, "<="),
        ],
    )


@dataclass
class Seen:
    """When which head first answered, and which rows it had learned."""

    moments: list[tuple[float, int]] = field(default_factory=list)

    def at(self, row: int) -> float:
        return next(at for at, newest in self.moments if newest >= row)

    @property
    def heads(self) -> int:
        return len(self.moments)

    def wait_for(self, row: int) -> None:
        ends_at = time.monotonic() + PATIENCE_S
        while not self.moments or self.moments[-1][1] < row:
            if time.monotonic() > ends_at:
                raise PerennialError(f"no head learned row {row} within {PATIENCE_S:g} s")
            time.sleep(LOOK_S)


@contextmanager
def _watched(control: Control, shop: Workshop) -> Iterator[Seen]:
    """Asks which head answers, over and over, while the block runs."""
    seen, done = Seen(), threading.Event()

    def look() -> None:
        newest_rows, last, question = {0: 0}, 0, {"TEXT": text_tensor(["which head is it"])}
        while not done.wait(LOOK_S):
            if head := shop.store.head(SERVICE, 1, newer_than=max(newest_rows)):
                newest_rows[head.version] = int(head.figures["newest_row"])
            answered = int(control.ask(timed_model(SERVICE), None, question)["HEAD"].item())
            if answered > last and answered in newest_rows:
                seen.moments.append((time.monotonic(), newest_rows[answered]))
                last = answered

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def _send(url: str, rated: Sequence[Rated], shop: Workshop) -> dict[int, float]:
    """Each row's number, and when its receipt came."""
    chance, gaps, received = Random(1), Random(2), dict[str, float]()
    before = shop.store.newest_row(SERVICE)
    due = time.monotonic()
    sources = cycle(f"user {number}" for number in range(50))
    with Client(url) as client:
        for row in track(rated, "corrections", console=Console(stderr=True)):
            due += gaps.expovariate(FEEDBACK_RATE)
            time.sleep(max(0.0, due - time.monotonic()))
            correction = Feedback(SERVICE, row.text, chance.choice(row.ratings), source=next(sources))
            received[client.feedback_many([correction])[0]] = time.monotonic()
    rows = shop.store.feedback(SERVICE, before, len(rated))
    return {row.row: received[row.receipt] for row in rows}


def _arithmetic(shop: Workshop) -> Exactness:
    """What the fast loop computes, alone, as it does on one thread; a hundred rows are taken out."""
    say("timing updates alone")
    bundle, wish = shop.bundle(SERVICE, 1), shop.service(SERVICE).head
    learner = Learner(shop, bundle, shop.store.head_orders(SERVICE))
    learner.recall()
    rows, codec = learner.live.evidence, learner.live.codec

    def taught() -> Statistics:
        statistics = Statistics(codec.feature_size, len(codec.classes), codec.outputs)
        statistics.add(learner.live.anchors.held())
        return statistics

    def weights(statistics: Statistics) -> Array:
        return statistics.solve(wish.ridge, codec.balance).weights

    with threadpool_limits(1):
        orders = [rows, rows.at(np.arange(len(rows))[::-1])]
        return exactness(orders, np.arange(min(100, len(rows))), taught, weights)
