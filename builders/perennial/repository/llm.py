"""Triton's backends for language models, which may write in the place of an engine of ours: what each takes
and tells, and the files that it wants beside a release's checkpoint.

Read off their sources: vllm_backend, and TensorRT-LLM's `triton_backend/all_models/llmapi`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perennial.types import LlmName, TensorSpec

LENGTH = 2048
"""Tokens of prompt and answer, unless set."""
SHARE = 0.3
"""Of a GPU's memory, unless set: the release that serves, the one before it and a candidate must fit."""
CHECKPOINT = "checkpoint"

_ASKED = (
    TensorSpec("text_input", "BYTES", (1,)),
    TensorSpec("return_finish_reason", "BOOL", (1,), optional=True),
)
_TOLD = (TensorSpec("text_output", "BYTES", (-1,)), TensorSpec("finish_reason", "BYTES", (-1,)))


@dataclass(frozen=True)
class Backend:
    """`filename` is Triton's `default_model_filename`, and `kind` that of the model's instance, which the
    backend places on the GPU itself. `settings` is the file of its own settings, which hold `defaults` and,
    by the name `length`, how many tokens prompt and answer have room for."""

    backend: str
    filename: str
    kind: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    settings: str
    length: str
    defaults: Mapping[str, Any]
    files: Mapping[str, str]

    def texts(self, version: Path, options: Mapping[str, Any]) -> dict[str, str]:
        """The files beside the checkpoint in a `version` folder, as the server will see it. JSON, which is
        YAML as well."""
        told: dict[str, Any] = {"model": str(version / CHECKPOINT), self.length: LENGTH, **self.defaults}
        for name, value in options.items():
            told[name] = {**told.get(name, {}), **value} if isinstance(value, dict) else value
        return {self.settings: json.dumps(told, indent=2) + "\n", **self.files}

    def room(self, options: Mapping[str, Any]) -> int:
        return int(options.get(self.length, LENGTH))


_TRTLLM_FOLDER = "/app/all_models/llmapi/tensorrt_llm/1"
"""Where NVIDIA's image has the model that we run."""

BACKENDS: Mapping[LlmName, Backend] = {
    "vllm": Backend(
        "vllm",
        "",
        "KIND_MODEL",
        (
            *_ASKED,
            TensorSpec("stream", "BOOL", (1,), optional=True),
            TensorSpec("exclude_input_in_output", "BOOL", (1,), optional=True),
            TensorSpec("sampling_parameters", "BYTES", (1,), optional=True),
            TensorSpec("return_cumulative_logprob", "BOOL", (1,), optional=True),
            TensorSpec("return_num_output_tokens", "BOOL", (1,), optional=True),
        ),
        (
            *_TOLD,
            TensorSpec("cumulative_logprob", "FP32", (-1,)),
            TensorSpec("num_output_tokens", "UINT32", (-1,)),
        ),
        "model.json",
        "max_model_len",
        {"gpu_memory_utilization": SHARE},
        {},
    ),
    "trtllm": Backend(
        "python",
        "trtllm.py",
        "KIND_CPU",
        (
            *_ASKED,
            TensorSpec("streaming", "BOOL", (1,), optional=True),
            TensorSpec("sampling_param_max_tokens", "INT32", (1,), optional=True),
            TensorSpec("sampling_param_temperature", "FP32", (1,), optional=True),
            TensorSpec("sampling_param_top_k", "INT32", (1,), optional=True),
            TensorSpec("sampling_param_top_p", "FP32", (1,), optional=True),
            TensorSpec("sampling_param_seed", "UINT64", (1,), optional=True),
            TensorSpec("sampling_param_exclude_input_from_output", "BOOL", (1,), optional=True),
        ),
        _TOLD,
        "model.yaml",
        "max_seq_len",
        {
            "backend": "pytorch",
            "kv_cache_config": {"free_gpu_memory_fraction": SHARE},
            "triton_config": {"max_batch_size": 0, "decoupled": True},
        },
        {
            "trtllm.py": "import sys\n\n"
            f'sys.path.insert(0, "{_TRTLLM_FOLDER}")\n\n'
            "from model import TritonPythonModel as TritonPythonModel\n"
        },
    ),
}
