"""A decoder with room for many texts: its keys and values stay where they are, and each run adds to them.

For ONNX graphs whose attention is `GroupQueryAttention` (an operator of onnxruntime's own), as the builder
of onnxruntime-genai exports them: it takes from the mask how long each row's text is, and may have one buffer
for what was and what is, so that a run copies nothing. A row of the buffers is a slot; a run takes slots that
stand together, and is told their addresses: onnxruntime has no view of a part of what is on a GPU.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from perennial import machine
from perennial.engines._onnx_sessions import broken, open_file
from perennial.errors import ConfigError
from perennial.types import Array

CONFIG, TOKENIZER = "genai_config", "tokenizer"
"""What an engine file says of itself: JSON in the metadata of its graph."""


class Slots:
    def __init__(
        self, built: Path, slots: int, length: int, memory_mb: int, threads: int, cuda: bool = False
    ) -> None:
        """Room for up to `slots` texts of `length` tokens each, no more than `memory_mb` holds."""
        self._session = open_file(built, threads, cuda)
        known = self._session.get_modelmeta().custom_metadata_map
        try:
            model, self.tokenizer = json.loads(known[CONFIG])["model"], known[TOKENIZER]
            inputs, outputs = (model["decoder"][of] for of in ("inputs", "outputs"))
            kind = _kind(self._session, inputs["past_key_names"] % 0)
        except KeyError as error:
            raise broken(built, error) from None
        decoder, ends = model["decoder"], model["eos_token_id"]
        self.ends: Collection[int] = frozenset(ends if isinstance(ends, list) else [ends])
        self.length = min(length, model["context_length"])
        layers, heads, size = (
            decoder[name] for name in ("num_hidden_layers", "num_key_value_heads", "head_size")
        )
        bytes_each = 2 * layers * heads * size * self.length * kind.itemsize
        self.slots = min(slots, memory_mb * 2**20 // bytes_each)
        if not self.slots:
            raise ConfigError(
                f"memory_mb {memory_mb} holds no text of {self.length} tokens, which takes "
                f"{bytes_each / 2**20:,.0f} MB; raise it, or lower length"
            )
        keep = _OnGpu if cuda else _InMemory
        self._kept = {
            (inputs[f"past_{part}_names"] % layer, outputs[f"present_{part}_names"] % layer): keep(
                np.zeros((self.slots, heads, self.length, size), kind)
            )
            for layer in range(layers)
            for part in ("key", "value")
        }
        self._bound: dict[tuple[int, int], Any] = {}
        """Of the slots from one on, so many: where their keys and values are."""

    def read(self, slot: int, tokens: Sequence[int], place: int) -> Array:
        mask = np.ones((1, place + len(tokens)), np.int64)
        said: Array = self._run(np.array([tokens], np.int64), mask, slot)[0]
        return said

    def step(self, tokens: Sequence[int], places: Sequence[int]) -> Array:
        mask = np.arange(max(places) + 1) <= np.array(places)[:, None]
        asked = np.array(tokens, np.int64)[:, None]
        return self._run(asked, mask.astype(np.int64), 0)

    def move(self, source: int, target: int, length: int) -> None:
        for kept in self._kept.values():
            kept.move(source, target, length)

    def close(self) -> None:
        self._bound.clear()
        del self._session
        self._kept.clear()

    def _run(self, tokens: Array, mask: Array, first: int) -> Array:
        """The logits (rows, vocabulary) after the last token of each: rows are the slots from `first` on."""
        rows = first, len(tokens)
        bound = self._bound[rows] = self._bound.get(rows) or self._bind(*rows)
        bound.bind_cpu_input("input_ids", tokens)
        bound.bind_cpu_input("attention_mask", mask)
        bound.bind_output("logits")
        self._session.run_with_iobinding(bound)
        return np.asarray(bound.get_outputs()[-1].numpy()[:, -1], np.float32)

    def _bind(self, first: int, count: int) -> Any:
        """Done once: for a small network it takes a twentieth of a run."""
        bound = self._session.io_binding()
        for (past, present), kept in self._kept.items():
            same = kept.device, 0, kept.kind, (count, *kept.shape), kept.address(first)
            bound.bind_input(past, *same)
            bound.bind_output(present, *same)
        return bound


class _InMemory:
    """The keys or the values of all slots, from `zeros` (slots, heads, length, size) on."""

    device = "cpu"

    def __init__(self, zeros: Array) -> None:
        self._array = zeros
        self.kind, self.shape = zeros.dtype, zeros.shape[1:]

    def address(self, slot: int) -> int:
        return int(self._array[slot].ctypes.data)

    def move(self, source: int, target: int, length: int) -> None:
        self._array[target, :, :length] = self._array[source, :, :length]


class _OnGpu:
    device = "cuda"

    def __init__(self, zeros: Array) -> None:
        from onnxruntime import OrtValue

        self._value = OrtValue.ortvalue_from_numpy(zeros, self.device, 0)
        self.kind, self.shape = zeros.dtype, zeros.shape[1:]
        self._begins, self._size = int(self._value.data_ptr()), int(zeros[0].nbytes)

    def address(self, slot: int) -> int:
        return self._begins + slot * self._size

    def move(self, source: int, target: int, length: int) -> None:  # a slot lies in one piece
        machine.copy_on_gpu(self.address(source), self.address(target), self._size)


def _kind(session: Any, name: str) -> np.dtype[Any]:
    """Of the numbers that a graph takes by this name."""
    taken = {one.name: one.type for one in session.get_inputs()}
    return np.dtype({"tensor(float)": np.float32, "tensor(float16)": np.float16}[taken[name]])
