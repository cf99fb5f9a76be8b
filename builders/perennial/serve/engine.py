"""The middle stage: runs the release's engine file, where Triton has no backend of its own for it.

One process with a thread for each of the release's `instances`, which share a session and a line of waiting
rows: an idle thread always takes the next row. A row that comes while nothing waits or runs is run at once,
in a second session that has all cores, or `alone_threads`: on two that takes 7 ms instead of 11, of which the
line and its thread's wake-up would take one. The price is the weights twice in memory, and what comes
meanwhile waits.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from perennial import plugins
from perennial.protocols import Session
from perennial.serve import stage
from perennial.serve.batching import Layout
from perennial.serve.crew import Crew
from perennial.serve.polite import politely
from perennial.timings import RUN_MS, timed
from perennial.types import Tensors


class Engine:
    def initialize(self, args: Mapping[str, str]) -> None:
        opened = politely(lambda: stage.open_release(args))
        release = opened.release
        threads = (release.threads, release.alone_threads or len(os.sched_getaffinity(0)))
        self._sessions = {count: _open_session(opened, count) for count in {*threads}}
        shared, self._alone = (timed(self._sessions[count].run) for count in threads)
        politely(lambda: _warm_up(opened, self._sessions.values()))
        signature = opened.codec.signature
        signature = replace(signature, engine_out=(*signature.engine_out, RUN_MS))
        self._crew = Crew(Layout(signature), shared, release.instances)

    def execute(self, requests: Sequence[Any]) -> list[Any] | None:
        if len(requests) == 1 and self._crew.idle and stage.rows(requests[0]) == 1:
            return stage.respond(requests, self._run_alone)
        stage.respond_later(requests, self._crew.submit)
        return None

    def finalize(self) -> None:
        self._crew.close()
        for session in self._sessions.values():
            session.close()

    def _run_alone(self, asked: Sequence[Tensors]) -> list[Tensors]:
        return [self._alone(tensors) for tensors in asked]


def _open_session(opened: stage.Opened, threads: int) -> Session:
    def start() -> Session:
        engine = plugins.get("engines", opened.release.engine)()
        session: Session = engine.open(opened.folder / opened.release.file, threads)
        return session

    # A runtime's own threads would inherit the low priority for good.
    return politely(start) if threads == 1 else start()


def _warm_up(opened: stage.Opened, sessions: Iterable[Session]) -> None:
    """Runs the release's own texts: the first run at each length allocates its memory."""
    names = [spec.name for spec in opened.codec.signature.engine_in]
    for encoded in opened.codec.encode(opened.warmup()):
        for session in sessions:
            session.run({name: encoded[name] for name in names})
