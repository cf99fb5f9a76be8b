"""What a recommender is asked: who wants something, and what he took last; as a text in one form, and as the
numbers that a network reads."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from perennial.errors import BadRequest
from perennial.types import Array

MOST_ITEMS = 50
"""The newest ones; what was taken earlier says hardly anything more."""
PADDING = 0
USERS, STRANGERS = 4096, 64
"""Buckets that share all users, and all items that a release does not know."""
WAY_OUT = 'ask with {"user": "…", "items": ["…", …]}, the newest item last'


@dataclass(frozen=True)
class Context:
    """`items` are ids, the newest last."""

    user: str
    items: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


def parsed(text: str) -> Context:
    """Of a text in whatever JSON says a context. `BadRequest` where it says none."""
    try:
        said = json.loads(text)
    except ValueError:
        raise BadRequest(f"TEXT {text[:80]!r} is not JSON; {WAY_OUT}") from None
    if not isinstance(said, dict) or (odd := {*said} - {"user", "items"}):
        what = f"has {min(odd)!r}" if isinstance(said, dict) else "says no user"
        raise BadRequest(f"TEXT {text[:80]!r} {what}; {WAY_OUT}")
    user, items = said.get("user"), said.get("items", [])
    if not isinstance(user, str) or not _is_id(user):
        raise BadRequest(f"user {user!r} is none; {WAY_OUT}")
    if not isinstance(items, list) or not all(map(_is_id, items)):
        raise BadRequest(f"items {str(items)[:80]} are no list of ids; {WAY_OUT}")
    return Context(user, tuple(items))


class Numbers:
    """Of a release that knows these items, and has so many buckets of users and of strange items: 0 is
    padding, then come users, strange items, and known ones."""

    def __init__(self, items: Sequence[str], users: int = USERS, strangers: int = STRANGERS) -> None:
        self._users, self._strangers = users, strangers
        self._places = {name: place for place, name in enumerate(items)}

    def row(self, context: Context) -> list[int]:
        """The user, then his newest items, the last of all at the end."""
        user = 1 + mark(context.user) % self._users
        return [user, *map(self._item, context.items[-MOST_ITEMS:])]

    def place(self, item: str) -> int | None:
        """Where it stands among the known ones."""
        return self._places.get(item)

    def _item(self, name: str) -> int:
        place, first = self.place(name), 1 + self._users
        return first + (mark(name) % self._strangers if place is None else self._strangers + place)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def rectangle(rows: Sequence[Sequence[int]]) -> Array:
    """(rows, numbers of the longest), padded, int64."""
    filled = np.full((len(rows), max(map(len, rows))), PADDING, np.int64)
    for place, row in enumerate(rows):
        filled[place, : len(row)] = row
    return filled


def mark(name: str) -> int:
    """The same number for the same id, on any machine."""
    return zlib.crc32(name.encode())
