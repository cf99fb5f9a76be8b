"""How every file of ONNX is opened: quiet, in threads that spin within a run only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perennial.errors import Broken

CPU = "CPUExecutionProvider"


def open_file(built: Path, threads: int, providers: Sequence[str] = (CPU,)) -> Any:
    """An `InferenceSession`; `Broken` for a file that is none."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    # Threads that spin within a run spare it a wake-up at every operator (a text on two took 3.4 ms,
    # without it 5.8); those that went on after it would take the core from other stages.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(str(built), options, providers=list(providers))
    except Exception as error:  # its exceptions have no base of their own
        raise broken(built, error) from error


def broken(built: Path, error: Exception) -> Broken:
    return Broken(f"{built} does not open: {error}; build the release again")
