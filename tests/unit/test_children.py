"""Claims about processes that are started beside open connections."""

from __future__ import annotations

import subprocess
import sys

import pytest

STARTS = """
import subprocess
import perennial
import grpc
channel = grpc.insecure_channel("127.0.0.1:1")
channel.subscribe(print, try_to_connect=True)
for _ in range(50):
    subprocess.run(["true"], preexec_fn=int, check=True)
channel.close()
"""


def test_grpc_starts_nothing_in_a_child_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would start threads there, of which some children never come to exec."""
    monkeypatch.delenv("GRPC_ENABLE_FORK_SUPPORT", raising=False)
    ended = subprocess.run(
        [sys.executable, "-c", STARTS], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
