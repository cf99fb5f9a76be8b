"""What users would pick instead to learn from a stream: each library in a process and an environment of its
own, told and asked as any method is. Knows their processes; perf/rivals knows the libraries."""

from __future__ import annotations

import pickle
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perennial.children import die_with_parent
from perennial.errors import Unavailable
from perennial.types import Array
from perennial_perf.benches._methods import Shape

FOLDER = Path(__file__).parents[2] / "rivals"
PROCESS = FOLDER / "process.py"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Rival:
    """A `variant` of what the library in `folder` offers."""

    folder: str
    variant: str

    @property
    def name(self) -> str:
        return f"{self.folder.replace('_', ' ')}, {self.variant}"

    @property
    def requirements(self) -> Path:
        return FOLDER / self.folder / "requirements.txt"

    @property
    def learner(self) -> Path:
        return FOLDER / self.folder / "learner.py"


RIVALS = (
    Rival("river", "softmax regression"),
    Rival("vowpal_wabbit", "oaa"),
    Rival("avalanche", "ER"),
    Rival("avalanche", "ER-ACE"),
    Rival("avalanche", "DER++"),
)


class Remote:
    """A method that runs in a rival's process. It cannot forget."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, rival: Rival, shape: Shape) -> None:
        self._process, self._log, self._scale = process, log, shape.size**0.5
        self._ask("begin", rival.variant, asdict(shape))

    def learn(self, rows: Array, features: Array, labels: Array) -> None:  # noqa: ARG002
        self._ask("learn", features * self._scale, labels)

    def forget(self, rows: Array, features: Array, labels: Array) -> None:
        pass

    def answer(self, features: Array) -> Array:
        answers: Array = self._ask("answer", features * self._scale)
        return answers

    def clock(self) -> float:
        seconds: float = self._ask("clock")
        return seconds

    def kept(self) -> int:
        size: int = self._ask("kept")
        return size

    def _ask(self, verb: str, *arguments: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        try:
            pickle.dump((verb, arguments), self._process.stdin)
            self._process.stdin.flush()
            return pickle.load(self._process.stdout)
        except (BrokenPipeError, EOFError):
            last = self._log.read_text(errors="replace").strip().rpartition("\n")[2]
            raise Unavailable(f"its process ended with {self._process.wait()}: {last[:300]}") from None


@contextmanager
def running(python: Path, rival: Rival, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process that learns, until the block ends."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(python), str(PROCESS), str(rival.learner)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            env=ONE_THREAD,
            preexec_fn=die_with_parent,  # noqa: PLW1509 (it only calls the kernel)
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
