"""The load generator against a server that speaks the wire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fakes_wire import FakeServer
from perennial_client import Feedback
from perennial_perf import payloads
from perennial_perf.load import Load, Plan, background
from perennial_perf.trace import Trace

TEXTS = [f"text {number}" for number in range(10)]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


def target(server: FakeServer) -> str:
    return f"127.0.0.1:{server.grpc_port}"


def run(plan: Plan) -> Trace:
    return asyncio.run(Load(plan, payloads.questions("sentiment", TEXTS)).run())


def test_each_request_is_sent_once_and_its_reply_kept(server: FakeServer) -> None:
    trace = run(Plan(target(server), clients=3, requests=25, keep=True))
    assert len(trace) == 25 and trace.failed == 0
    assert np.bincount(trace.payload).tolist() == [3] * 5 + [2] * 5
    for number, reply in zip(trace.payload, trace.replies, strict=True):
        assert payloads.answer("sentiment", TEXTS[number], reply).label == "positive"
    assert trace.rate > 0 and trace.cpu_us > 0


def test_failures_are_counted_by_their_code(server: FakeServer) -> None:
    server.wire.faults.extend(["UNAVAILABLE", "INVALID_ARGUMENT"])
    trace = run(Plan(target(server), requests=5))
    assert trace.code.tolist() == [14, 3, 0, 0, 0]
    assert len(trace.latency_ms) == 3


def test_an_open_loop_keeps_its_rate_and_counts_the_wait(server: FakeServer) -> None:
    server.wire.faults.append(0.3)
    trace = run(Plan(target(server), rate=100, seconds=0.6))
    assert 30 <= len(trace) <= 100  # 60 expected; a closed loop of one client would have sent half
    assert trace.latency.max() >= 0.3
    assert (np.diff(np.sort(trace.started)) < 0.2).all()


def test_a_load_in_its_own_process_is_read_back_and_stops_when_told(server: FakeServer) -> None:
    rows = [[Feedback("sentiment", text, "negative", key=text)] for text in TEXTS]
    plan = Plan(target(server), clients=2, seconds=60, keep=True)
    with background(plan, payloads.feedback(rows)) as child:
        while len(server.wire.seen) < 20:
            time.sleep(0.01)
        trace = child.stop()
    assert 20 <= len(trace) == len(server.wire.seen)
    first = trace.payload[0]
    assert payloads.receipts(rows[first], trace.replies[0]) == [f"receipt-{TEXTS[first]}"]


def test_a_trace_is_cut_by_time_and_kept_in_a_file(tmp_path: Path) -> None:
    start = np.arange(4.0)
    whole = Trace(np.arange(4), start, start / 10, np.zeros(4, np.int64), (b"a", b"", b"cc", b"d"), 0.4)
    whole.save(tmp_path / "trace.npz")
    cut = Trace.read(tmp_path / "trace.npz").between(1.0, 3.0)
    assert cut.payload.tolist() == [1, 2] and cut.replies == (b"", b"cc") and cut.cpu_s == pytest.approx(0.2)
