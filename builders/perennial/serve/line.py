"""A bounded line before what is done for many at once: a durable commit, or the encoding of many texts.

What waits behind one commit shares the next. Triton's own queue cannot do it: with `max_queue_size` set, a
request that comes while the only instance is busy may lie for 500 ms, since the batcher is woken at a later
request or by its timer only (Triton 2.51, measured; `PriorityQueue::support_prefetching_` in its core).
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from perennial.errors import Unavailable

T = TypeVar("T")


class Line(Generic[T]):
    def __init__(self, serve: Callable[[list[T]], None], most: int, together: int, aim: str) -> None:
        """`serve` is called on a thread of the line's own, with items of about `together` rows in all.

        At most `most` rows wait; who is refused then hears what the others wait for, the `aim`. An exception
        of `serve` is logged, and the line moves on.
        """
        self._serve = serve
        self._most = most
        self._together = together
        self._aim = aim
        self._waiting: deque[tuple[T, int]] = deque()
        self._rows = 0
        self._serving = False
        self._open = True
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="line", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether nobody waits or is served: so it stays until the next `join`."""
        with self._changed:
            return not self._waiting and not self._serving

    def join(self, item: T, rows: int) -> None:
        """Take the last place; `Unavailable` where the line is full."""
        with self._changed:
            if self._waiting and self._rows + rows > self._most:
                raise Unavailable(f"{self._rows} rows wait {self._aim} already; send these again in a second")
            self._waiting.append((item, rows))
            self._rows += rows
            self._changed.notify()

    def close(self) -> None:
        """Serve those who wait, and end."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while items := self._next():
            try:
                self._serve(items)
            except Exception:
                logging.getLogger(__name__).exception("%d requests were not served", len(items))

    def _next(self) -> list[T]:
        """The head of the line, and those behind it who fit; none once it is closed and empty."""
        with self._changed:
            self._serving = False
            self._changed.wait_for(lambda: self._waiting or not self._open)
            items: list[T] = []
            taken = 0
            while self._waiting and (not items or taken + self._waiting[0][1] <= self._together):
                item, rows = self._waiting.popleft()
                items.append(item)
                taken += rows
            self._rows -= taken
            self._serving = True
            return items
