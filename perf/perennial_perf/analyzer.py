"""perf_analyzer, Triton's own load generator, which takes half the processor time that `load` takes.

Where the load runs on the cores that it measures, the server gets the rest: 7 % more answers at 32 clients.
It tells latencies only; benches that look at answers, or at failures, use `load`. A package carries the
program, and the package of the embedded server the libraries that it needs.
"""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from perennial.errors import Unavailable
from perennial.packages import Package, download
from perennial.server import embedded
from perennial_perf.stats import percentiles

PACKAGE = Package(
    name="tritonclient",
    version="2.51.0",
    archive="tritonclient-2.51.0-py3-none-manylinux1_x86_64.whl",
    form="binary",
    sha256="c485bb0123bdf310f90bc8b03d3489b28df2ffed55b30c7eee0b795b48113d52",
    licence="BSD-3-Clause",
)
_INNER = "tritonclient-2.51.0.data/data/bin/perf_analyzer"
_LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}
TRIES = 2
STUCK_S, SLOWEST = 30.0, 5.0
"""On a busy machine it now and then waits on for ever once the server has answered everything: after so many
seconds, and one for so many requests, it is stopped and asked again."""


@dataclass(frozen=True)
class Analyzer:
    """The program in `folder`, which asks the model `service` at `target` (host:port) for `texts`."""

    folder: Path
    target: str
    service: str
    data: Path

    def measure(self, clients: int, requests: int) -> dict[str, float]:
        """Requests a second, and p50, p95, p99 and mean in milliseconds, of a closed loop over gRPC.

        Raises `Unavailable` with perf_analyzer's own words where a request fails: it stops at the first one.
        """
        for _ in range(TRIES):
            with suppress(subprocess.TimeoutExpired):
                return self._measured(clients, requests)
        raise Unavailable(
            f"perf_analyzer did not end {requests} requests, {TRIES} times in a row; is the machine busy?"
        )

    def _measured(self, clients: int, requests: int) -> dict[str, float]:
        with TemporaryDirectory(dir=self.folder) as scratch:
            out = Path(scratch, "profile.json")
            self._run(
                STUCK_S + requests / SLOWEST,
                f"--concurrency-range={clients}",
                f"--request-count={requests}",
                f"--profile-export-file={out}",
                "--async" if clients > 1 else "--sync",
            )
            return _row(json.loads(out.read_text())["experiments"][0]["requests"])

    def _run(self, timeout_s: float, *options: str) -> None:
        command = [str(self.folder / "perf_analyzer"), "-m", self.service, "-u", self.target, "-i", "grpc"]
        command += [f"--input-data={self.data}", *options]
        environment = {**os.environ, "LD_LIBRARY_PATH": str(self.folder)}
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, timeout=timeout_s
        )
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())
            raise Unavailable(f"perf_analyzer ended with {done.returncode}: {said[:400]}")


@contextmanager
def analyzer(folder: Path, target: str, service: str, texts: Sequence[str]) -> Iterator[Analyzer]:
    """Its input lies in `folder`, beside the program, while the block runs."""
    with TemporaryDirectory(dir=folder) as scratch:
        data = Path(scratch, "texts.json")
        data.write_text(json.dumps({"data": [{"TEXT": {"content": [t], "shape": [1]}} for t in texts]}))
        yield Analyzer(folder, target, service, data)


def fetch(home: Path, say: Callable[[str], None]) -> Path:
    """The folder of the program, below `home`; downloaded once, whole or not at all."""
    folder = home / f"perf_analyzer-{PACKAGE.sha256[:8]}"
    if not folder.exists():
        with TemporaryDirectory(dir=home) as scratch:
            say(
                f"downloading perf_analyzer, of {PACKAGE.name} {PACKAGE.version} (licence: {PACKAGE.licence})"
            )
            staged = Path(scratch, "staged")
            _unpack(download(PACKAGE, Path(scratch)), staged)
            staged.rename(folder)
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    folder.mkdir()
    program = folder / "perf_analyzer"
    with zipfile.ZipFile(archive) as packed:
        program.write_bytes(packed.read(_INNER))
    program.chmod(0o755)
    bundled = embedded.find().libraries
    for name, pattern in _LIBRARIES.items():
        (folder / name).symlink_to(next(bundled.glob(pattern)))


def _row(requests: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """From the exported start and end of each request, in nanoseconds."""
    started = np.array([request["timestamp"] for request in requests])
    ended = np.array([request["response_timestamps"][-1] for request in requests])
    latency_ms = 1e-6 * (ended - started)
    rate = len(requests) / (1e-9 * float(ended.max() - started.min()))
    return {"requests/s": rate, **percentiles(latency_ms), "mean": float(latency_ms.mean())}
