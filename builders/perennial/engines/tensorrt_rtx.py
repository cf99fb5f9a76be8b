"""TensorRT for RTX: plans that are built without a GPU and run on the RTX GPU of whoever opens them.

Knows where the library comes from and how Triton loads a plan. Leaves how one is made to `_tensorrt`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from perennial import machine
from perennial.engines import _tensorrt, _typed
from perennial.engines._tensorrt_session import PlanSession
from perennial.errors import Unavailable
from perennial.types import BackendSpec, Exported, Runtime

__all__ = ["TensorRTForRTX"]

_NEEDED = ("tensorrt_rtx_bindings", "onnx", "onnxruntime")


class TensorRTForRTX:
    """For GPUs of compute capability 8.0, 8.6, 8.9 and 12 (not 9.0, the H100 and H200): the kernels are
    compiled for the one at hand when a plan opens. It times no kernel, so it keeps no timing cache, and has
    no version-compatible plans.

    With `refit`, a network of an architecture that was built before gets new weights instead of a new build;
    what is refitted lies in the folder `cache` (`perennial/tensorrt_rtx` in the user's). That needs a GPU, as
    1.7 makes plans without weights on one only.
    """

    repeats = False
    writes = False

    def __init__(self, cache: str = "", refit: bool = False) -> None:
        self._skeletons = _tensorrt.cache_folder(cache, "tensorrt_rtx") if refit else None

    def available(self) -> str | None:
        missing = [name for name in _NEEDED if find_spec(name) is None]
        if missing:
            return f"no {' and no '.join(missing)}: pip install 'perennial[train,tensorrt-rtx]'"
        return None

    def runs_here(self) -> str | None:
        if find_spec("tensorrt_rtx_bindings") is None or find_spec("polygraphy") is None:
            return "no tensorrt_rtx_bindings with polygraphy: pip install 'perennial[tensorrt-rtx]'"
        return machine.gpu_missing()

    def precisions(self) -> tuple[str, ...]:
        return _typed.precisions()

    def build(self, exported: Exported, folder: Path, precision: str) -> Path:
        """`folder`/model.plan, for any GPU of the family. Two of the same graph differ in a few bytes: in the
        numbers that the compiler gives its own names."""
        if reason := self.available():
            raise Unavailable(reason)
        import tensorrt_rtx_bindings as library

        return _tensorrt.build(library, exported, folder, precision, _tensorrt.Options(), self._skeletons)

    def open(self, built: Path, threads: int) -> PlanSession:
        if reason := self.runs_here():
            raise Unavailable(f"{built} does not open here: {reason}")
        import tensorrt_rtx_bindings as library

        return PlanSession(library, built)

    def triton(self, runtime: Runtime, threads: int) -> BackendSpec:
        """Our stage in both: Triton's TensorRT backend reads plans of TensorRT proper alone."""
        return BackendSpec("python", _tensorrt.FILENAME)
