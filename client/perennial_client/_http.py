"""Triton's HTTP protocol (v2, JSON) over httpx.

JSON, not the protocol's binary extension: for these few strings it is as fast (measured, 1 and 32 texts) and
readable in a log.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping
from contextlib import aclosing, closing
from typing import Literal, TypeVar
from urllib.parse import quote

import httpx

from perennial_client._errors import (
    BadRequest,
    Conflict,
    DeadlineExceeded,
    NotFound,
    PerennialClientError,
    Unavailable,
    failure,
    kind_in_words,
    unanswered,
)
from perennial_client._wire import Call, Infer, Ready, Reply, Tensor

_KINDS: dict[int, type[PerennialClientError]] = {
    400: BadRequest,
    404: NotFound,
    409: Conflict,
    413: BadRequest,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}

# Triton answers in gzip where it may, which costs more than it saves on a reply of some 300 bytes.
_EVENT = "data:"
_HEADERS = {"content-type": "application/json", "accept-encoding": "identity"}

AnyClient = TypeVar("AnyClient", httpx.Client, httpx.AsyncClient)


def infer_body(call: Infer) -> bytes:
    """The body that asks for a call; a load generator makes its requests with it ahead of time."""
    body = {
        "inputs": [
            {"name": name, "datatype": tensor.dtype, "shape": tensor.shape, "data": tensor.values}
            for name, tensor in call.inputs.items()
        ],
        "outputs": [{"name": name} for name in call.outputs],
    }
    return json.dumps(body, ensure_ascii=False).encode()


def generate_body(call: Infer) -> bytes:
    """The body of Triton's extension for models that give several replies: one value of each input."""
    asked = {name: tensor.values[0] for name, tensor in call.inputs.items()}
    return json.dumps(asked, ensure_ascii=False).encode()


def generate_reply(event: str, call: Infer) -> Reply:
    """The tensors of one event of a stream; `ValueError` where it tells of an error."""
    said = json.loads(event)
    if "error" in said:
        raise ValueError(said["error"])
    rows = {name: said[name] if isinstance(said[name], list) else [said[name]] for name in call.outputs}
    return {name: Tensor(_DTYPES[type(row[0])], (1, len(row)), row) for name, row in rows.items()}


_DTYPES: Mapping[type, Literal["BYTES", "INT32", "FP32"]] = {str: "BYTES", int: "INT32", float: "FP32"}


def infer_reply(body: bytes) -> Reply:
    """The tensors of a reply's body."""
    outputs = json.loads(body)["outputs"]
    return {out["name"]: Tensor(out["datatype"], tuple(out["shape"]), out["data"]) for out in outputs}


class HttpTransport:
    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx.Client(base_url=url, headers=_HEADERS, verify=_tls(url))

    def send(self, call: Call, timeout: float) -> Reply:
        if isinstance(call, Infer) and call.in_pieces:
            for reply in self.stream(call, timeout):
                return reply
            raise unanswered(self._url)
        try:
            response = self._client.send(_request(self._client, call, timeout))
        except httpx.TransportError as error:
            raise _lost(self._url, error) from error
        return _reply(self._url, call, response)

    def stream(self, call: Infer, timeout: float) -> Generator[Reply, None, None]:
        request = _request(self._client, call, timeout)
        try:
            response = self._client.send(request, stream=True)
            with closing(response):
                if response.status_code != 200:
                    response.read()
                    raise _refused(self._url, response)
                for line in response.iter_lines():
                    if line.startswith(_EVENT):
                        yield _event(self._url, line, call)
        except httpx.TransportError as error:
            raise _lost(self._url, error) from error

    def close(self) -> None:
        self._client.close()


class AsyncHttpTransport:
    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx.AsyncClient(base_url=url, headers=_HEADERS, verify=_tls(url))

    async def send(self, call: Call, timeout: float) -> Reply:
        if isinstance(call, Infer) and call.in_pieces:
            async with aclosing(self.stream(call, timeout)) as replies:
                async for reply in replies:
                    return reply
            raise unanswered(self._url)
        try:
            response = await self._client.send(_request(self._client, call, timeout))
        except httpx.TransportError as error:
            raise _lost(self._url, error) from error
        return _reply(self._url, call, response)

    async def stream(self, call: Infer, timeout: float) -> AsyncGenerator[Reply, None]:
        request = _request(self._client, call, timeout)
        try:
            response = await self._client.send(request, stream=True)
            async with aclosing(response):
                if response.status_code != 200:
                    await response.aread()
                    raise _refused(self._url, response)
                async for line in response.aiter_lines():
                    if line.startswith(_EVENT):
                        yield _event(self._url, line, call)
        except httpx.TransportError as error:
            raise _lost(self._url, error) from error

    async def close(self) -> None:
        await self._client.aclose()


def _tls(url: str) -> bool:
    """Whether to load the certificates: plain http has no use for them, and they take 40 ms."""
    return url.startswith("https:")


class _Until(Mapping[str, float]):
    """httpx's timeouts, one for each phase, made to share one deadline: each phase gets what is left."""

    def __init__(self, timeout: float) -> None:
        self._deadline = time.monotonic() + timeout

    def __getitem__(self, phase: str) -> float:
        return max(self._deadline - time.monotonic(), 1e-3)

    def __iter__(self) -> Iterator[str]:
        return iter(("connect", "read", "write", "pool"))

    def __len__(self) -> int:
        return 4


def _request(client: AnyClient, call: Call, timeout: float) -> httpx.Request:
    path = f"v2/models/{quote(call.model, safe='')}"
    extensions = {"timeout": _Until(timeout)}
    if isinstance(call, Ready):
        return client.build_request("GET", f"{path}/ready", extensions=extensions)
    if call.in_pieces:
        path, content = f"{path}/generate_stream", generate_body(call)
    else:
        path, content = f"{path}/infer", infer_body(call)
    return client.build_request("POST", path, content=content, extensions=extensions)


def _reply(url: str, call: Call, response: httpx.Response) -> Reply:
    if isinstance(call, Ready):
        if response.status_code == 200:
            return {}
        raise failure(Unavailable, url, f"{call.model!r} is not ready")
    if response.status_code != 200:
        raise _refused(url, response)
    try:
        return infer_reply(response.content)
    except (ValueError, KeyError, TypeError) as error:
        raise failure(
            PerennialClientError, url, f"not a reply of Triton's: {response.text[:200]!r}"
        ) from error


def _event(url: str, line: str, call: Infer) -> Reply:
    try:
        return generate_reply(line.removeprefix(_EVENT), call)
    except KeyError as error:
        raise failure(BadRequest, url, f"{call.model!r} has no output {error}") from error
    except (ValueError, TypeError) as error:
        raise failure(kind_in_words(str(error)), url, str(error)) from error


def _refused(url: str, response: httpx.Response) -> PerennialClientError:
    reason = _reason(response)
    return failure(_kind(response.status_code, reason), url, reason)


def _kind(status: int, reason: str) -> type[PerennialClientError]:
    """Triton sends a conflict as 400, like any bad request: the store's own words tell it apart."""
    if status == 400 and "came before with another body" in reason:
        return Conflict
    return _KINDS.get(status, PerennialClientError)


def _reason(response: httpx.Response) -> str:
    """What Triton says of an error, or, where a front proxy speaks, the status."""
    try:
        return str(json.loads(response.text.removeprefix(_EVENT))["error"])
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} {response.reason_phrase}"


def _lost(url: str, error: httpx.TransportError) -> Exception:
    if isinstance(error, httpx.TimeoutException):
        return DeadlineExceeded(url)
    return failure(Unavailable, url, str(error) or type(error).__name__)
