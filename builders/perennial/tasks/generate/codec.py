"""What `generate` says on the wire: a conversation to token ids, and the pieces of its answer.

Knows the template and the tokenizer of one release. Leaves the writing to the engine, which gives text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import NoReturn

import numpy as np

from perennial.encoders.asked import check_text
from perennial.encoders.tokens import padded
from perennial.errors import BadRequest
from perennial.types import Array, Example, FeedbackRow, Scores, Signature, Tensors, TensorSpec, text_tensor
from perennial.writing.chat import FILES, Chat
from perennial.writing.examples import Examples
from perennial.writing.meaning import MEANING, Meaning
from perennial.writing.request import Request
from perennial.writing.wanted import Wanted

__all__ = ["GenerateCodec"]

LONGEST = 2048
NO_HEAD = "a service that generates has no head: it learns in rebuilds"
PLACES = 6
"""Within an answer, at which engines are asked for the next token."""


class GenerateCodec:
    """Reads the tokenizer, and `chat.json` {template, special}.

    TEXT is what a user says, messages as JSON, or an object of `messages` or a `prompt` with options
    (`writing.request`). With STREAM an answer comes in pieces, whose last one has a FINISH_REASON. BASED_ON
    is JSON of the receipts of the corrections in whose light it is written.
    """

    FILES = (*FILES, MEANING)
    signature = Signature(
        request=(TensorSpec("TEXT", "BYTES", (1,)), TensorSpec("STREAM", "BOOL", (1,), optional=True)),
        engine_in=(
            TensorSpec("input_ids", "INT64", (-1,)),
            TensorSpec("attention_mask", "INT64", (-1,)),
            TensorSpec("options", "BYTES", (1,)),
        ),
        carried=(TensorSpec("based_on", "BYTES", (1,)),),
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
            TensorSpec("BASED_ON", "BYTES", (1,)),
        ),
        streams=True,
    )
    feature_size = outputs = 0
    classes: tuple[str, ...] = ()
    told_apart: tuple[str, ...] = ()
    balance = 0.0
    longest = LONGEST
    """Half of it is left to the answer where a prompt gets examples."""

    def __init__(self, folder: Path) -> None:
        self._chat = Chat.read(folder)
        self._examples = Examples(Meaning(folder, self._chat.tokenizer).of, self._length)

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
                "BASED_ON": output["based_on"],
            }
            for output in outputs
        ]

    def score(self, answers: Sequence[Tensors], examples: Sequence[Example]) -> Scores:
        """How much of the wanted words is answered, and the other way round: `overlap`; of a text that is
        rejected alone, how little."""
        wanted = [Wanted.read(example.label) for example in examples]
        alike = [one.alike(said) for said, one in zip(_said(answers), wanted, strict=True)]
        correct: Array = np.array(alike)
        return Scores({"exact": float((correct == 1.0).mean()), "overlap": float(correct.mean())}, correct)

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
            asked, wanted = Request.read(example.text), Wanted.read(example.label).wanted or ""
            ids = self._chat.tokenizer.encode(wanted, add_special_tokens=False).ids
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

    def take_feedback(self, rows: Sequence[FeedbackRow], learned: Sequence[FeedbackRow] = ()) -> None:
        """Answer in the light of these as well, from now on, from any thread."""
        self._examples.take(rows, learned)

    def forget_feedback(self) -> None:
        self._examples.forget()

    def _length(self, text: str) -> int:
        return len(self._chat.tokenizer.encode(text, add_special_tokens=False).ids)

    def _in_light(self, asked: Request) -> tuple[list[int], list[str]]:
        """The tokens of a prompt, and the receipts of the examples in it."""
        near = self._examples.near(asked.question) if asked.question else []
        while near:
            # A small model copies of what it was told twice what it else would overhear.
            turns = [(one.asked, one.wanted) for one in [*near, *near[-1:]]]
            with suppress(BadRequest):  # of a template that has no such turns
                ids = self._chat.tokens(asked.after(turns))
                if len(ids) < self.longest // 2:
                    return ids, [one.receipt for one in near]
            near = near[1:]
        return self._chat.tokens(asked), []

    def _encoded(self, request: Tensors) -> Tensors:
        asked = [Request.read(str(raw, "utf-8")) for raw in request["TEXT"].ravel()]
        rows, receipts = zip(*map(self._in_light, asked), strict=True)
        ids, mask = padded(rows, pad_id=0)
        streams = request.get("STREAM", np.zeros(len(rows), bool)).ravel()
        told = [
            one.options.streaming(bool(wanted)).written for one, wanted in zip(asked, streams, strict=True)
        ]
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "options": text_tensor(told),
            "based_on": text_tensor([json.dumps(row) for row in receipts]),
        }


def _said(answers: Sequence[Tensors]) -> list[str]:
    """What was written; of an answer that is told as feedback would, that."""
    return [
        raw.decode()
        for answer in answers
        for raw in answer["COMPLETION" if "COMPLETION" in answer else "LABEL"].ravel()
    ]
