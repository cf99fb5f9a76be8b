"""The only stage of a service that writes: the texts of all requests grow side by side, and are answered in
pieces where they ask for that.

One process with one session, which says who is written when; who goes away, or runs out of time, makes room.
One stage and not three, since Triton (2.51) tells the stages of an ensemble nothing of who goes away once
their step has begun (triton-inference-server/server#6739): so whoever is to be missed asks this model itself,
as the client does, and every piece of an answer takes one hop less.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from perennial import plugins
from perennial.plugins import labels_of
from perennial.protocols import WritingSession
from perennial.serve import stage
from perennial.serve.polite import politely
from perennial.serve.recalling import recalling
from perennial.serve.signing import Signing
from perennial.timings import RUN_MS, now, stamped, timings
from perennial.types import Tensors, text_tensor

SHOWN = (
    ("perennial_texts_writing", "Texts that are being written"),
    ("perennial_texts_waiting", "Texts that wait to be written"),
)
"""Among Triton's metrics: names, and what they count."""


class Writer:
    def initialize(self, args: Mapping[str, str]) -> None:
        opened = politely(lambda: stage.open_release(args))
        release, self._codec = opened.release, opened.codec
        self._asked = self._codec.signature.request[0].name
        self._engine_in = [spec.name for spec in self._codec.signature.engine_in]
        self._signing, self._session = Signing(release), _session(opened)
        self._codec.longest = min(self._codec.longest, self._session.length)
        self._recalling = recalling(opened)  # after the warm-up, whose text is to be no longer than it is
        self._families = [pb_utils.MetricFamily(*told, pb_utils.MetricFamily.GAUGE) for told in SHOWN]
        labels = {"service": release.service, "release": str(release.release)}
        self._gauges = [family.Metric(labels=labels) for family in self._families]
        self._session.watch(self._show)

    def execute(self, requests: Sequence[Any]) -> None:
        stage.respond_in_pieces(requests, self._write)

    def finalize(self) -> None:
        self._session.close()
        if self._recalling:
            self._recalling.stop()

    def _show(self, writing: int, waiting: int) -> None:
        for gauge, count in zip(self._gauges, (writing, waiting), strict=True):
            gauge.set(count)

    def _write(self, asked: Tensors, tell: stage.Tell, gone: stage.Gone) -> None:
        came = now()
        self._codec.check(asked)
        (encoded,) = self._codec.encode([asked])
        encoded, ids, began = stamped(asked, encoded, came), self._signing.ids(asked[self._asked]), now()

        def told(pieces: Tensors | Exception, last: bool) -> None:
            if isinstance(pieces, Exception):
                tell(pieces, last)
                return
            ends = now()
            took = np.full((len(ids), 1), (ends - began) / 1e6, np.float32)
            (answer,) = self._codec.decode([asked], [{**encoded, **pieces}])
            spent = timings({**encoded, RUN_MS.name: took}, ends, head=0)
            tell({**answer, "PREDICTION_ID": ids, **spent}, last)

        self._session.write({name: encoded[name] for name in self._engine_in}, told, gone)


def _session(opened: stage.Opened) -> WritingSession:
    release = opened.release
    if release.llm:
        from perennial.serve.llm import Elsewhere
        from perennial.writing import session as writing

        return writing.WritingSession(Elsewhere(release, opened.folder))
    engine = plugins.get("engines", release.engine)(**release.engine_options)
    cores = release.alone_threads or len(os.sched_getaffinity(0))
    session: WritingSession = engine.open(opened.folder / release.file, cores)
    politely(lambda: _warm_up(opened, session))
    return session


def _warm_up(opened: stage.Opened, session: WritingSession) -> None:
    """With the longest of the release's own texts, quickly: the first run allocates memory."""
    asked, longest = opened.codec.signature.request[0].name, opened.warmup_texts()[-1]
    brief = labels_of(opened.release.task).another(longest, 0)
    for encoded in opened.codec.encode([{asked: text_tensor([brief])}]):
        session.run({spec.name: encoded[spec.name] for spec in opened.codec.signature.engine_in})
