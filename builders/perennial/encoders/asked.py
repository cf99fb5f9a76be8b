"""What codecs of encoders share: the files of a release, which texts may be asked, and logits as
probabilities. numpy and tokenizers alone, as it runs while serving."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from perennial.encoders.tokens import Tokens
from perennial.errors import BadRequest
from perennial.types import Array, Tensors

FILES = ("tokenizer.json", "labels.json", "calibration.json")
MAX_TEXT_BYTES = 20_000


@dataclass(frozen=True)
class Known:
    """`labels.json` {labels, max_tokens, pad_id, features}: what logits choose among, how texts are cut and
    padded, how many features the engine gives of each piece; and `calibration.json` {temperature, threshold,
    slope}: what logits are divided by, the score under which nothing is answered, and how much of a label one
    unit of logits is worth."""

    classes: tuple[str, ...]
    features: int
    tokens: Tokens
    temperature: float
    threshold: float
    slope: float

    @classmethod
    def read(cls, folder: Path) -> Known:
        known = json.loads((folder / "labels.json").read_text("utf-8"))
        calibration = json.loads((folder / "calibration.json").read_text())
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        return cls(
            tuple(known["labels"]),
            int(known.get("features", 0)),  # an engine built by an older version gives none
            Tokens(tokenizer, known["max_tokens"], known["pad_id"]),
            float(calibration["temperature"]),
            float(calibration["threshold"]),
            float(calibration.get("slope", 0.25)),
        )


def check_text(index: int, raw: bytes) -> None:
    shown = f"TEXT[{index}] {raw[:40]!r}"
    if len(raw) > MAX_TEXT_BYTES:
        raise BadRequest(f"{shown}… has {len(raw)} bytes; the most is {MAX_TEXT_BYTES}: send it in parts")
    if b"\0" in raw:
        raise BadRequest(f"{shown} holds a NUL character at byte {raw.index(0)}; remove it")
    try:
        text = str(raw, "utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(f"{shown} is not UTF-8 at byte {error.start}; encode the text as UTF-8") from None
    if not text.strip():
        raise BadRequest(f"{shown} is empty; send at least one character that is not white space")


def check_number(request: Tensors, name: str, least: int, most: int) -> None:
    """Where it is given: one value for all texts of a request, within these bounds."""
    if name not in request:
        return
    asked = request[name]
    if (asked != asked.flat[0]).any():
        raise BadRequest(
            f"{name} {asked.ravel().tolist()} differs between the texts of one request; "
            "use one value, or send separate requests"
        )
    if not least <= int(asked.flat[0]) <= most:
        raise BadRequest(f"{name} {int(asked.flat[0])} is out of range; ask for {least} to {most}")


def over(best: int, other: int, columns: int) -> Array:
    """(columns,): 1 for the best one, -1 for the next best one."""
    towards = np.zeros(columns)
    towards[best], towards[other] = 1.0, -1.0
    return towards


def softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float32)
    probabilities: Array = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities
