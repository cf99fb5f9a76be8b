"""A server that is measured: how it starts, how it is asked, what its replies say, and a load on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from perennial.errors import Unavailable
from perennial.jobs.workshop import Workshop
from perennial.types import Bundle
from perennial_perf import payloads
from perennial_perf.benches._others import Others
from perennial_perf.benches._peer_processes import running
from perennial_perf.benches._peers import Kind, Peer, Way
from perennial_perf.benches._releases import expected
from perennial_perf.benches._sandbox import SERVICE, serving
from perennial_perf.load import Plan, background
from perennial_perf.stats import percentiles
from perennial_perf.trace import Trace

Row: TypeAlias = dict[str, float]

OURS = "Perennial"
WARM_UP, COMPARED = 64, 20
TIMEOUT_S = 60.0
"""A peer that is slow is not one that fails."""


@dataclass(frozen=True)
class Server:
    """`requests` has one for each text; `start` gives host:port while it runs; `label` reads a reply, and is
    None where the classifier is not the release's."""

    name: str
    kind: Kind
    requests: Sequence[bytes]
    start: Callable[[], AbstractContextManager[str]]
    label: Callable[[bytes], str] | None

    def load(self, target: str, clients: int, requests: int) -> Row:
        """Answers a second, latencies in milliseconds, the load generator's processor time for each, and what
        others than us took of the machine."""
        others = Others()
        trace = _load(target, self.requests, clients, requests)
        return {
            "requests/s": trace.rate,
            **percentiles(trace.latency_ms),
            "failed": trace.failed,
            "load µs": trace.cpu_us,
            "others %": 100 * others.share(),
        }

    def compare(self, target: str, answers: Mapping[int, str]) -> None:
        """Raises `Unavailable` where the server does not say of a text, by its number, what the release says:
        it would be measured doing something else."""
        if self.label is None:
            return
        numbers = list(answers)
        trace = _load(target, [self.requests[number] for number in numbers], 1, len(numbers))
        said = [self.label(reply) if reply else "" for reply in trace.replies]
        differ = sum(label != answers[numbers[one]] for one, label in zip(trace.payload, said, strict=True))
        if differ:
            raise Unavailable(
                f"answers {differ} of {len(numbers)} texts unlike the release; it was not measured"
            )


def ours(shop: Workshop, texts: Sequence[str]) -> Server:
    @contextmanager
    def start() -> Iterator[str]:
        with serving(shop) as server:
            yield f"{server.run.host}:{server.run.http_port}"

    def label(reply: bytes) -> str:
        return payloads.http_answer(SERVICE, "", reply).label or ""

    return Server(OURS, "ours", payloads.http_questions(SERVICE, texts), start, label)


def server_of(peer: Peer, way: Way, python: Path, model: Path, log: Path, texts: Sequence[str]) -> Server:
    """The peer in one of its ways."""
    requests, read = peer.requests(texts), peer.label
    command = [str(python), str(peer.server), str(model), *way.options]
    return Server(
        peer.name,
        peer.kind,
        requests,
        lambda: running(command, log, requests[0]),
        None if read is None else lambda reply: read(json.loads(reply)),
    )


def surest_answers(bundle: Bundle, texts: Sequence[str]) -> dict[int, str]:
    """What the release is surest of, by the texts' numbers, as many of each label: there float32
    and int8 agree."""
    labels, scores = sorted(bundle.manifest["labels"]), expected(bundle, texts)
    said, surest = scores.argmax(1), np.argsort(-scores.max(1))
    most = -(-COMPARED // len(np.unique(said)))
    found = [index for label in np.unique(said) for index in surest[said[surest] == label][:most]]
    return {int(index): labels[said[index]] for index in found[:COMPARED]}


def _load(target: str, payloads: Sequence[bytes], clients: int, requests: int) -> Trace:
    plan = Plan(target, clients, requests=requests, seconds=3600.0, timeout=TIMEOUT_S, keep=True, wire="http")
    with background(plan, payloads) as child:
        return child.wait()
