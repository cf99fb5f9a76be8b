"""Networks that write: built by onnxruntime-genai's model builder, with weights of 4 or 8 bits or in float32,
for a GPU also in float16, and run by onnxruntime.

Not by onnxruntime-genai itself: on a CPU its engine (0.18) begins with new texts when all that it writes have
ended. Knows how to build and open an engine file; leaves what is written when to `writing`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from perennial.engines._building import require_known, whole
from perennial.engines._onnx_sessions import cuda_missing
from perennial.engines._slots import CONFIG, TOKENIZER, Slots
from perennial.errors import Unavailable
from perennial.types import BackendSpec, Exported, Runtime
from perennial.writing.grammar import Grammars
from perennial.writing.session import WritingSession
from perennial.writing.writer import Writer

__all__ = ["GenAi"]

FILENAME = "model.onnx"
MOST_BYTES = 2**31 - 1
"""Of a file of protobuf."""


class GenAi:
    """`slots` texts are written at once, each with room for `length` tokens of prompt and answer; fewer where
    their keys and values would take more than `memory_mb`, of the GPU's memory with `device` "cuda". Other
    memory is taken as it is used."""

    repeats = True
    writes = True

    def __init__(
        self,
        slots: int = 16,
        length: int = 2048,
        memory_mb: int = 2048,
        device: Literal["cpu", "cuda"] = "cpu",
    ) -> None:
        self._room, self._device = (slots, length, memory_mb), device

    def available(self) -> str | None:
        missing = [
            name for name in ("onnxruntime_genai", "onnx", "torch", "transformers") if find_spec(name) is None
        ]
        if missing:
            return f"no {' and no '.join(missing)}: pip install 'perennial[genai]'"
        return self.runs_here()

    def runs_here(self) -> str | None:
        missing = [name for name in ("onnxruntime", "tokenizers") if find_spec(name) is None]
        if missing:
            return f"no {' and no '.join(missing)}: pip install 'perennial[onnxruntime]'"
        return cuda_missing() if self._device == "cuda" else None

    def precisions(self) -> tuple[str, ...]:
        return ("int4", "int8", "fp16" if self._device == "cuda" else "fp32")  # no GPU's kernels take fp32

    def build(self, exported: Exported, folder: Path, precision: str) -> Path:
        """`folder`/model.onnx, which holds the tokenizer too."""
        require_known(precision, self.precisions())
        with whole(folder / FILENAME) as part, tempfile.TemporaryDirectory() as scratch:
            made, ours = Path(scratch, "made"), precision == "int4" and self._device == "cpu"
            _call_the_builder(
                exported.decoder, made, "fp32" if ours else precision, self._device, Path(scratch, "cache")
            )
            _write_as_one(made, part, four_bits=ours)
        return folder / FILENAME

    def open(self, built: Path, threads: int) -> WritingSession:
        from tokenizers import Tokenizer

        slots = Slots(built, *self._room, threads, self._device == "cuda")
        decode = Tokenizer.from_str(slots.tokenizer).decode
        return WritingSession(Writer(slots, decode, Grammars(slots.tokenizer, slots.ends)))

    def triton(self, runtime: Runtime, threads: int) -> BackendSpec:
        return BackendSpec("python", FILENAME)


def _call_the_builder(checkpoint: Path, folder: Path, precision: str, device: str, cache: Path) -> None:
    command = [
        *(sys.executable, "-m", "onnxruntime_genai.models.builder", "-m", "hf", "-i", str(checkpoint)),
        *("-o", str(folder), "-p", precision, "-e", device, "-c", str(cache)),
        *("--extra_options", "hf_token=false", "prune_lm_head=true"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise Unavailable(f"onnxruntime-genai's builder makes no engine of this network: {reason[:300]}")


def _write_as_one(made: Path, file: Path, *, four_bits: bool) -> None:
    """One file of the graph, its weights, and what tells how to run it."""
    import onnx

    from perennial.engines._four_bits import in_four_bits

    graph = onnx.load(made / "model.onnx")
    if four_bits:  # the builder's agreed with the checkpoint in 73 % of next tokens where these do in 98
        in_four_bits(graph)
    if graph.ByteSize() > MOST_BYTES:
        raise Unavailable(
            f"the engine would take {graph.ByteSize() / 2**30:.1f} GB, and a file of ONNX holds 2; choose a "
            "smaller network"
        )
    told = {
        CONFIG: json.dumps(json.loads((made / "genai_config.json").read_text())),
        TOKENIZER: (made / "tokenizer.json").read_text("utf-8"),
    }
    onnx.helper.set_model_props(graph, told)
    # The builder adds the commit of whatever repository it is called in, be it this one or a user's.
    graph.producer_version = graph.producer_version.partition("+")[0]
    file.write_bytes(graph.SerializeToString(deterministic=True))
