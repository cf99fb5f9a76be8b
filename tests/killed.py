"""Runs an action again and again, killed at each of its file operations in turn; see `killed_everywhere`.

The actions run in a process of their own, so that what they fork is small and has one thread.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

STEPS = frozenset({"os.rename", "os.mkdir", "os.link", "os.remove", "os.rmdir", "open"})
"""What changes a disk, as Python's audit events name it (of `open`, only for writing)."""


def killed_everywhere(action: str, start: Path, results: Path) -> list[Path]:
    """`action` ("module:function") on copies of `start`, the copy k killed before its file operation k.

    Returns the copies; in the last one the action ran to its end.
    """
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, action, str(start), str(results)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return sorted(results.iterdir(), key=lambda path: int(path.name))


def _main(action: str, start: str, results: str) -> None:
    module, _, name = action.partition(":")
    function = getattr(import_module(module), name)
    step, killed = 0, True
    while killed:
        step += 1
        copy = Path(results, str(step))
        shutil.copytree(start, copy)
        child = os.fork()
        if child == 0:
            _run(function, copy, step)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        if not killed and os.waitstatus_to_exitcode(status):
            raise SystemExit(f"step {step} failed")


def _run(function: Callable[[Path], object], copy: Path, last: int) -> None:
    """Never returns."""
    steps = 0

    def count(event: str, arguments: Sequence[object]) -> None:
        nonlocal steps
        if event in STEPS and str(arguments[0]).startswith(str(copy)) and _writes(event, arguments):
            steps += 1
            if steps == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    try:
        function(copy)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def _writes(event: str, arguments: Sequence[object]) -> bool:
    return event != "open" or bool(int(str(arguments[2])) & (os.O_WRONLY | os.O_RDWR))


if __name__ == "__main__":
    _main(*sys.argv[1:])
