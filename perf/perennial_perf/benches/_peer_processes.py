"""A peer's environment, made once, and its server, stopped with every process that it started."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from perennial.children import die_with_parent
from perennial.errors import Unavailable
from perennial.server import ports
from perennial_perf.benches._sandbox import say
from perennial_perf.connections import HttpConnection

START_S, STOP_S, POLL_S, ANSWER_S = 180.0, 15.0, 0.2, 10.0
_HOST = "127.0.0.1"
_READY = ".ready"


def install(home: Path, name: str, requirements: Path) -> Path:
    """The python of a peer's own environment below `home`, made anew when its requirements change.

    Raises `Unavailable` with pip's reason.
    """
    digest = sha256(requirements.read_bytes()).hexdigest()[:8]
    folder = home / f"{name}-{digest}"
    python = folder / "bin/python"
    if not (folder / _READY).exists():
        say(f"installing {name} into {folder}, a few minutes where it brings torch")
        shutil.rmtree(folder, ignore_errors=True)
        run("venv", sys.executable, "-m", "venv", str(folder))
        run("pip", str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements))
        (folder / _READY).touch()
    return python


def run(what: str, *command: str) -> None:
    """`what` is how it is called where it fails: `Unavailable` with what it said last."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(_reason(done.stderr or done.stdout, f"{what} ended with {done.returncode}"))


@contextmanager
def running(command: Sequence[str], log: Path, question: bytes) -> Iterator[str]:
    """host:port of a server that has answered `question`; it is told its port in `--port`.

    Raises `Unavailable` with the last line of its log where it dies or does not answer in time.
    """
    port = ports.choose(_HOST, ports.Ports()).http
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, f"--port={port}"],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 (it only calls the kernel)
        )
    try:
        _wait_until_it_answers(process, log, f"{_HOST}:{port}", question)
        yield f"{_HOST}:{port}"
    finally:
        _stop(process)


def _wait_until_it_answers(process: subprocess.Popen[bytes], log: Path, target: str, question: bytes) -> None:
    ends_at = time.monotonic() + START_S
    while asyncio.run(_ask(target, question)) != 0:
        if process.poll() is not None:
            raise Unavailable(_reason(log.read_text(errors="replace"), f"ended with {process.returncode}"))
        if time.monotonic() > ends_at:
            raise Unavailable(_reason(log.read_text(errors="replace"), f"no answer within {START_S:.0f} s"))
        time.sleep(POLL_S)


async def _ask(target: str, question: bytes) -> int:
    connection = HttpConnection(target)
    code, _ = await connection.ask(question, ANSWER_S)
    await connection.close()
    return code


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Its whole group: workers that outlive their server would load the next peer's measurement."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _reason(said: str, ended: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR: ")]
    return f"{ended}: {(errors or lines or ['it said nothing'])[-1][:300]}"
