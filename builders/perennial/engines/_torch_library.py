"""A package that AOTInductor compiled, opened and called by the C interface of the library inside it.

Leaves what the package is of, and on which threads it runs, to `torch`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile


def capabilities() -> list[str]:
    """torch's names of this processor's instruction sets."""
    import torch

    return sorted(name for name, has in torch.cpu.get_capabilities().items() if has is True)


def load(built: Path, together: int) -> tuple[Library, dict[str, str]]:
    """The library, and what was told of it, from a copy that is gone when this returns."""
    import torch

    told: dict[str, str] = torch._C._aoti.AOTIModelPackageLoader.load_metadata_from_package(
        str(built), "model"
    )
    lacking = set(told["processor"].split()) - set(capabilities())
    if lacking:  # an unknown instruction would end the whole server, not the call
        raise RuntimeError(f"it needs a processor with {', '.join(sorted(lacking))}")
    with TemporaryDirectory() as unpacked:
        ZipFile(built).extractall(unpacked)
        (path,) = Path(unpacked).rglob("*.so")
        return Library(path, told["AOTI_DEVICE_KEY"], together), told


class Library:
    """By its C interface (torch/csrc/inductor/aoti_runtime/interface.h). torch's own loader holds Python's
    lock while it runs: two callers took as long as one after the other, and no other thread went on."""

    def __init__(self, path: Path, device: str, together: int) -> None:
        self._functions = ctypes.CDLL(str(path))
        self._container = ctypes.c_void_p()
        made = ctypes.byref(self._container)
        self._call("CreateWithDevice", made, ctypes.c_size_t(together), device.encode(), None)

    def run(self, tensors: Sequence[Any], outputs: int, stream: int | None = None) -> list[Any]:
        """On the GPU's default stream, or on one that may be recording: the usual call asks the GPU whether
        earlier runs have ended, which no recording allows; `stream` is for one caller at a time."""
        from torch._C import _aoti

        handles = _aoti.unsafe_alloc_void_ptrs_from_tensors(list(tensors))
        taken = [_pointer(handle, None) for handle in handles]
        given = (ctypes.c_void_p * outputs)()
        counts = ctypes.c_size_t(len(taken)), ctypes.c_size_t(outputs)
        asked = (ctypes.c_void_p * len(taken))(*taken)
        name = "Run" if stream is None else "RunSingleThreaded"
        on = ctypes.c_void_p(stream)
        self._call(name, self._container, asked, counts[0], given, counts[1], on, None)
        made = [_handle(pointer, None, None) for pointer in given]
        found: list[Any] = _aoti.alloc_tensors_by_stealing_from_void_ptrs(made)
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
