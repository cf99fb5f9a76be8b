"""A bounded line of rows that wait for the engine, and the threads that run them.

Triton's own bounded queues stall: with any `default_queue_policy`, 2.51 wakes nobody for a request that comes
while every instance is busy, and it waits for the next one or for 500 ms. So the line is here, where rows are
also chosen from all that wait, and not from what came in one batch.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from perennial.errors import Unavailable
from perennial.serve.batching import Layout, Row, pick
from perennial.types import Tensors

CAPACITY = 256
"""Rows that may wait: about a second's work. What comes then is refused."""

_log = logging.getLogger(__name__)

Reply = Callable[[Tensors | Exception], None]


@dataclass(eq=False)
class _Job:
    """A request, with what its rows gave so far."""

    tensors: Tensors
    reply: Reply
    rows: int
    results: dict[int, Tensors | Exception] = field(default_factory=dict)


_Waiting = tuple[_Job, Row]


class Crew:
    """`run` takes one rectangular batch, and is called from `workers` threads at once."""

    def __init__(
        self, layout: Layout, run: Callable[[Tensors], Tensors], workers: int, capacity: int = CAPACITY
    ) -> None:
        self._layout = layout
        self._run = run
        self._capacity = capacity
        self._line: list[_Waiting] = []
        self._changed = threading.Condition()
        self._running = 0
        self._closed = False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    @property
    def idle(self) -> bool:
        """Whether nothing waits or runs: so it stays until the next `submit`."""
        with self._changed:
            return not self._line and not self._running

    def submit(self, tensors: Tensors, reply: Reply) -> None:
        """Call `reply` once, from another thread, with the request's outputs or its error.

        Raises `Unavailable` where the line has no room for all its rows.
        """
        rows = self._layout.rows(tensors)
        job = _Job(tensors, reply, len(rows))
        with self._changed:
            if len(self._line) + len(rows) > self._capacity:
                raise Unavailable(
                    f"{len(self._line)} rows wait for the engine already; send these again in a second"
                )
            self._line.extend((job, row) for row in rows)
            self._changed.notify(len(rows))

    def close(self) -> None:
        """Finish what waits, and stop."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while runs := self._take():
            done = [
                (job, row, result)
                for run in runs
                for (job, row), result in zip(run, self._results([row for _, row in run]), strict=True)
            ]
            for job, row, result in done:
                self._settle(job, row, result)
            with self._changed:
                self._running -= 1

    def _take(self) -> list[list[_Waiting]]:
        """The rows of the runs that come next; none once the line is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._line or self._closed)
            if not self._line:
                return []
            runs = pick([row.length for _, row in self._line], len(self._threads))
            taken = [[self._line[index] for index in run] for run in runs]
            self._running += 1
            gone = {index for run in runs for index in run}
            self._line = [waiting for index, waiting in enumerate(self._line) if index not in gone]
            return taken

    def _results(self, rows: Sequence[Row]) -> Sequence[Tensors | Exception]:
        """What each row gave; where a run of several fails, each runs alone and fails for itself only."""
        try:
            return self._layout.split(self._run(self._layout.stack(rows)), len(rows))
        except Exception as error:
            return [error] if len(rows) == 1 else [result for row in rows for result in self._results([row])]

    def _settle(self, job: _Job, row: Row, result: Tensors | Exception) -> None:
        with self._changed:
            job.results[row.place] = result
            done = len(job.results) == job.rows
        if done:
            try:
                job.reply(self._joined(job))
            except Exception:  # it must not end the thread that sends all others
                _log.exception("an answer could not be sent")

    def _joined(self, job: _Job) -> Tensors | Exception:
        fine: list[Tensors] = []
        for place in range(job.rows):
            result = job.results[place]
            if isinstance(result, Exception):
                return result
            fine.append(result)
        return self._layout.join(job.tensors, fine)
