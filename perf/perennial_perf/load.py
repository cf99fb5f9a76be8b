"""A load on a server from requests serialised ahead of time, in this process or in one of its own.

Sends and receives bytes, so that it takes little of the processor that the server shares: over gRPC 0.2 ms a
request from 8 clients or more, 0.4 ms from one; over HTTP, in the same minute, a third to a half of that
(`Trace.cpu_us` has each run's own figure). Knows no service, and no wire: `payloads` makes the bytes and
reads the replies, and `connections` carries them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from perennial.children import die_with_parent
from perennial_perf.connections import Connection, Wire, connect
from perennial_perf.stats import percentiles
from perennial_perf.trace import Trace, join, split

_PAUSE_AFTER_FAILURE_S = 0.02  # else a closed loop on a dead server only burns processor time


@dataclass(frozen=True)
class Plan:
    """Load on `target` (host:port) until `requests` are sent, or `seconds` are over, or it is stopped.

    Without `rate` the loop is closed: each of the `clients` asks again once it is answered. With it the loop
    is open: `rate` requests arrive each second at random (Poisson), however slow the server is, and a
    request's latency counts from its arrival. `keep` keeps the replies.
    """

    target: str
    clients: int = 1
    rate: float | None = None
    requests: int | None = None
    seconds: float = 60.0
    timeout: float = 10.0
    keep: bool = False
    wire: Wire = "grpc"


class Load:
    """One run of a plan over payloads, which it sends in their order, over and over."""

    def __init__(self, plan: Plan, payloads: Sequence[bytes]) -> None:
        self._plan = plan
        self._payloads = payloads
        self._sent = 0
        self._most = sys.maxsize if plan.requests is None else plan.requests
        self._end = 0.0
        self._entries: list[tuple[int, float, float, int]] = []
        self._replies: list[bytes] = []

    def stop(self) -> None:
        """Send no more; `run` returns when what is under way has ended."""
        self._end = 0.0

    async def run(self) -> Trace:
        clients = [connect(self._plan.wire, self._plan.target) for _ in range(self._plan.clients)]
        cpu = time.process_time()
        self._end = time.monotonic() + self._plan.seconds
        if self._plan.rate is None:
            await asyncio.gather(*(self._client(client) for client in clients))
        else:
            await self._arrivals(clients, self._plan.rate)
        cpu = time.process_time() - cpu
        await asyncio.gather(*(client.close() for client in clients))
        return self._trace(cpu)

    async def _client(self, client: Connection) -> None:
        while (number := self._next()) is not None:
            if not await self._ask(client, number, time.monotonic()):
                await asyncio.sleep(_PAUSE_AFTER_FAILURE_S)

    async def _arrivals(self, clients: Sequence[Connection], rate: float) -> None:
        gaps, due, under_way = random.Random(0), time.monotonic(), set()
        for client in cycle(clients):
            if (number := self._next()) is None:
                break
            due += gaps.expovariate(rate)
            await asyncio.sleep(due - time.monotonic())
            asked = asyncio.create_task(self._ask(client, number, due))
            under_way.add(asked)
            asked.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)

    def _next(self) -> int | None:
        if self._sent >= self._most or time.monotonic() >= self._end:
            return None
        self._sent += 1
        return (self._sent - 1) % len(self._payloads)

    async def _ask(self, client: Connection, number: int, start: float) -> bool:
        code, reply = await client.ask(self._payloads[number], self._plan.timeout)
        self._entries.append((number, start, time.monotonic() - start, code))
        if self._plan.keep:
            self._replies.append(reply)
        return code == 0

    def _trace(self, cpu_s: float) -> Trace:
        table = np.array(self._entries, np.float64).reshape(-1, 4)
        payload, code = table[:, 0].astype(np.int64), table[:, 3].astype(np.int64)
        return Trace(payload, table[:, 1], table[:, 2], code, tuple(self._replies), cpu_s)


class Child:
    """A load that runs in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], out: Path) -> None:
        self._process = process
        self._out = out

    def wait(self) -> Trace:
        """What it saw, once the plan has ended."""
        if code := self._process.wait():
            raise RuntimeError(f"the load generator ended with {code}; its own output, above, says why")
        return Trace.read(self._out)

    def stop(self) -> Trace:
        """End it early; what it saw until then."""
        self._process.terminate()
        return self.wait()


@contextmanager
def background(plan: Plan, payloads: Sequence[bytes]) -> Iterator[Child]:
    """Load from a child process, which runs when this enters; killed on leaving if it still does."""
    with TemporaryDirectory(prefix="perennial-load-") as folder:
        given, out = Path(folder, "payloads.npz"), Path(folder, "trace.npz")
        data, ends = join(payloads)
        np.savez(given, data=data, ends=ends)
        command = [
            sys.executable,
            "-m",
            "perennial_perf.load",
            str(given),
            str(out),
            json.dumps(asdict(plan)),
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            process.stdout.readline()  # it says that it runs
            yield Child(process, out)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def main() -> None:
    """The child process: a plan as JSON, payloads from a file, the trace to a file, a summary printed."""
    parser = argparse.ArgumentParser(prog="python -m perennial_perf.load", description=main.__doc__)
    parser.add_argument("payloads", type=Path, help="a file that `background` wrote")
    parser.add_argument("trace", type=Path, help="where the trace goes (.npz)")
    parser.add_argument("plan", type=json.loads, help='such as {"target": "127.0.0.1:8001", "clients": 8}')
    options = parser.parse_args()
    die_with_parent()
    with np.load(options.payloads) as file:
        load = Load(Plan(**options.plan), split(file["data"], file["ends"]))
    trace = asyncio.run(_run_until_told(load))
    trace.save(options.trace)
    summary = {"requests": len(trace), "failed": trace.failed, "rate": trace.rate, "cpu_us": trace.cpu_us}
    print(json.dumps({**summary, **percentiles(trace.latency_ms)}))


async def _run_until_told(load: Load) -> Trace:
    for told in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(told, load.stop)
    print("running", flush=True)
    return await load.run()


if __name__ == "__main__":
    main()
