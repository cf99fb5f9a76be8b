"""OpenAI's API, for services that write: what its clients ask is asked of Triton, and told in their words.

Knows paths, statuses and streams; leaves the words to `openai_words`, and the wire to the client. Of who
goes away Triton's stream is closed, which makes room.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from perennial.errors import BadRequest, NotFound, PerennialError
from perennial.names import nearest
from perennial.server.openai_words import FORMS, Chat, Completion, Json, Model, part, read, usage, whole
from perennial_client import AsyncClient, DeadlineExceeded, Generated, PerennialClientError, Unavailable
from perennial_client import BadRequest as Refused
from perennial_client import NotFound as Unknown

LOOK_S = 0.1
PATIENCE_S = 600.0
"""How long an answer may take, as OpenAI's own clients have it."""

STATUSES: Mapping[type[Exception], tuple[int, str]] = {
    BadRequest: (400, "invalid_request_error"),
    Refused: (400, "invalid_request_error"),
    NotFound: (404, "invalid_request_error"),
    Unknown: (404, "invalid_request_error"),
    Unavailable: (503, "server_error"),
    DeadlineExceeded: (504, "server_error"),
}


def openai(models: Callable[[], Sequence[Model]], url: Callable[[], str]) -> Starlette:
    """`models` are those that serve now, and `url` is where Triton answers now, in gRPC."""
    desk = Desk(models, url)
    routes = [
        Route("/v1/models", desk.models, methods=["GET"]),
        Route("/v1/models/{name}", desk.show, methods=["GET"]),
        Route("/v1/chat/completions", desk.chat, methods=["POST"]),
        Route("/v1/completions", desk.completion, methods=["POST"]),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await desk.close()

    faults = dict.fromkeys((PerennialError, PerennialClientError), _refused)
    return Starlette(routes=routes, exception_handlers=faults, lifespan=lifespan)


class Desk:
    def __init__(self, models: Callable[[], Sequence[Model]], url: Callable[[], str]) -> None:
        self._models, self._url = models, url
        self._client: tuple[str, AsyncClient] | None = None

    async def close(self) -> None:
        if self._client:
            await self._client[1].close()

    async def models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [model.told for model in self._models()]})

    async def show(self, request: Request) -> Response:
        return JSONResponse(self._model(request.path_params["name"]).told)

    async def chat(self, request: Request) -> Response:
        return await self._answer(request, read(Chat, await request.body()))

    async def completion(self, request: Request) -> Response:
        return await self._answer(request, read(Completion, await request.body()))

    async def _answer(self, request: Request, asked: Chat | Completion) -> Response:
        model, form, created = self._model(asked.model), FORMS[type(asked)], int(time.time())
        client = await self._connected()
        pieces = await client.generate(
            model.name, asked.words, stream=True, raw=asked.raw, timeout=PATIENCE_S, **asked.options
        )
        first = await _unless_gone(request, pieces)  # what is refused is told with a status
        if first is None:
            return Response(status_code=499)
        if asked.stream:
            told = _events(first, pieces, lambda piece: part(form, model, piece, created), asked.tells_usage)
            return StreamingResponse(told, media_type="text/event-stream")
        written = [first]
        async with aclosing(pieces):
            async for piece in pieces:
                written.append(piece)
                if await request.is_disconnected():
                    break
        return JSONResponse(whole(form, model, written, created))

    def _model(self, name: str) -> Model:
        known = {model.name: model for model in self._models()}
        if name not in known:
            raise NotFound(nearest("model", name, [*known]))
        return known[name]

    async def _connected(self) -> AsyncClient:
        url = self._url()
        if self._client is None or self._client[0] != url:
            await self.close()
            self._client = url, AsyncClient(url, timeout=PATIENCE_S)
        return self._client[1]


async def _unless_gone(request: Request, pieces: AsyncGenerator[Generated, None]) -> Generated | None:
    """The first piece; None, and what was asked is taken back, where nobody waits for it any more."""
    asked = asyncio.ensure_future(anext(pieces))
    while not asked.done():
        await asyncio.wait([asked], timeout=LOOK_S)
        if await request.is_disconnected():
            asked.cancel()
            await asyncio.wait([asked])
            await pieces.aclose()
            return None
    return asked.result()


async def _events(
    first: Generated,
    more: AsyncGenerator[Generated, None],
    told: Callable[[Generated], Json],
    with_usage: bool,
) -> AsyncIterator[str]:
    """Server-sent events. An error is one as well, since the status was told before."""
    last = first
    async with aclosing(more):
        try:
            yield _event(told(first))
            async for last in more:
                yield _event(told(last))
            if with_usage:
                yield _event({**told(last), "choices": [], "usage": usage(last)})
        except PerennialClientError as error:
            yield _event(_fault(error)[1])
    yield "data: [DONE]\n\n"


def _event(told: Any) -> str:
    return f"data: {json.dumps(told, ensure_ascii=False)}\n\n"


async def _refused(_: Request, error: Exception) -> Response:
    status, told = _fault(error)
    return JSONResponse(told, status)


def _fault(error: Exception) -> tuple[int, Json]:
    status, kind = STATUSES.get(type(error), (500, "server_error"))
    code = "model_not_found" if status == 404 else None
    return status, {"error": {"message": str(error), "type": kind, "param": None, "code": code}}
