"""What is checked of every request to a model that speaks for the store: names, texts, and the service."""

from __future__ import annotations

import time

from perennial.errors import BadRequest, PerennialError
from perennial.names import nearest
from perennial.store_protocol import Store
from perennial.types import ServiceRecord

CACHE_S = 1.0

Outcome = list[str] | PerennialError
"""What the rows of a request are told, or why it was refused."""


class KnownServices:
    """The store's services, as they were at most `CACHE_S` ago; read at once for a name that is unknown."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, ServiceRecord] = {}
        self._read_at = float("-inf")
        self._may_read = True

    def begin_batch(self) -> None:
        self._may_read = True
        if time.monotonic() - self._read_at > CACHE_S:
            self._read()

    def named(self, name: str) -> ServiceRecord:
        """`BadRequest` for an unknown name."""
        if name not in self._known and self._may_read:
            self._read()
        if name not in self._known:
            raise BadRequest(nearest("SERVICE", name, self._known))
        return self._known[name]

    def _read(self) -> None:
        self._may_read = False  # once a batch: unknown names must not cost a query each
        self._known = self._store.services()
        self._read_at = time.monotonic()


def asked_text(raw: bytes, service: ServiceRecord) -> str:
    """A TEXT that the service may have answered."""
    text = decoded("TEXT", raw)
    check_length("TEXT", raw, service.max_text_bytes)
    if not text.strip():
        raise BadRequest("TEXT is empty; send the text that was answered")
    return text


def check_length(field: str, raw: bytes, most: int) -> None:
    if len(raw) > most:
        raise BadRequest(f"{field} has {len(raw)} bytes and may have {most} at most; shorten it")


def decoded(field: str, raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"{field} is not UTF-8: byte 0x{raw[error.start]:02x} at {error.start}; encode it as UTF-8"
        ) from None
    if "\0" in text:
        raise BadRequest(f"{field} holds a NUL at {raw.index(0)}; take it out")
    return text
