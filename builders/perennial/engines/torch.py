"""The traced program compiled ahead of time by AOTInductor: for the GPU if there is one, else the processor.

Knows how to build a package of one compiled library, which holds its weights, and the session on it. Leaves
how the library is called to `_torch_library`, what flows through it to the task, and which precision is good
enough to the gates.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import BadZipFile

import numpy as np

from perennial import machine
from perennial.engines._building import require_known, whole
from perennial.engines._torch_graphs import Graphs, Replay, record
from perennial.engines._torch_library import capabilities, load
from perennial.errors import Broken, Unavailable
from perennial.types import Array, BackendSpec, Exported, Runtime, Tensors

__all__ = ["Torch"]

FILENAME = "model.pt2"

_NATIVE_BF16 = ("amx_bf16", "avx512_bf16", "bf16")
"""torch's names of what a processor must have; the last is Arm's. Others emulate bf16, slower than fp32."""


class Torch:
    """Half precision is torch's own autocast: matrix products in it, softmax and norms in fp32.

    With `cuda_graphs`, which needs a GPU, a batch runs as one recorded graph of its shape. AOTInductor has no
    such option: torch 2.13's cpp wrapper does without them.
    """

    repeats = True
    writes = False

    def __init__(self, cuda_graphs: bool = False) -> None:
        self._cuda_graphs = cuda_graphs

    def available(self) -> str | None:
        missing = [name for name in ("torch", "onnx") if find_spec(name) is None]
        if missing:
            return f"no {' and no '.join(missing)}: pip install 'perennial[train]'"
        compiler = os.environ.get("CXX", "g++")  # the one that torch calls
        if shutil.which(compiler) is None:
            return f"no C++ compiler {compiler}: apt install g++, or name another in CXX"
        return self.runs_here()

    def runs_here(self) -> str | None:
        if find_spec("torch") is None:
            return "no torch: pip install 'perennial[train]'"
        if self._cuda_graphs and (reason := _no_cuda()):
            return f"cuda_graphs is on, and there is {reason}, or leave it off"
        return None

    def precisions(self) -> tuple[str, ...]:
        import torch

        if torch.cuda.is_available():
            return ("fp16", "bf16", "fp32")
        capable = torch.cpu.get_capabilities()
        return ("bf16", "fp32") if any(capable.get(name) for name in _NATIVE_BF16) else ("fp32",)

    def build(self, exported: Exported, folder: Path, precision: str) -> Path:
        """`folder`/model.pt2, for this kind of processor or GPU alone; the same bytes for the same program,
        precision, machine and package versions. One build at a time in a process: torch's cache is moved."""
        require_known(precision, self.precisions())
        with warnings.catch_warnings(), whole(folder / FILENAME) as part:
            warnings.simplefilter("ignore")  # torch deprecates what its own compiler imports
            _compile(exported, precision, part)
        return folder / FILENAME

    def open(self, built: Path, threads: int) -> TorchSession:
        if reason := self.runs_here():
            raise Unavailable(f"{built} does not open here: {reason}")
        return TorchSession(built, threads, self._cuda_graphs)

    def triton(self, runtime: Runtime, threads: int) -> BackendSpec:
        """Our stage opens the file everywhere: Triton's PyTorch backend reads TorchScript, and where a newer
        one reads such packages (platform torch_aoti), not with the torch that compiled them."""
        return BackendSpec("python", FILENAME)


