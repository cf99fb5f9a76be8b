"""TensorRT on a data-centre GPU: plans for the GPU that they were built on, which Triton's own backend runs.

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

__all__ = ["TensorRT"]

_NEEDED = ("tensorrt", "onnx", "onnxruntime")


class TensorRT:
    """Builds on the GPU that will serve, since it times its kernels there, and remembers the times in the
    file `timing.cache` of the folder `cache` (`perennial/tensorrt` in the user's, unless told otherwise).

    With `refit`, a network of an architecture that was built before gets new weights instead of a new build.
    TensorRT 11.3's release notes say that a plan made for that may lose a bias: the parity gate would tell.
    With `version_compatible`, later versions of the library open the plan as well; Triton's backend does so
    where tritonserver is started with `--backend-config=tensorrt,version-compatible=true`.
    """

    repeats = False
    writes = False

    def __init__(self, cache: str = "", refit: bool = False, version_compatible: bool = False) -> None:
        self._cache = _tensorrt.cache_folder(cache, "tensorrt")
        self._refit = refit
        self._options = _tensorrt.Options(
            version_compatible=version_compatible, timing_cache=self._cache / "timing.cache"
        )

    def available(self) -> str | None:
        missing = [name for name in _NEEDED if find_spec(name) is None]
        if missing:
            return f"no {' and no '.join(missing)}: pip install 'perennial[train,tensorrt]'"
        return machine.gpu_missing()

    def runs_here(self) -> str | None:
        if find_spec("tensorrt") is None or find_spec("polygraphy") is None:
            return "no tensorrt with polygraphy: pip install 'perennial[tensorrt]'"
        return machine.gpu_missing()

    def precisions(self) -> tuple[str, ...]:
        return _typed.precisions()

    def build(self, exported: Exported, folder: Path, precision: str) -> Path:
        """`folder`/model.plan, for this GPU and this version of the library."""
        if reason := self.available():
            raise Unavailable(reason)
        import tensorrt

        skeletons = self._cache if self._refit else None
        return _tensorrt.build(tensorrt, exported, folder, precision, self._options, skeletons)

    def open(self, built: Path, threads: int) -> PlanSession:
        if reason := self.runs_here():
            raise Unavailable(f"{built} does not open here: {reason}")
        import tensorrt

        return PlanSession(tensorrt, built)

    def triton(self, runtime: Runtime, threads: int) -> BackendSpec:
        if runtime == "embedded":  # its server has no C++ backends: our stage opens the file
            return BackendSpec("python", _tensorrt.FILENAME)
        return BackendSpec("tensorrt", _tensorrt.FILENAME, gpu=True)
