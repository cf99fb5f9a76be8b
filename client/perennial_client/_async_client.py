"""The client for asyncio: the same calls as `Client`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeVar, overload

from perennial_client import _wire
from perennial_client._calls import Calls, Pause, Send, Steps
from perennial_client._errors import PerennialClientError
from perennial_client._transport import connect_async
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


class AsyncClient:
    """`Client` for asyncio: the same methods, to await, and `async with`.

    >>> async with AsyncClient("grpc://127.0.0.1:8001") as client:  # doctest: +SKIP
    ...     answers = await asyncio.gather(*(client.predict("sentiment", text) for text in texts))
    """

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self._transport = connect_async(url)
        self._calls = Calls(timeout)

    @overload
    async def predict(
        self,
        service: str,
        text: str,
        top_k: int | None = None,
        timeout: float | None = None,
        *,
        timings: bool = False,
    ) -> Answer: ...

    @overload
    async def predict(
        self,
        service: str,
        text: list[str],
        top_k: int | None = None,
        timeout: float | None = None,
        *,
        timings: bool = False,
    ) -> list[Answer]: ...

    async def predict(
        self,
        service: str,
        text: str | list[str],
        top_k: int | None = None,
        timeout: float | None = None,
        *,
        timings: bool = False,
    ) -> Answer | list[Answer]:
        """As `Client.predict`."""
        return await self._run(self._calls.predict(service, text, top_k, timeout, timings))

    @overload
    async def tag(self, service: str, text: str, timeout: float | None = None) -> Tagged: ...

    @overload
    async def tag(self, service: str, text: list[str], timeout: float | None = None) -> list[Tagged]: ...

    async def tag(
        self, service: str, text: str | list[str], timeout: float | None = None
    ) -> Tagged | list[Tagged]:
        """As `Client.tag`."""
        return await self._run(self._calls.tag(service, text, timeout))

    @overload
    async def search(
        self, service: str, text: str, top_k: int = 10, timeout: float | None = None
    ) -> Found: ...

    @overload
    async def search(
        self, service: str, text: list[str], top_k: int = 10, timeout: float | None = None
    ) -> list[Found]: ...

    async def search(
        self, service: str, text: str | list[str], top_k: int = 10, timeout: float | None = None
    ) -> Found | list[Found]:
        """As `Client.search`."""
        return await self._run(self._calls.search(service, text, top_k, timeout))

    @overload
    async def embed(
        self, service: str, text: str, dimensions: int | None = None, timeout: float | None = None
    ) -> Embedded: ...

    @overload
    async def embed(
        self, service: str, text: list[str], dimensions: int | None = None, timeout: float | None = None
    ) -> list[Embedded]: ...

    async def embed(
        self,
        service: str,
        text: str | list[str],
        dimensions: int | None = None,
        timeout: float | None = None,
    ) -> Embedded | list[Embedded]:
        """As `Client.embed`."""
        return await self._run(self._calls.embed(service, text, dimensions, timeout))

    async def recommend(
        self,
        service: str,
        user: str,
        items: Sequence[str] = (),
        top_k: int = 20,
        timeout: float | None = None,
    ) -> Recommended:
        return await self._run(self._calls.recommend(service, user, items, top_k, timeout))

    @overload
    async def generate(
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
    async def generate(
        self,
        service: str,
        asked: str | Sequence[Message],
        *,
        stream: Literal[True],
        raw: bool = False,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> AsyncGenerator[Generated, None]: ...

    async def generate(
        self,
        service: str,
        asked: str | Sequence[Message],
        *,
        stream: bool = False,
        raw: bool = False,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Generated | AsyncGenerator[Generated, None]:
        """As `Client.generate`; of a stream an iterator, to read with `async for`."""
        text = _wire.prompt(asked, raw, options)
        if stream:
            return self._pieces(service, text, timeout)
        return await self._run(self._calls.generate(service, text, timeout))

    async def feedback(
        self,
        about: About,
        label: Said,
        *,
        text: str | None = None,
        source: str = "",
        key: str | None = None,
        timeout: float | None = None,
    ) -> str:
        """As `Client.feedback`."""
        row = Feedback.on(about, label, text=text, source=source, key=key)
        return await self._run(self._calls.feedback(row, timeout))

    async def feedback_many(self, rows: Sequence[Feedback], timeout: float | None = None) -> list[str]:
        """As `Client.feedback_many`."""
        return await self._run(self._calls.feedback_many(rows, timeout))

    async def index(
        self, service: str, documents: Mapping[str, str | None], timeout: float | None = None
    ) -> None:
        """As `Client.index`."""
        await self._run(self._calls.index(service, documents, timeout))

    async def why(
        self, service: str, text: str, most: int | None = None, timeout: float | None = None
    ) -> Why:
        """As `Client.why`."""
        return await self._run(self._calls.why(service, text, most, timeout))

    async def ready(self, service: str, timeout: float | None = None) -> bool:
        """As `Client.ready`."""
        return await self._run(self._calls.ready(service, timeout))

    async def close(self) -> None:
        await self._transport.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _pieces(
        self, service: str, text: str, timeout: float | None
    ) -> AsyncGenerator[Generated, None]:
        async with aclosing(
            self._transport.stream(*self._calls.in_pieces(service, text, timeout))
        ) as replies:
            async for reply in replies:
                yield _wire.written(service, text, reply)

    async def _run(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    reply = await self._do(step)
                except PerennialClientError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _do(self, step: Send | Pause) -> Reply:
        if isinstance(step, Send):
            return await self._transport.send(step.call, step.timeout)
        await asyncio.sleep(step.seconds)
        return {}
