"""A decoder as an engine's session: token ids and options in, pieces of text out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from perennial.errors import BadRequest, Broken
from perennial.types import Array, Tensors, text_tensor
from perennial.writing.request import Options
from perennial.writing.writer import Asked, Decoder, Piece, Writer

Tell = Callable[[Tensors, bool], None]
"""Given `engine_out` tensors, and whether they are the last ones."""


class WritingSession:
    """Any number of requests may be written at once, from any thread."""

    def __init__(self, decoder: Decoder, decode: Callable[[Sequence[int]], str]) -> None:
        self._decoder, self._writer = decoder, Writer(decoder, decode)

    def run(self, tensors: Tensors) -> Tensors:
        """Whole answers, of all rows together."""
        done, told = threading.Event(), list[Tensors]()

        def tell(pieces: Tensors, last: bool) -> None:
            told.append(pieces)
            if last:
                done.set()

        self._write(tensors, tell, lambda: False, whole=True)
        done.wait()
        (answer,) = told
        if b"failed" in answer["finish"]:
            raise Broken("the engine failed at a text; its log says why")
        return answer

    def write(self, tensors: Tensors, tell: Tell, gone: Callable[[], bool]) -> None:
        """See `protocols.WritingSession`. Several texts of a request come at once, when all are whole."""
        self._write(tensors, tell, gone, whole=False)

    def close(self) -> None:
        self._writer.close()
        self._decoder.close()

    def _write(self, tensors: Tensors, tell: Tell, gone: Callable[[], bool], whole: bool) -> None:
        asked = [
            (ids[mask > 0].tolist(), Options.read(str(how, "utf-8")))
            for ids, mask, how in zip(
                tensors["input_ids"], tensors["attention_mask"], tensors["options"].ravel(), strict=True
            )
        ]
        if not whole and any(how.stream for _, how in asked):
            if len(asked) > 1:
                raise BadRequest(
                    f"STREAM with {len(asked)} texts in a request; stream each in a request of its own"
                )
            ((ids, how),) = asked
            self._writer.submit(
                Asked(
                    ids, how, lambda piece: tell(_tensors([(len(ids), piece)]), piece.why is not None), gone
                )
            )
            return
        rows = _Rows([len(ids) for ids, _ in asked], tell)
        for number, (ids, how) in enumerate(asked):
            self._writer.submit(Asked(ids, how, rows.of(number), gone))


class _Rows:
    """Puts the pieces of each row together, and tells of all once the last one is whole."""

    def __init__(self, prompts: Sequence[int], tell: Tell) -> None:
        self._prompts, self._tell = prompts, tell
        self._texts = [""] * len(prompts)
        self._ends: dict[int, Piece] = {}

    def of(self, number: int) -> Callable[[Piece], None]:
        def add(piece: Piece) -> None:
            self._texts[number] += piece.text
            if piece.why is None:
                return
            self._ends[number] = piece
            if len(self._ends) == len(self._prompts):
                self._tell(self._whole(), True)

        return add

    def _whole(self) -> Tensors:
        ends = [self._ends[number] for number in range(len(self._prompts))]
        pieces = [
            Piece(text, end.why, end.written, end.likely) for text, end in zip(self._texts, ends, strict=True)
        ]
        return _tensors(list(zip(self._prompts, pieces, strict=True)))


def _tensors(told: Sequence[tuple[int, Piece]]) -> Tensors:
    likely: Array = np.array([[piece.likely] for _, piece in told], np.float32)
    return {
        "piece": text_tensor([piece.text for _, piece in told]),
        "finish": text_tensor([str(piece.why or "") for _, piece in told]),
        "likely": likely,
        "tokens": np.array([[prompt, piece.written] for prompt, piece in told], np.int32),
    }