class TorchSession:
    """Callers run at once, as many as there are cores for. Each computes on its own OpenMP threads, and how
    many is a setting of the calling thread."""

    def __init__(self, built: Path, threads: int, cuda_graphs: bool = False) -> None:
        # OpenMP reads it as torch loads. Its threads spin for each other else: beside one busy process a text
        # on two took 260 ms in place of 20.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        import torch

        self._torch = torch
        self._threads = threads
        together = max(1, len(os.sched_getaffinity(0)) // threads)  # one that comes meanwhile waits
        try:
            self._library, told = load(built, together)
        except (RuntimeError, OSError, BadZipFile) as error:
            said = str(error).partition("\n")[0]  # C++ frames follow
            raise Broken(f"{built} does not open: {said}; build the release again") from error
        self._inputs, self._outputs = told["inputs"].split(), told["outputs"].split()
        self._device = told["AOTI_DEVICE_KEY"]
        self._graphs: Graphs | None = None
        if cuda_graphs:
            ragged = [name in told["ragged"].split() for name in self._outputs]
            self._graphs = Graphs(self._record, self._run, int(told["longest"]), ragged)

    def run(self, tensors: Tensors) -> Tensors:
        asked = [tensors[name] for name in self._inputs]
        if self._graphs:
            answers = self._graphs.run(asked)
        else:
            answers = [tensor.float().cpu().numpy() for tensor in self._run(asked)]
        return dict(zip(self._outputs, answers, strict=True))

    def close(self) -> None:
        self._library.close()

    def _run(self, arrays: Sequence[Array]) -> list[Any]:
        asked = [self._tensor(array) for array in arrays]
        before = self._torch.get_num_threads()
        self._torch.set_num_threads(self._threads)
        try:
            return self._library.run(asked, len(self._outputs))
        finally:
            self._torch.set_num_threads(before)

    def _record(self, arrays: Sequence[Array]) -> Replay:
        return record(self._run_on_stream, arrays)

    def _run_on_stream(self, tensors: Sequence[Any]) -> list[Any]:
        stream = self._torch.cuda.current_stream().cuda_stream
        return self._library.run(tensors, len(self._outputs), stream)

    def _tensor(self, array: Any) -> Any:
        """Without a copy on the processor; torch takes no array that is read-only, as the server's may be."""
        return self._torch.from_numpy(np.require(array, requirements=["C", "W"])).to(self._device)


def _program(exported: Exported, precision: str) -> Any:
    """The traced program on its device, with the casts of its precision written out."""
    import torch
    from torch.export.passes import move_to_device_pass

    program = torch.export.load(exported.program)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        program = move_to_device_pass(program, device)
    if precision == "fp32":
        return program
    half = {"fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    with torch.autocast(device, half):
        return program.run_decompositions({})


def _compile(exported: Exported, precision: str, part: Path) -> None:
    """The library and what is told of it, without its sources, whose comments hold paths."""
    import torch
    from torch._inductor import aot_compile
    from torch._inductor.package import package_aoti
    from torch._inductor.utils import fresh_cache

    with TemporaryDirectory() as work, fresh_cache(dir=work, delete=False), torch.no_grad():
        program = _program(exported, precision)
        arguments, _ = program.example_inputs
        told = {**_names(exported.graph), "processor": " ".join(capabilities())}
        told["longest"] = str(exported.longest)
        options = {**_OPTIONS, **_without_paths(), "aot_inductor.metadata": told}
        # Casts of weights are so made once. In fp32 the packed products took 15.2 ms a text, not 12.7.
        options["freezing"] = precision != "fp32"
        files = aot_compile(program.module(), arguments, options=options)
        with part.open("w+b") as package:
            package_aoti(package, [file for file in files if file.endswith((".so", ".json"))])


_OPTIONS = {
    "aot_inductor.package": True,
    "aot_inductor.embed_kernel_binary": True,  # a GPU's kernels are in the library too, not beside it
    "aot_inductor.precompile_headers": False,  # they cost more than they save a single build
    "cpp.dynamic_threads": True,  # else the number of threads is compiled in
}


def _without_paths() -> dict[str, Any]:
    """Options that keep the names of the cache's files, which are temporary, out of the library."""
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    return {
        "aot_inductor.enable_line_tables": False,
        "aot_inductor.model_name_for_generated_files": "model",
        # The one option whose text reaches the compiler's command line as it is.
        "cpp.march": f"native -ffile-prefix-map={cache_dir()}=.",
    }


def _names(graph: Path) -> dict[str, str]:
    """The tensors' names in order: the program keeps those of its inputs, but not of its outputs. Those of
    the outputs that are as long as the batch are `ragged`."""
    from onnx import load

    network = load(graph, load_external_data=False).graph
    return {
        "inputs": " ".join(value.name for value in network.input),
        "outputs": " ".join(value.name for value in network.output),
        "ragged": " ".join(value.name for value in network.output if _is_ragged(value)),
    }


def _is_ragged(value: Any) -> bool:
    axes = value.type.tensor_type.shape.dim
    return len(axes) > 1 and not axes[1].HasField("dim_value")


def _no_cuda() -> str | None:
    import torch

    if torch.cuda.is_available():
        return None
    return machine.gpu_missing() or "no CUDA in this torch: install another"
