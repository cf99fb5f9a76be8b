"""How every file of ONNX is opened: quiet, in threads that spin within a run only; or on CUDA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perennial import machine
from perennial.errors import Broken, Unavailable

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_LIBRARIES = "pip install 'onnxruntime-gpu[cuda,cudnn]'"


def cuda_missing() -> str | None:
    """None where onnxruntime can run on a GPU, or why it cannot."""
    import onnxruntime

    if CUDA not in onnxruntime.get_available_providers():
        return "this onnxruntime knows no CUDA: pip uninstall onnxruntime, then " + _LIBRARIES
    return machine.gpu_missing()


def open_file(built: Path, threads: int, cuda: bool = False) -> Any:
    """An `InferenceSession`; `Broken` for a file that is none, and `Unavailable` where CUDA is."""
    import onnxruntime

    if cuda:
        if reason := cuda_missing():
            raise Unavailable(f"{built} does not open here: {reason}")
        onnxruntime.preload_dlls()  # CUDA and cuDNN as wheels are on no library path
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    # Threads that spin within a run spare it a wake-up at every operator (a text on two took 3.4 ms,
    # without it 5.8); those that went on after it would take the core from other stages.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        session = onnxruntime.InferenceSession(
            str(built), options, providers=[*([CUDA] if cuda else []), CPU]
        )
    except Exception as error:  # its exceptions have no base of their own
        raise broken(built, error) from error
    if cuda and CUDA not in session.get_providers():  # it falls back without a word
        raise Unavailable(f"{built} does not open on CUDA: {_LIBRARIES}")
    return session


def broken(built: Path, error: Exception) -> Broken:
    return Broken(f"{built} does not open: {error}; build the release again")
