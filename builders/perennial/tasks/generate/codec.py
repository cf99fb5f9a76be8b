"""What `generate` says on the wire: a conversation to token ids, and the pieces of its answer.

Knows the template and the tokenizer of one release. Leaves the writing to the engine, which gives text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import NoReturn

import numpy as np

from perennial.encoders.asked import check_text
from perennial.encoders.tokens import padded
from perennial.errors import BadRequest
from perennial.types import Array, Example, Scores, Signature, Tensors, TensorSpec, text_tensor
from perennial.writing.chat import FILES, Chat
from perennial.writing.overlap import overlap
from perennial.writing.request import Request

__all__ = ["GenerateCodec"]

LONGEST = 2048
NO_HEAD = "a service that generates has no head: it learns in rebuilds"
PLACES = 6
"""Within an answer, at which engines are asked for the next token."""


class GenerateCodec:
    """Reads the tokenizer, and `chat.json` {template, special}.

    TEXT is what a user says, messages as JSON, or an object of `messages` or a `prompt` with options
    (`writing.request`). With STREAM an answer comes in pieces, whose last one has a FINISH_REASON.
    """

    FILES = FILES
    signature = Signature(
        request=(TensorSpec("TEXT", "BYTES", (1,)), TensorSpec("STREAM", "BOOL", (1,), optional=True)),
        engine_in=(
            TensorSpec("input_ids", "INT64", (-1,)),
            TensorSpec("attention_mask", "INT64", (-1,)),
            TensorSpec("options", "BYTES", (1,)),
        ),
        carried=(),
        engine_out=(
            TensorSpec("piece", "BYTES", (1,)),
            TensorSpec("finish", "BYTES", (1,)),
            TensorSpec("likely", "FP32", (1,)),
            TensorSpec("tokens", "INT32", (2,)),
        ),
        answer=(
            TensorSpec("COMPLETION", "BYTES", (1,)),
            TensorSpec("FINISH_REASON", "BYTES", (1,)),
            TensorSpec("SCORE", "FP32", (1,)),
            TensorSpec("TOKENS", "INT32", (2,)),
        ),
        streams=True,
    )
    feature_size = outputs = 0
    classes: tuple[str, ...] = ()
    told_apart: tuple[str, ...] = ()
    balance = 0.0
    longest = LONGEST

    def __init__(self, folder: Path) -> None:
        self._chat = Chat.read(folder)

    def check(self, request: Tensors) -> None:
        for place, raw in enumerate(request["TEXT"].ravel()):
            check_text(place, raw)
            self._chat.prompt(Request.read(str(raw, "utf-8")))

    def encode(self, requests: Sequence[Tensors]) -> list[Tensors]:
        return [self._encoded(request) for request in requests]

    def decode(self, requests: Sequence[Tensors], outputs: Sequence[Tensors]) -> list[Tensors]:  # noqa: ARG002
        return [
            {
                "COMPLETION": output["piece"],
                "FINISH_REASON": output["finish"],
                "SCORE": output["likely"],
                "TOKENS": output["tokens"],
            }
            for output in outputs
        ]

    def score(self, answers: Sequence[Tensors], examples: Sequence[Example]) -> Scores:
        """How much of the wanted words is answered, and the other way round: `overlap`."""
        alike = [
            overlap(said, example.label)
            for (said, _), example in zip(self.told(answers), examples, strict=True)
        ]
        correct: Array = np.array(alike)
        return Scores({"overlap": float(correct.mean()), "exact": float((correct == 1.0).mean())}, correct)

    def told(self, answers: Sequence[Tensors]) -> list[tuple[str, float]]:
        return [
            (str(raw, "utf-8"), float(score))
            for answer in answers
            for raw, score in zip(answer["COMPLETION"].ravel(), answer["SCORE"].ravel(), strict=True)
        ]

    def probes(self, examples: Sequence[Example]) -> list[Example]:
        """The next token at some places of each answer. Of whole answers those of two engines soon differ, if
        they differ anywhere; what differs then is no measure of how much."""
        found = []
        for example in examples:
            asked, ids = (
                Request.read(example.text),
                self._chat.tokenizer.encode(example.label, add_special_tokens=False).ids,
            )
            places = range(1, len(ids))
            for place in sorted(Random(example.text).sample(places, min(PLACES, len(places)))):
                begun, more = (self._chat.tokenizer.decode(ids[:end]) for end in (place, place + 1))
                if more.startswith(begun) and begun.strip():
                    text, label = asked.going_on(begun, 1).text, more[len(begun) :]
                    found.append(replace(example, text=text, label=label))
        return found

    def confusion(self, answers: Sequence[Tensors], examples: Sequence[Example]) -> Array:  # noqa: ARG002
        return np.zeros((0, 0), int)

    def evidence(self, outputs: Sequence[Tensors], examples: Sequence[Example]) -> NoReturn:  # noqa: ARG002
        raise BadRequest(NO_HEAD)

    def columns(self, example: Example) -> NoReturn:  # noqa: ARG002
        raise BadRequest(NO_HEAD)

    def choice(self, output: Tensors) -> NoReturn:  # noqa: ARG002
        raise BadRequest(NO_HEAD)

    def take_head(self, weights: Array | None) -> None:
        """None there is: only a release with features gets one."""

    def _encoded(self, request: Tensors) -> Tensors:
        asked = [Request.read(str(raw, "utf-8")) for raw in request["TEXT"].ravel()]
        rows = [self._chat.tokens(one) for one in asked]
        ids, mask = padded(rows, pad_id=0)
        streams = request.get("STREAM", np.zeros(len(rows), bool)).ravel()
        told = [
            one.options.streaming(bool(wanted)).written for one, wanted in zip(asked, streams, strict=True)
        ]
        return {"input_ids": ids, "attention_mask": mask, "options": text_tensor(told)}
