"""Runs a plan on the first GPU, numpy in and out. Knows CUDA memory; leaves making plans to `_tensorrt`."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from perennial.engines import _tensorrt
from perennial.errors import BadRequest, Broken
from perennial.types import Array, Tensors


class PlanSession:
    """One execution context, which runs one batch at a time: threads that share the session take turns.

    Raises `Unavailable` without a GPU, `Broken` where the file is no plan of this library and GPU.
    """

    def __init__(self, library: Any, built: Path) -> None:
        _tensorrt.require_gpu()
        from polygraphy.cuda import DeviceArray, Stream

        self._said: list[str] = []
        self._runtime = library.Runtime(_tensorrt.logger(library, self._said))
        self._runtime.engine_host_code_allowed = True  # in version-compatible plans; a manifest hashes them
        self._engine = self._runtime.deserialize_cuda_engine(built.read_bytes())
        if self._engine is None:
            said = _tensorrt.last_words(self._said)
            raise Broken(f"{built} does not open: {said}; build the release again")
        self._context = self._engine.create_execution_context()
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        types = {name: np.dtype(library.nptype(self._engine.get_tensor_dtype(name))) for name in names}
        self._buffers = {name: DeviceArray(dtype=types[name]) for name in names}
        output = library.TensorIOMode.OUTPUT
        self._outputs = {name: types[name] for name in names if self._engine.get_tensor_mode(name) == output}
        self._stream = Stream()
        self._turn = Lock()

    def run(self, tensors: Tensors) -> Tensors:
        with self._turn:
            given = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
            for name, array in given.items():
                self._give(name, array)
            answers = {name: self._room(name, dtype) for name, dtype in self._outputs.items()}
            if not self._context.execute_async_v3(self._stream.ptr):
                raise Broken(f"the plan does not run: {_tensorrt.last_words(self._said)}")
            for name, answer in answers.items():
                self._buffers[name].copy_to(answer, self._stream)
            self._stream.synchronize()
        return answers

    def close(self) -> None:
        for buffer in self._buffers.values():
            buffer.free()
        self._stream.free()
        del self._context, self._engine, self._runtime

    def _give(self, name: str, array: Array) -> None:
        if not self._context.set_input_shape(name, array.shape):
            raise BadRequest(f"{name} of shape {array.shape} is outside of what the plan was built for")
        buffer = self._buffers[name]
        buffer.resize(array.shape)
        buffer.copy_from(array, self._stream)
        self._context.set_tensor_address(name, buffer.ptr)

    def _room(self, name: str, dtype: Any) -> Array:
        """An array for an output, whose shape follows from those of the inputs."""
        answer = np.empty(tuple(self._context.get_tensor_shape(name)), dtype)
        self._buffers[name].resize(answer.shape)
        self._context.set_tensor_address(name, self._buffers[name].ptr)
        return answer
