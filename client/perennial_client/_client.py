"""The blocking client: the calls, driven over a transport."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeVar, overload

from perennial_client import _wire
from perennial_client._calls import Calls, Pause, Send, Steps
from perennial_client._errors import PerennialClientError
from perennial_client._transport import connect
from perennial_client._types import (
    About,
    Answer,
    Embedded,
    Feedback,
    Found,
    Generated,
    Message,
    Options,
    Recommended,
    Said,
    Tagged,
    Why,
)
from perennial_client._wire import Reply

if TYPE_CHECKING:
    from typing_extensions import Unpack

T = TypeVar("T")


class Client:
    """Asks a Perennial server at `http://HOST:PORT` or, quicker, at `grpc://HOST:PORT`.

    `timeout` is how many seconds a call may take, its retries included, where the call does not say. A
    refused connection and an overloaded server (503, UNAVAILABLE) are tried again after growing pauses,
    within the deadline and within a budget that all calls share. Threads may share a client.

    >>> with Client("grpc://127.0.0.1:8001", timeout=2.0) as client:  # doctest: +SKIP
    ...     client.predict("sentiment", "not exactly a masterpiece").label
    'negative'
    """

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self._transport = connect(url)
        self._calls = Calls(timeout)

    @overload
    def predict(
        self,
        service: str,
        text: str,
        top_k: int | None = None,
        timeout: float | None = None,
        *,
        timings: bool = False,
    ) -> Answer: ...

    @overload
    def predict(
        self,
        service: str,
        text: list[str],
        top_k: int | None = None,
        timeout: float | None = None,
        *,
        timings: bool = False,
    ) -> list[Answer]: ...

    def predict(
        self,
        service: str,
        text: str | list[str],
        top_k: int | None = None,
        timeout: float | None = None,
        *,
        timings: bool = False,
    ) -> Answer | list[Answer]:
        """The answer to one text, or the answers to a list, in its order.

        `top_k` asks for that many labels in `Answer.top`, and `timings` for where the time went, in
        `Answer.timings`. A long list travels as requests of 32 texts, one after the other.

        >>> client.predict("sentiment", ["a triumph", "a bore"], top_k=2)[0].top  # doctest: +SKIP
        (('positive', 0.97), ('neutral', 0.02))
        """
        return self._run(self._calls.predict(service, text, top_k, timeout, timings))

    @overload
    def tag(self, service: str, text: str, timeout: float | None = None) -> Tagged: ...

    @overload
    def tag(self, service: str, text: list[str], timeout: float | None = None) -> list[Tagged]: ...

    def tag(self, service: str, text: str | list[str], timeout: float | None = None) -> Tagged | list[Tagged]:
        """The spans of one text, or of each of a list, in its order; of a service that tags.

        >>> client.tag("names", "Ann lives in Oslo").spans[1]  # doctest: +SKIP
        Span(start=13, end=17, label='LOC', score=0.98)
        """
        return self._run(self._calls.tag(service, text, timeout))

    @overload
    def search(self, service: str, text: str, top_k: int = 10, timeout: float | None = None) -> Found: ...

    @overload
    def search(
        self, service: str, text: list[str], top_k: int = 10, timeout: float | None = None
    ) -> list[Found]: ...

    def search(
        self, service: str, text: str | list[str], top_k: int = 10, timeout: float | None = None
    ) -> Found | list[Found]:
        """The `top_k` documents that are nearest to one text, or to each of a list, in its order; of a
        service that embeds.

        >>> client.search("handbook", "how do I reset it?").hits[0]  # doctest: +SKIP
        Hit(document='faq/17', score=0.81)
        """
        return self._run(self._calls.search(service, text, top_k, timeout))

    @overload
    def embed(
        self, service: str, text: str, dimensions: int | None = None, timeout: float | None = None
    ) -> Embedded: ...

    @overload
    def embed(
        self, service: str, text: list[str], dimensions: int | None = None, timeout: float | None = None
    ) -> list[Embedded]: ...

    def embed(
        self,
        service: str,
        text: str | list[str],
        dimensions: int | None = None,
        timeout: float | None = None,
    ) -> Embedded | list[Embedded]:
        """The vector of one text, or of each of a list, in its order; of a service that embeds. `dimensions`
        asks for its first numbers alone, made of length 1 again.

        >>> client.embed("handbook", "how do I reset it?", dimensions=128).vector[:2]  # doctest: +SKIP
        (0.0412, -0.1337)
        """
        return self._run(self._calls.embed(service, text, dimensions, timeout))

    def recommend(
        self,
        service: str,
        user: str,
        items: Sequence[str] = (),
        top_k: int = 20,
        timeout: float | None = None,
    ) -> Recommended:
        """The `top_k` items that a user may want next; of a service that recommends. `items` are the ids of
        those that he took, the newest last; what the service was told that he clicked since is added.

        >>> client.recommend("movies", "196", ["242", "302"]).suggestions[0]  # doctest: +SKIP
        Suggestion(item='286', score=0.07, propensity=0.99)
        """
        return self._run(self._calls.recommend(service, user, items, top_k, timeout))

    @overload
    def generate(
        self,
        service: str,
        asked: str | Sequence[Message],
        *,
        stream: Literal[False] = False,
        raw: bool = False,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Generated: ...

    @overload
    def generate(
        self,
        service: str,
        asked: str | Sequence[Message],
        *,
        stream: Literal[True],
        raw: bool = False,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Generator[Generated, None, None]: ...

    def generate(
        self,
        service: str,
        asked: str | Sequence[Message],
        *,
        stream: bool = False,
        raw: bool = False,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Generated | Generator[Generated, None, None]:
        """What a service that generates answers: to what a user says, or to a conversation; or, `raw`, how it
        goes on with a text, without the model's chat template. With `stream` the pieces of it as they come;
        over gRPC, who stops reading takes the question back. What is not given is as the service has it.

        >>> client.generate("chat", "Name a colour.", max_tokens=8).completion  # doctest: +SKIP
        'Blue.'
        """
        text = _wire.prompt(asked, raw, options)
        if stream:
            return self._pieces(service, text, timeout)
        return self._run(self._calls.generate(service, text, timeout))

    def feedback(
        self,
        about: About,
        label: Said,
        *,
        text: str | None = None,
        source: str = "",
        key: str | None = None,
        timeout: float | None = None,
    ) -> str:
        """Say which label is right; the receipt of a row that is durable once this returns.

        `about` is an answer; or a prediction id, or a service's name, either with `text`. Of a service that
        tags, `label` is all spans of the text, or one that is right; of one that embeds a document's id, or
        what is said of several (`Judged`). `source` names who says it. `key` is
        made up unless given: give your own to send the same feedback again after a crash
        and still have one row.

        >>> answer = client.predict("sentiment", "a bore")  # doctest: +SKIP
        >>> client.feedback(answer, "negative", source="editor", key="review-17")  # doctest: +SKIP
        '01JC...'
        """
        row = Feedback.on(about, label, text=text, source=source, key=key)
        return self._run(self._calls.feedback(row, timeout))

    def feedback_many(self, rows: Sequence[Feedback], timeout: float | None = None) -> list[str]:
        """Receipts of many rows, in their order; they travel as requests of 256, each committed whole.

        If this raises, earlier requests may have been committed: send the same rows again, as their keys make
        that safe.

        >>> rows = [Feedback.on(answer, "negative") for answer in answers]  # doctest: +SKIP
        >>> receipts = client.feedback_many(rows)  # doctest: +SKIP
        """
        return self._run(self._calls.feedback_many(rows, timeout))

    def index(self, service: str, documents: Mapping[str, str | None], timeout: float | None = None) -> None:
        """Have a service that embeds find documents, texts by their ids, from now on; or no longer, where the
        text is None. They are durable once this returns, and found a moment later.

        >>> client.index("handbook", {"faq/18": "Press it again.", "faq/3": None})  # doctest: +SKIP
        """
        self._run(self._calls.index(service, documents, timeout))

    def why(self, service: str, text: str, most: int | None = None, timeout: float | None = None) -> Why:
        """The corrections, and the taught rows, that push the answer to a text most, either way: the `most`
        strongest of either kind, 8 unless said. The server's worker tells it, in a second or less.

        >>> client.why("sentiment", "a bore").corrections[0]  # doctest: +SKIP
        Cause(label='negative', push=0.213, row=17, receipt='01JC...', line=None)
        """
        return self._run(self._calls.why(service, text, most, timeout))

    def ready(self, service: str, timeout: float | None = None) -> bool:
        """Whether the service answers now. Tried once; a server that is not there is not ready."""
        return self._run(self._calls.ready(service, timeout))

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pieces(self, service: str, text: str, timeout: float | None) -> Generator[Generated, None, None]:
        with closing(self._transport.stream(*self._calls.in_pieces(service, text, timeout))) as replies:
            for reply in replies:
                yield _wire.written(service, text, reply)

    def _run(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    reply = self._do(step)
                except PerennialClientError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result

    def _do(self, step: Send | Pause) -> Reply:
        if isinstance(step, Send):
            return self._transport.send(step.call, step.timeout)
        time.sleep(step.seconds)
        return {}
