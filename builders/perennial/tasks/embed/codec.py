"""What `embed` says on the wire: texts to token ids, a text's vector to the documents that are nearest to it.

Knows the tokenizer of one release, and what a vector looks like. Leaves the network to the engine, documents
to `ranking`, and batching across requests and prediction ids to the stages.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from perennial.encoders.asked import check_number, check_text
from perennial.encoders.tokens import Tokens
from perennial.ranking.codec import MOST, RankingCodec, asked_top, unit
from perennial.task_protocol import Ask
from perennial.tasks.embed._scale import SCALE
from perennial.types import Array, Document, Signature, Tensors, TensorSpec

__all__ = ["EmbedCodec"]

TOP, SHORTEST = 10, 8


class EmbedCodec(RankingCodec):
    """Reads `embed.json` {size, max_tokens, pad_id}, the tokenizer and the documents.

    A text of more than `max_tokens` tokens is cut and flagged. What a head adds to a text's vector moves what
    is found, and not the vector that is answered: that is to be compared with others' of the release.
    """

    FILES = ("tokenizer.json", "embed.json", *RankingCodec.FILES)

    def __init__(self, folder: Path) -> None:
        known = json.loads((folder / "embed.json").read_text())
        super().__init__(folder, int(known["size"]), TOP, SCALE)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokens = Tokens(tokenizer, known["max_tokens"], known["pad_id"])
        self.longest = self._tokens.max_tokens
        self.signature = _signature(self.outputs)

    def check(self, request: Tensors) -> None:
        for place, raw in enumerate(request["TEXT"].ravel()):
            check_text(place, raw)
        check_number(request, "TOP_K", 0, MOST)
        check_number(request, "DIMENSIONS", min(SHORTEST, self.outputs), self.outputs)

    def encode(self, requests: Sequence[Tensors]) -> list[Tensors]:
        texts = [str(raw, "utf-8") for request in requests for raw in request["TEXT"].ravel()]
        encodings = iter(self._tokens.encode(texts))
        return [self._tensors([next(encodings) for _ in range(request["TEXT"].size)]) for request in requests]

    def decode(self, requests: Sequence[Tensors], outputs: Sequence[Tensors]) -> list[Tensors]:
        vectors = np.concatenate([output["vector"] for output in outputs])
        wanted = [asked_top(request, TOP) for request in requests]
        scores, places = self.index.nearest(self.queries(vectors), max(wanted))
        answers, start = [], 0
        for request, output, top in zip(requests, outputs, wanted, strict=True):
            here = slice(start, start + len(output["vector"]))
            answers.append(
                {
                    **self._found(scores[here, :top], places[here, :top]),
                    "EMBEDDING": _shortened(vectors[here], request),
                    "TRUNCATED": output["TRUNCATED"],
                }
            )
            start = here.stop
        return answers

    def place(self, changes: Sequence[Document], ask: Ask) -> list[bytes]:
        outputs = iter(ask([one.text for one in changes if one.text is not None]))
        return [
            b"" if one.text is None else next(outputs)["vector"].astype(np.float32).tobytes()
            for one in changes
        ]

    def _found(self, scores: Array, places: Array) -> Tensors:
        rows = [
            ([self.index.ids[place] for place in row[row >= 0]], of_row[row >= 0])
            for row, of_row in zip(places, scores, strict=True)
        ]
        return self.found(rows, scores.shape[1])

    def _tensors(self, encodings: Sequence[Any]) -> Tensors:
        ids, mask = self._tokens.pad([encoding.ids for encoding in encodings])
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "TRUNCATED": self._tokens.truncated(encodings),
        }


def _signature(size: int) -> Signature:
    truncated = TensorSpec("TRUNCATED", "BOOL", (1,))
    return Signature(
        request=(
            TensorSpec("TEXT", "BYTES", (1,)),
            TensorSpec("TOP_K", "INT32", (1,), optional=True),
            TensorSpec("DIMENSIONS", "INT32", (1,), optional=True),
        ),
        engine_in=(TensorSpec("input_ids", "INT64", (-1,)), TensorSpec("attention_mask", "INT64", (-1,))),
        carried=(truncated,),
        engine_out=(TensorSpec("vector", "FP32", (size,)),),
        answer=(
            TensorSpec("LABEL", "BYTES", (1,)),
            TensorSpec("EMBEDDING", "FP32", (-1,)),
            TensorSpec("DOCUMENTS", "BYTES", (-1,), again=True),
            TensorSpec("SCORES", "FP32", (-1,)),
            truncated,
        ),
    )


def _shortened(vectors: Array, request: Tensors) -> Array:
    """The first numbers of each, of length 1 again (Kusupati et al., arXiv:2205.13147): what an encoder that
    was not trained for it loses by that, its user has to know."""
    if "DIMENSIONS" not in request:
        return vectors
    return unit(vectors[:, : int(request["DIMENSIONS"].flat[0])])
