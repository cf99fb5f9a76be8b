"""What Triton's backends for language models take and tell, spoken by the checkpoint on torch: vLLM and
TensorRT-LLM want a GPU. As far as their sources go, and no further."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from perennial import plugins
from perennial.types import Tensors, text_tensor
from perennial.writing.request import Options

PACE = 0.01
"""Seconds for a token, or a model this small has written all before a test can look."""


@dataclass(frozen=True)
class _Said:
    """All so far, what of it is new, why it ended or None; tokens, new ones, and how likely all are."""

    text: str
    new: str
    why: str
    tokens: int
    fresh: int
    likely: float


class _Standin:
    settings: str
    length: str

    def initialize(self, args: Mapping[str, str]) -> None:
        told = json.loads(Path(args["model_repository"], args["model_version"], self.settings).read_text())
        assert told[self.length] > 0
        task = plugins.get("tasks/generate", "train")()
        self._model = task.load(Path(told["model"]), [])
        self._session = task.session(self._model)

    def execute(self, requests: Sequence[Any]) -> None:
        for request in requests:
            asked = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            sender = request.get_response_sender()
            prompt = str(asked["text_input"][0], "utf-8")
            ids = self._model.chat.tokenizer.encode(prompt, add_special_tokens=False).ids
            own = {
                "input_ids": np.array([ids]),
                "attention_mask": np.ones((1, len(ids)), int),
                "options": text_tensor([self.options(asked).streaming(True).written]),
            }
            self._session.write(own, self._teller(sender), sender.is_cancelled)

    def finalize(self) -> None:
        self._session.close()

    def options(self, asked: Tensors) -> Options:
        raise NotImplementedError

    def outputs(self, said: _Said) -> Tensors:
        raise NotImplementedError

    def _teller(self, sender: Any) -> Callable[[Tensors | Exception, bool], None]:
        before = _Said("", "", "", 0, 0, 0.0)

        def tell(pieces: Tensors | Exception, last: bool) -> None:
            nonlocal before
            assert not isinstance(pieces, Exception)
            time.sleep(PACE)
            new, why = (str(pieces[name].item(), "utf-8") for name in ("piece", "finish"))
            tokens, likely = int(pieces["tokens"][0, 1]), pieces["likely"].item()
            before = _Said(before.text + new, new, why or "None", tokens, tokens - before.tokens, likely)
            tensors = [pb_utils.Tensor(name, array) for name, array in self.outputs(before).items()]
            response = pb_utils.InferenceResponse(tensors)
            sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if last else 0)

        return tell


class Vllm(_Standin):
    settings, length = "model.json", "max_model_len"

    def options(self, asked: Tensors) -> Options:
        told = json.loads(str(asked["sampling_parameters"][0], "utf-8"))
        assert told.pop("logprobs") == 0
        told["top_k"] = max(told["top_k"], 0)
        schema = json.loads(told.pop("structured_outputs", "{}")).get("json")
        wanted = "" if schema is None else json.dumps(schema)
        return Options(**{**told, "stop": tuple(told["stop"]), "schema": wanted})

    def outputs(self, said: _Said) -> Tensors:
        return {
            "text_output": text_tensor([said.new])[0],
            "finish_reason": text_tensor([said.why])[0],
            "cumulative_logprob": np.array([np.log(said.likely) * said.tokens], np.float32),
            "num_output_tokens": np.array([said.fresh], np.uint32),
        }


class TensorRtLlm(_Standin):
    settings, length = "model.yaml", "max_seq_len"

    def options(self, asked: Tensors) -> Options:
        told = {
            name.removeprefix("sampling_param_"): array.item()
            for name, array in asked.items()
            if name.startswith("sampling_param_")
        }
        assert told.pop("exclude_input_from_output")
        greedy = told["top_k"] == 1
        return Options(**{**told, "temperature": 0.0 if greedy else told["temperature"]})

    def outputs(self, said: _Said) -> Tensors:
        return {"text_output": text_tensor([said.text])[0], "finish_reason": text_tensor([said.why])[0]}
