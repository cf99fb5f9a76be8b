"""A language model of another backend of Triton's (`repository.llm`) as the writer of a session.

Each text is a question of its own to that model, which says itself who is written when.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from perennial.errors import BadRequest, Broken, Unavailable
from perennial.repository.layout import Release, stage_model
from perennial.repository.llm import BACKENDS
from perennial.types import Array, LlmName, Tensors, text_tensor
from perennial.writing.chat import Chat
from perennial.writing.grammar import grammar_of
from perennial.writing.request import Options
from perennial.writing.unfolding import BROKEN
from perennial.writing.writer import Asked, Piece, Why, require_room, unwatched

AT_ONCE = 256
ENDS: Mapping[str, Why] = {"stop": "stop", "length": "length"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _SoFar:
    """An answer that is being written, of which so many characters were `told`; see `Piece`."""

    text: str = ""
    told: int = 0
    why: Why | None = None
    written: int = 0
    likely: float = 0.0

    @property
    def new(self) -> str:
        return self.text[self.told :]

    def piece(self, why: Why | None) -> Piece:
        return Piece(self.new, why, self.written, self.likely)


class Elsewhere:
    """See `writing.session.Writer`."""

    def __init__(self, release: Release, folder: Path) -> None:
        self.length = BACKENDS[release.llm].room(release.llm_options)
        self.watch: Callable[[int, int], None] = unwatched
        self._model, self._version = stage_model(release.service, "llm"), release.release
        self._name = release.llm
        self._tokenizer = Chat.read(folder).tokenizer
        self._begins = self._tokenizer.encode("").ids
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="llm")
        self._writing = 0
        self._turn = threading.Lock()

    def submit(self, asked: Asked) -> None:
        """Raises `BadRequest` for what this backend does not take, and `Unavailable` where it writes too
        much already."""
        require_room(asked.tokens, self.length)
        question = _QUESTIONS[self._name](self._prompt([*asked.tokens]), asked.how)
        if not self._count(1):
            raise Unavailable(f"{AT_ONCE} texts wait to be written already; ask again in a few seconds")
        self._pool.submit(self._write, question, asked)

    def close(self) -> None:
        self._pool.shutdown()

    def _prompt(self, tokens: list[int]) -> str:
        """Without the tokens that every text begins with: the backend puts them there itself."""
        begins = self._begins if tokens[: len(self._begins)] == self._begins else []
        return str(self._tokenizer.decode(tokens[len(begins) :], skip_special_tokens=False))

    def _count(self, change: int) -> bool:
        with self._turn:
            if self._writing + change > AT_ONCE:
                return False
            self._writing += change
            self.watch(self._writing, 0)
            return True

    def _write(self, question: Tensors, asked: Asked) -> None:
        try:
            last = self._tell(question, asked)
        except Exception:
            _log.exception("a text could not be written by %s", self._model)
            last = Piece("", "failed", 0, 0.0)
        self._count(-1)
        asked.tell(last)

    def _tell(self, question: Tensors, asked: Asked) -> Piece:
        """The pieces as they come, but for the last one, which is the answer."""
        so_far = _SoFar()
        answers = self._ask(question)
        for said in answers:
            so_far = _READ[self._name](so_far, said, self._tokens)
            if asked.gone():
                answers.close()
                return so_far.piece("cancelled")
            if so_far.why is None and so_far.new and not so_far.text.endswith(BROKEN):
                asked.tell(so_far.piece(None))
                so_far = replace(so_far, told=len(so_far.text))
        return so_far.piece(so_far.why or "failed")

    def _ask(self, question: Tensors) -> Generator[Tensors, None, None]:
        """Closed early, it takes the question back where this Triton can."""
        request = pb_utils.InferenceRequest(
            model_name=self._model,
            model_version=self._version,
            inputs=[pb_utils.Tensor(name, array) for name, array in question.items()],
            requested_output_names=[spec.name for spec in BACKENDS[self._name].outputs],
        )
        responses = request.exec(decoupled=True)
        try:
            for response in responses:
                if response.has_error():
                    raise Broken(response.error().message())
                if tensors := response.output_tensors():  # the last one may hold none
                    yield {tensor.name(): tensor.as_numpy() for tensor in tensors}
        except GeneratorExit:
            if hasattr(responses, "cancel"):  # of later Tritons than the wheel's
                responses.cancel()
            for _ in responses:
                pass
            raise

    def _tokens(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)


def _of_vllm(prompt: str, how: Options) -> Tensors:
    told: dict[str, Any] = {
        "max_tokens": how.max_tokens,
        "temperature": how.temperature,
        "top_p": how.top_p,
        "top_k": how.top_k or -1,
        "repetition_penalty": how.repetition_penalty,
        "seed": how.seed,
        "stop": [*how.stop],
        "logprobs": 0,  # without them it adds up none
    }
    if how.schema:
        grammar_of(how.schema)  # or what is wrong with it would fail there
        told["structured_outputs"] = json.dumps({"json": json.loads(how.schema)})
    return {
        "text_input": _strings(prompt),
        "sampling_parameters": _strings(json.dumps(told)),
        **dict.fromkeys(
            (
                *("stream", "exclude_input_in_output", "return_finish_reason"),
                *("return_cumulative_logprob", "return_num_output_tokens"),
            ),
            np.array([True]),
        ),
    }


def _of_trtllm(prompt: str, how: Options) -> Tensors:
    for name in ("stop", "repetition_penalty", "schema"):
        if getattr(how, name) != getattr(Options(), name):
            raise BadRequest(f"TensorRT-LLM's backend takes no {name}; leave it out")
    return {
        "text_input": _strings(prompt),
        "sampling_param_max_tokens": np.array([how.max_tokens], np.int32),
        "sampling_param_temperature": np.array([how.temperature or 1.0], np.float32),
        "sampling_param_top_k": np.array([how.top_k if how.temperature else 1], np.int32),
        "sampling_param_top_p": np.array([how.top_p], np.float32),
        "sampling_param_seed": np.array([how.seed], np.uint64),
        **dict.fromkeys(
            ("streaming", "sampling_param_exclude_input_from_output", "return_finish_reason"),
            np.array([True]),
        ),
    }


def _read_vllm(so_far: _SoFar, said: Tensors, tokens: Callable[[str], int]) -> _SoFar:  # noqa: ARG001
    """It tells what is new."""
    written = so_far.written + int(said["num_output_tokens"].ravel()[0])
    told = float(said["cumulative_logprob"].ravel()[0])
    likely = 0.0 if math.isnan(told) else math.exp(told / max(1, written))
    return replace(
        so_far,
        text=so_far.text + _string(said, "text_output"),
        why=ENDS.get(_string(said, "finish_reason")),
        written=written,
        likely=likely,
    )


def _read_trtllm(so_far: _SoFar, said: Tensors, tokens: Callable[[str], int]) -> _SoFar:
    """It tells all so far, and neither how many tokens that is nor how likely they were."""
    text = _string(said, "text_output")
    return replace(so_far, text=text, why=ENDS.get(_string(said, "finish_reason")), written=tokens(text))


_QUESTIONS: Mapping[LlmName, Callable[[str, Options], Tensors]] = {"vllm": _of_vllm, "trtllm": _of_trtllm}
_READ: Mapping[LlmName, Callable[[_SoFar, Tensors, Callable[[str], int]], _SoFar]] = {
    "vllm": _read_vllm,
    "trtllm": _read_trtllm,
}


def _strings(text: str) -> Array:
    values: Array = text_tensor([text])[0]
    return values


def _string(said: Tensors, name: str) -> str:
    values: Any = said[name].ravel()
    return str(values[0], "utf-8") if isinstance(values[0], bytes) else str(values[0])
