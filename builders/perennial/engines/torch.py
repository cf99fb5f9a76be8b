"""The traced program compiled ahead of time by AOTInductor: for the GPU if there is one, else the processor.

Knows how to build and open a package of one compiled library, which holds its weights. Leaves what flows
through it to the task, and which precision is good enough to the gates.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import warnings
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from perennial.engines._building import require_known, whole
from perennial.errors import Broken
from perennial.types import BackendSpec, Exported, Runtime, Tensors

__all__ = ["Torch"]

FILENAME = "model.pt2"

_NATIVE_BF16 = ("amx_bf16", "avx512_bf16", "bf16")
"""torch's names of what a processor must have; the last is Arm's. Others emulate bf16, slower than fp32."""


class Torch:
    """Half precision is torch's own autocast: matrix products in it, softmax and norms in fp32."""

    repeats = True

    def available(self) -> str | None:
        missing = [name for name in ("torch", "onnx") if find_spec(name) is None]
        if missing:
            return f"no {' and no '.join(missing)}: pip install 'perennial[train]'"
        compiler = os.environ.get("CXX", "g++")  # the one that torch calls
        if shutil.which(compiler) is None:
            return f"no C++ compiler {compiler}: apt install g++, or name another in CXX"
        return None

    def runs_here(self) -> str | None:
        return None if find_spec("torch") else "no torch: pip install 'perennial[train]'"

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
        return TorchSession(built, threads)

    def triton(self, runtime: Runtime, threads: int) -> BackendSpec:
        """Our stage opens the file everywhere: Triton's PyTorch backend reads TorchScript, and where a newer
        one reads such packages (platform torch_aoti), not with the torch that compiled them."""
        return BackendSpec("python", FILENAME)


class TorchSession:
    """Callers run at once, as many as there are cores for. Each computes on its own OpenMP threads, and how
    many is a setting of the calling thread."""

    def __init__(self, built: Path, threads: int) -> None:
        # OpenMP reads it as torch loads. Its threads spin for each other else: beside one busy process a text
        # on two took 260 ms in place of 20.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        import torch

        self._torch = torch
        self._threads = threads
        together = max(1, len(os.sched_getaffinity(0)) // threads)  # one that comes meanwhile waits
        try:
            self._library, told = _load(built, together)
        except (RuntimeError, OSError, BadZipFile) as error:
            said = str(error).partition("\n")[0]  # C++ frames follow
            raise Broken(f"{built} does not open: {said}; build the release again") from error
        self._inputs, self._outputs = told["inputs"].split(), told["outputs"].split()
        self._device = told["AOTI_DEVICE_KEY"]

    def run(self, tensors: Tensors) -> Tensors:
        asked = [self._tensor(tensors[name]) for name in self._inputs]
        before = self._torch.get_num_threads()
        self._torch.set_num_threads(self._threads)
        try:
            given = self._library.run(asked, len(self._outputs))
        finally:
            self._torch.set_num_threads(before)
        return {name: tensor.float().cpu().numpy() for name, tensor in zip(self._outputs, given, strict=True)}

    def close(self) -> None:
        self._library.close()

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
        told = {**_names(exported.graph), "processor": " ".join(_capabilities())}
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
    """The tensors' names in order: the program keeps those of its inputs, but not of its outputs."""
    from onnx import load

    network = load(graph, load_external_data=False).graph
    return {
        "inputs": " ".join(value.name for value in network.input),
        "outputs": " ".join(value.name for value in network.output),
    }


def _capabilities() -> list[str]:
    """torch's names of this processor's instruction sets."""
    import torch

    return sorted(name for name, has in torch.cpu.get_capabilities().items() if has is True)


def _load(built: Path, together: int) -> tuple[_Library, dict[str, str]]:
    """The library, and what was told of it, from a copy that is gone when this returns."""
    import torch

    told: dict[str, str] = torch._C._aoti.AOTIModelPackageLoader.load_metadata_from_package(
        str(built), "model"
    )
    lacking = set(told["processor"].split()) - set(_capabilities())
    if lacking:  # an unknown instruction would end the whole server, not the call
        raise RuntimeError(f"it needs a processor with {', '.join(sorted(lacking))}")
    with TemporaryDirectory() as unpacked:
        ZipFile(built).extractall(unpacked)
        (path,) = Path(unpacked).rglob("*.so")
        return _Library(path, told["AOTI_DEVICE_KEY"], together), told


class _Library:
    """By its C interface (torch/csrc/inductor/aoti_runtime/interface.h). torch's own loader holds Python's
    lock while it runs: two callers took as long as one after the other, and no other thread went on."""

    def __init__(self, path: Path, device: str, together: int) -> None:
        self._functions = ctypes.CDLL(str(path))
        self._container = ctypes.c_void_p()
        made = ctypes.byref(self._container)
        self._call("CreateWithDevice", made, ctypes.c_size_t(together), device.encode(), None)

    def run(self, tensors: list[Any], outputs: int) -> list[Any]:
        from torch._C import _aoti

        taken = [_pointer(handle, None) for handle in _aoti.unsafe_alloc_void_ptrs_from_tensors(tensors)]
        given = (ctypes.c_void_p * outputs)()
        counts = ctypes.c_size_t(len(taken)), ctypes.c_size_t(outputs)
        asked = (ctypes.c_void_p * len(taken))(*taken)
        self._call("Run", self._container, asked, counts[0], given, counts[1], None, None)
        handles = [_handle(pointer, None, None) for pointer in given]
        found: list[Any] = _aoti.alloc_tensors_by_stealing_from_void_ptrs(handles)
        return found

    def close(self) -> None:
        """Frees the weights; the code stays mapped until the process ends (its symbols are GNU unique)."""
        self._call("Delete", self._container)

    def _call(self, name: str, *arguments: Any) -> None:
        if getattr(self._functions, f"AOTInductorModelContainer{name}")(*arguments):
            raise RuntimeError(f"AOTInductorModelContainer{name} failed, and said why on the standard error")


_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_handle = ctypes.pythonapi.PyCapsule_New
_handle.restype, _handle.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
