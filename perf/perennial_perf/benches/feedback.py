"""Bench `feedback`: how fast feedback becomes durable, and that `kill -9` neither loses nor doubles any.

Runs a server of its own, with the feedback model alone, on a store of its own inside the state folder, whose
disk is the one that matters.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import track

from perennial.config import Settings
from perennial.predictions import prediction_id
from perennial.server.process import Launch, Server, start
from perennial.state import State
from perennial.store_protocol import Store
from perennial.stores import open_store
from perennial.types import FeedbackRow, ServiceRecord
from perennial_client import Feedback
from perennial_perf import payloads
from perennial_perf.load import Plan, background
from perennial_perf.report import Draft, Goal, Report
from perennial_perf.stats import percentiles
from perennial_perf.trace import Trace

__all__ = ["run"]

SERVICE = ServiceRecord("bench", "classify", ("negative", "neutral", "positive"))
SENTENCE = "It was not what I had hoped for, and the second half was worse than the first. "
BATCH = 256
KILLS = 100
CLIENTS_UNDER_KILLS = 8
PENDING = 2000
"""Requests at hand while the server lives, more than it can take before it is killed."""
LIFE_S = (0.1, 0.4)
"""How long the load lasts before the kill, at random."""


@dataclass(frozen=True)
class Case:
    clients: int
    rows: int
    requests: int

    @property
    def name(self) -> str:
        clients = "1 client" if self.clients == 1 else f"{self.clients} clients"
        return f"{clients}, {'single rows' if self.rows == 1 else f'batches of {self.rows}'}"


SINGLE_8 = Case(8, 1, 4000)
CASES = (Case(1, 1, 1000), SINGLE_8, Case(32, 1, 4000), Case(1, BATCH, 60), Case(32, BATCH, 320))


def run(settings: Settings, *, quick: bool = False) -> Report:
    draft = Draft("feedback")
    share, kills = (0.1, KILLS // 20) if quick else (1.0, KILLS)
    with TemporaryDirectory(prefix="feedback-", dir=settings.folder.folder("benches")) as folder:
        state = State(Path(folder))
        rows = _rows(bytes.fromhex(state.secret("prediction-id").read_text()))
        launch = _launch(state, settings.repository)
        store = open_store(state.store_url)
        store.put_service(SERVICE)
        with start(launch) as server:
            _measure(server, Case(1, 1, 50), rows)  # the first rows also open connections and caches
            cases = {
                case.name: _measure(server, Case(case.clients, case.rows, int(case.requests * share)), rows)
                for case in CASES
            }
        survival = Survival(kills)
        survival.go_through(launch, rows)
        found = survival.compare(_stored(store))
        store.close()
        disk = _disk(state.root)
    return draft.report({"the disk alone, ms": disk, **cases, **found}, _goals(cases, found, kills))


def _goals(cases: dict[str, dict[str, float]], found: dict[str, float], kills: int) -> list[Goal]:
    batches = max(row["rows/s"] for name, row in cases.items() if str(BATCH) in name)
    return [
        Goal("durable rows/s in batches", batches, 5000, ">="),
        Goal("p99 ms of single rows, 8 clients", cases[SINGLE_8.name]["p99"], 20, "<="),
        Goal("failed requests before the kills", sum(row["failed"] for row in cases.values()), 0, "=="),
        Goal("kills of the server under load", found["kills"], kills, "=="),
        Goal("acknowledged rows lost", found["lost"], 0, "=="),
        Goal("rows stored twice", found["doubled"], 0, "=="),
    ]


def _launch(state: State, repository: Path) -> Launch:
    return Launch(
        repository=repository,
        folder=state.folder("run"),
        log=state.folder("logs") / "tritonserver.log",
        secret=state.secret("admin").read_text(),
        models=("feedback",),
        environment={
            "PERENNIAL_STORE_URL": state.store_url,
            "PERENNIAL_KEY_FILE": str(state.secret("prediction-id").resolve()),
        },
    )


def _rows(id_key: bytes) -> Iterator[Feedback]:
    """Rows as applications send them: of 80 to 240 bytes, proven, each with a key."""
    number = 0
    while True:
        number += 1
        text = f"{number}: {SENTENCE * (1 + number % 3)}"
        proof = prediction_id(SERVICE.name, 1, text.encode(), id_key)
        yield Feedback(SERVICE.name, text, SERVICE.labels[number % 3], proof, "bench")


def _measure(server: Server, case: Case, rows: Iterator[Feedback]) -> dict[str, float]:
    batches = [list(islice(rows, case.rows)) for _ in range(case.requests)]
    plan = Plan(_target(server), clients=case.clients, requests=case.requests, seconds=120.0)
    with background(plan, payloads.feedback(batches)) as load:
        trace = load.wait()
    return {"rows/s": trace.rate * case.rows, **percentiles(trace.latency_ms), "failed": trace.failed}


def _disk(folder: Path) -> dict[str, float]:
    """What one sync of 4 KiB takes: no acknowledgement can be quicker."""
    took = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(500):
            file.write(bytes(4096))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(1e3 * (time.perf_counter() - began))
    return percentiles(took)


@dataclass
class Survival:
    """Feedback to a server that is killed over and over, and what was acknowledged of it.

    What a kill left without an answer is sent again, under its keys, as the client does.
    """

    kills: int
    killed: int = 0
    cut_off: int = 0
    receipts: dict[str, str] = field(default_factory=dict)

    def go_through(self, launch: Launch, rows: Iterator[Feedback]) -> None:
        pending: list[list[Feedback]] = []
        for _ in track(range(self.kills), "kill -9 under load", console=Console(stderr=True)):
            pending += [list(islice(rows, size)) for size in _sizes(PENDING - len(pending))]
            with start(launch) as server:
                pending = self._send(server, pending, random.uniform(*LIFE_S))
        with start(launch) as server:
            self._send(server, pending, None)

    def _send(
        self, server: Server, batches: Sequence[list[Feedback]], life_s: float | None
    ) -> list[list[Feedback]]:
        """The requests that got no answer."""
        plan = Plan(_target(server), CLIENTS_UNDER_KILLS, requests=len(batches), seconds=60.0, keep=True)
        with background(plan, payloads.feedback(batches)) as load:
            if life_s is not None:
                time.sleep(life_s)
                self._kill(server)
                trace = load.stop()
            else:
                trace = load.wait()
        return self._unanswered(batches, trace)

    def _kill(self, server: Server) -> None:
        """The server and its stages at one blow; what they have not written to disk is gone."""
        os.killpg(server.run.server_pid, signal.SIGKILL)
        self.killed += 1

    def _unanswered(self, batches: Sequence[list[Feedback]], trace: Trace) -> list[list[Feedback]]:
        self.cut_off += trace.failed
        answered = set()
        for number, reply, code in zip(trace.payload, trace.replies, trace.code, strict=True):
            if code == 0:
                answered.add(int(number))
                receipts = payloads.receipts(batches[number], reply)
                self.receipts.update(
                    (row.key, receipt) for row, receipt in zip(batches[number], receipts, strict=True)
                )
        return [batch for number, batch in enumerate(batches) if number not in answered]

    def compare(self, stored: Iterator[FeedbackRow]) -> dict[str, float]:
        """Figures of what the store holds beside what was acknowledged."""
        rows = [(row.key, row.receipt) for row in stored]
        times, receipts = Counter(key for key, _ in rows), dict(rows)
        lost = sum(receipts.get(key) != receipt for key, receipt in self.receipts.items())
        return {
            "kills": self.killed,
            "requests cut off by a kill": self.cut_off,
            "rows acknowledged": len(self.receipts),
            "lost": lost,
            "doubled": sum(count > 1 for count in times.values()),
        }


def _sizes(requests: int) -> list[int]:
    """Single rows and small batches in turn."""
    return [(1, 8)[number % 2] for number in range(requests)]


def _stored(store: Store) -> Iterator[FeedbackRow]:
    after = 0
    while rows := store.feedback(SERVICE.name, after, 10_000):
        yield from rows
        after = rows[-1].row


def _target(server: Server) -> str:
    return f"{server.run.host}:{server.run.grpc_port}"
