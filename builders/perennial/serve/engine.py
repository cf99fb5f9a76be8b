"""The middle stage: runs the release's engine file, where Triton has no backend of its own for it.

One process with a thread for each of the release's `instances`, which share a session and a line of waiting
rows: an idle thread always takes the next row, and the weights are in memory once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perennial import plugins
from perennial.protocols import Session
from perennial.serve import stage
from perennial.serve.batching import Layout
from perennial.serve.crew import Crew
from perennial.serve.polite import politely


class Engine:
    def initialize(self, args: Mapping[str, str]) -> None:
        opened = politely(lambda: stage.open_release(args))
        self._session = _open_session(opened)
        politely(lambda: _warm_up(opened, self._session))
        self._crew = Crew(Layout(opened.codec.signature), self._session.run, opened.release.instances)

    def execute(self, requests: Sequence[Any]) -> None:
        stage.respond_later(requests, self._crew.submit)

    def finalize(self) -> None:
        self._crew.close()
        self._session.close()


def _open_session(opened: stage.Opened) -> Session:
    release = opened.release

    def start() -> Session:
        session: Session = plugins.get("engines", release.engine)().open(
            opened.folder / release.file, release.threads
        )
        return session

    # A runtime's own threads would inherit the low priority for good.
    return politely(start) if release.threads == 1 else start()


def _warm_up(opened: stage.Opened, session: Session) -> None:
    """Runs the release's own texts: the first run at each length allocates its memory."""
    names = [spec.name for spec in opened.codec.signature.engine_in]
    for encoded in opened.codec.encode(opened.warmup()):
        session.run({name: encoded[name] for name in names})
