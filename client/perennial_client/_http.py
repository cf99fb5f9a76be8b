"""Triton's HTTP protocol (v2, JSON) over httpx.

JSON, not the protocol's binary extension: for these few strings it is as fast (measured, 1 and 32 texts) and
readable in a log.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import TypeVar
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


def infer_reply(body: bytes) -> Reply:
    """The tensors of a reply's body."""
    outputs = json.loads(body)["outputs"]
    return {out["name"]: Tensor(out["datatype"], tuple(out["shape"]), out["data"]) for out in outputs}


class HttpTransport:
    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx.Client(base_url=url, headers=_HEADERS, verify=_tls(url))

    def send(self, call: Call, timeout: float) -> Reply:
        try:
            response = self._client.send(_request(self._client, call, timeout))
        except httpx.TransportError as error:
            raise _lost(self._url, error) from error
        return _reply(self._url, call, response)

    def close(self) -> None:
        self._client.close()


class AsyncHttpTransport:
    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx.AsyncClient(base_url=url, headers=_HEADERS, verify=_tls(url))

    async def send(self, call: Call, timeout: float) -> Reply:
        try:
            response = await self._client.send(_request(self._client, call, timeout))
        except httpx.TransportError as error:
            raise _lost(self._url, error) from error
        return _reply(self._url, call, response)

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
    return client.build_request("POST", f"{path}/infer", content=infer_body(call), extensions=extensions)


def _reply(url: str, call: Call, response: httpx.Response) -> Reply:
    if isinstance(call, Ready):
        if response.status_code == 200:
            return {}
        raise failure(Unavailable, url, f"{call.model!r} is not ready")
    if response.status_code != 200:
        reason = _reason(response)
        raise failure(_kind(response.status_code, reason), url, reason)
    try:
        return infer_reply(response.content)
    except (ValueError, KeyError, TypeError) as error:
        raise failure(
            PerennialClientError, url, f"not a reply of Triton's: {response.text[:200]!r}"
        ) from error


def _kind(status: int, reason: str) -> type[PerennialClientError]:
    """Triton sends a conflict as 400, like any bad request: the store's own words tell it apart."""
    if status == 400 and "came before with another body" in reason:
        return Conflict
    return _KINDS.get(status, PerennialClientError)


def _reason(response: httpx.Response) -> str:
    """What Triton says of an error, or, where a front proxy speaks, the status."""
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} {response.reason_phrase}"


def _lost(url: str, error: httpx.TransportError) -> Exception:
    if isinstance(error, httpx.TimeoutException):
        return DeadlineExceeded(url)
    return failure(Unavailable, url, str(error) or type(error).__name__)
