"""Each call of the client as a generator of steps, with no input or output of its own.

A call yields `Send` and `Pause`, and is sent the reply, or thrown the error, of each: one text serves the
blocking and the asynchronous client. Knows chunks, deadlines and retries; leaves tensors to the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from perennial_client import _wire
from perennial_client._errors import BadRequest, Conflict, DeadlineExceeded, NotFound, Unavailable
from perennial_client._retry import ATTEMPTS, Budget, Deadline, pause_after
from perennial_client._types import Answer, Embedded, Feedback, Found, Generated, Recommended, Tagged, Why
from perennial_client._wire import Call, Infer, Ready, Reply

T = TypeVar("T")
Row = TypeVar("Row")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Send:
    """Send `call` and wait `timeout` seconds at most for its reply."""

    call: Call
    timeout: float


@dataclass(frozen=True)
class Pause:
    seconds: float


Steps: TypeAlias = Generator[Send | Pause, Reply, T]


class Calls:
    """The calls of one client. `timeout` None means the client's own, in seconds."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._budget = Budget()

    def predict(
        self,
        service: str,
        text: str | list[str],
        top_k: int | None,
        timeout: float | None,
        timings: bool,
    ) -> Steps[Answer | list[Answer]]:
        return self._each(
            text,
            lambda chunk: _wire.question(service, chunk, top_k, timings),
            lambda chunk, reply: _wire.answers(service, chunk, reply),
            timeout,
        )

    def tag(self, service: str, text: str | list[str], timeout: float | None) -> Steps[Tagged | list[Tagged]]:
        return self._each(
            text,
            lambda chunk: _wire.texts_to_tag(service, chunk),
            lambda chunk, reply: _wire.tagged(service, chunk, reply),
            timeout,
        )

    def search(
        self, service: str, text: str | list[str], top_k: int, timeout: float | None
    ) -> Steps[Found | list[Found]]:
        return self._each(
            text,
            lambda chunk: _wire.queries(service, chunk, top_k),
            lambda chunk, reply: _wire.found(service, chunk, reply),
            timeout,
        )

    def embed(
        self, service: str, text: str | list[str], dimensions: int | None, timeout: float | None
    ) -> Steps[Embedded | list[Embedded]]:
        return self._each(
            text,
            lambda chunk: _wire.texts_to_embed(service, chunk, dimensions),
            lambda chunk, reply: _wire.embedded(service, chunk, reply),
            timeout,
        )

    def recommend(
        self, service: str, user: str, items: Sequence[str], top_k: int, timeout: float | None
    ) -> Steps[Recommended]:
        text = _wire.context(user, items)
        reply = yield from self._send(_wire.suggestions(service, [text], top_k), self._deadline(timeout))
        return _wire.recommended(service, [text], reply)[0]

    def generate(self, service: str, text: str, timeout: float | None) -> Steps[Generated]:
        reply = yield from self._send(_wire.to_write(service, text, stream=False), self._deadline(timeout))
        return _wire.written(service, text, reply)

    def in_pieces(self, service: str, text: str, timeout: float | None) -> tuple[Infer, float]:
        """What to ask, and for how long; once, since what was read of a stream is not to be read again."""
        return _wire.to_write(service, text, stream=True), self._deadline(timeout).left()

    def feedback(self, row: Feedback, timeout: float | None) -> Steps[str]:
        (receipt,) = yield from self.feedback_many([row], timeout)
        return receipt

    def feedback_many(self, rows: Sequence[Feedback], timeout: float | None) -> Steps[list[str]]:
        """Safe to retry because every row has a key."""
        return self._in_chunks(
            rows, _wire.FEEDBACK_BATCH, _wire.feedback, _wire.receipts, self._deadline(timeout)
        )

    def index(
        self, service: str, documents: Mapping[str, str | None], timeout: float | None
    ) -> Steps[list[int]]:
        """Safe to retry because what is said of a document last is all that counts."""
        return self._in_chunks(
            [*documents.items()],
            _wire.DOCUMENTS_BATCH,
            lambda chunk: _wire.documents(service, chunk),
            _wire.changed,
            self._deadline(timeout),
        )

    def why(self, service: str, text: str, most: int | None, timeout: float | None) -> Steps[Why]:
        reply = yield from self._send(_wire.inquiry(service, text, most), self._deadline(timeout))
        return _wire.causes(service, reply)

    def ready(self, service: str, timeout: float | None) -> Steps[bool]:
        try:
            yield Send(Ready(service), self._deadline(timeout).left())
        except (Unavailable, NotFound, DeadlineExceeded):
            return False
        return True

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._timeout if timeout is None else timeout)

    def _each(
        self,
        text: str | list[str],
        ask: Callable[[Sequence[str]], Call],
        read: Callable[[Sequence[str], Reply], list[Result]],
        timeout: float | None,
    ) -> Steps[Result | list[Result]]:
        """What is answered to one text, or to each of a list."""
        texts = [text] if isinstance(text, str) else text
        found = yield from self._in_chunks(texts, _wire.PREDICT_BATCH, ask, read, self._deadline(timeout))
        return found[0] if isinstance(text, str) else found

    def _in_chunks(
        self,
        rows: Sequence[Row],
        size: int,
        ask: Callable[[Sequence[Row]], Call],
        read: Callable[[Sequence[Row], Reply], list[Result]],
        deadline: Deadline,
    ) -> Steps[list[Result]]:
        """One request after the other, of at most `size` rows each."""
        results: list[Result] = []
        for start in range(0, len(rows), size):
            chunk = rows[start : start + size]
            try:
                reply = yield from self._send(ask(chunk), deadline)
            except (BadRequest, Conflict) as error:
                if not start:
                    raise
                raise type(error)(f"{error} (row 0 there is row {start} of the call)") from error
            results += read(chunk, reply)
        return results

    def _send(self, call: Call, deadline: Deadline) -> Steps[Reply]:
        attempt = 0
        while True:
            attempt += 1
            try:
                reply = yield Send(call, deadline.left())
            except DeadlineExceeded:
                raise deadline.exceeded() from None
            except Unavailable:
                pause = pause_after(attempt)
                if not self._budget.failure() or attempt == ATTEMPTS or pause >= deadline.left():
                    raise
                yield Pause(pause)
            else:
                self._budget.success()
                return reply
