"""What writes as an engine's session: token ids and options in, pieces of text out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from perennial.errors import BadRequest, Broken
from perennial.types import Array, Tensors, text_tensor
from perennial.writing.request import Options
from perennial.writing.writer import Asked, Piece

Tell = Callable[[Tensors | Exception, bool], None]
"""Given `engine_out` tensors, or what went wrong, and whether they are the last ones."""


class Writer(Protocol):
    """Writes the texts that it is asked for, each in its time and at any length that has room."""

    length: int
    watch: Callable[[int, int], None]
    """Told whenever it changes how many texts are being written, and how many wait."""

    def submit(self, asked: Asked) -> None:
        """Raises `BadRequest` for what it cannot write, and `Unavailable` where too much waits."""

    def close(self) -> None:
        """Write what was asked for, and stop."""


class WritingSession:
    """Any number of requests may be written at once, from any thread."""

    def __init__(self, writer: Writer) -> None:
        self._writer, self.length = writer, writer.length

    def run(self, tensors: Tensors) -> Tensors:
        """Whole answers, of all rows together; their options ask for no stream."""
        done, told = threading.Event(), list[Tensors | Exception]()

        def tell(answer: Tensors | Exception, last: bool) -> None:  # noqa: ARG001
            told.append(answer)
            done.set()

        self.write(tensors, tell, lambda: False)
        done.wait()
        (answer,) = told
        if isinstance(answer, Exception):
            raise answer
        return answer

    def write(self, tensors: Tensors, tell: Tell, gone: Callable[[], bool]) -> None:
        """See `protocols.WritingSession`. Several texts of a request come at once, when all are whole."""
        asked = [
            (ids[mask > 0].tolist(), Options.read(str(how, "utf-8")))
            for ids, mask, how in zip(
                tensors["input_ids"], tensors["attention_mask"], tensors["options"].ravel(), strict=True
            )
        ]
        prompts = [len(ids) for ids, _ in asked]
        streams = any(how.stream for _, how in asked)
        if streams and len(asked) > 1:
            raise BadRequest(
                f"STREAM with {len(asked)} texts in a request; stream each in a request of its own"
            )

        def piece_by_piece(piece: Piece) -> None:
            tell(_told(list(zip(prompts, [piece], strict=True))), piece.why is not None)

        rows, refused = _Rows(prompts, tell), threading.Event()
        for number, (ids, how) in enumerate(asked):
            told = piece_by_piece if streams else rows.of(number)
            try:
                self._writer.submit(Asked(ids, how, told, lambda: refused.is_set() or gone()))
            except Exception:
                refused.set()  # nobody waits for the rows before it any more
                raise

    def watch(self, told: Callable[[int, int], None]) -> None:
        """See `protocols.WritingSession`."""
        self._writer.watch = told

    def close(self) -> None:
        self._writer.close()


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

    def _whole(self) -> Tensors | Exception:
        ends = [self._ends[number] for number in range(len(self._prompts))]
        pieces = [
            Piece(text, end.why, end.written, end.likely) for text, end in zip(self._texts, ends, strict=True)
        ]
        return _told(list(zip(self._prompts, pieces, strict=True)))


def _told(told: Sequence[tuple[int, Piece]]) -> Tensors | Exception:
    if any(piece.why == "failed" for _, piece in told):
        return Broken("the engine failed at this text; the server's log says why")
    likely: Array = np.array([[piece.likely] for _, piece in told], np.float32)
    return {
        "piece": text_tensor([piece.text for _, piece in told]),
        "finish": text_tensor([str(piece.why or "") for _, piece in told]),
        "likely": likely,
        "tokens": np.array([[prompt, piece.written] for prompt, piece in told], np.int32),
    }
