"""The middle stage of a service that writes: the texts of all requests grow side by side, and are answered in
pieces where they ask for that.

One process with one session, which says who is written when. Who runs out of time makes room; so would who
goes away, but Triton (2.51) tells the stages of an ensemble nothing of that once their step has begun
(triton-inference-server/server#6739).
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
from perennial.timings import RUN_MS, now
from perennial.types import Tensors, text_tensor

SHOWN = (
    ("perennial_texts_writing", "Texts that are being written"),
    ("perennial_texts_waiting", "Texts that wait to be written"),
)
"""Among Triton's metrics: names, and what they count."""


class Writer:
    def initialize(self, args: Mapping[str, str]) -> None:
        opened = politely(lambda: stage.open_release(args))
        release = opened.release
        engine = plugins.get("engines", release.engine)(**release.engine_options)
        cores = release.alone_threads or len(os.sched_getaffinity(0))
        self._session: WritingSession = engine.open(opened.folder / release.file, cores)
        self._own = {spec.name for spec in opened.codec.signature.engine_in}
        politely(lambda: _warm_up(opened, self._session))
        self._families = [pb_utils.MetricFamily(*told, pb_utils.MetricFamily.GAUGE) for told in SHOWN]
        labels = {"service": release.service, "release": str(release.release)}
        self._gauges = [family.Metric(labels=labels) for family in self._families]
        self._session.watch(self._show)

    def execute(self, requests: Sequence[Any]) -> None:
        stage.respond_in_pieces(requests, self._write)

    def finalize(self) -> None:
        self._session.close()

    def _show(self, writing: int, waiting: int) -> None:
        for gauge, count in zip(self._gauges, (writing, waiting), strict=True):
            gauge.set(count)

    def _write(self, asked: Tensors, tell: stage.Tell, gone: stage.Gone) -> None:
        """What is not the engine's is handed on with each piece (see `pbtxt`)."""
        began, own = now(), {name: asked.pop(name) for name in self._own if name in asked}

        def told(pieces: Tensors | Exception, last: bool) -> None:
            if isinstance(pieces, Exception):
                tell(pieces, last)
                return
            took = np.full((len(own["input_ids"]), 1), (now() - began) / 1e6, np.float32)
            tell({**pieces, **asked, RUN_MS.name: took}, last)

        self._session.write(own, told, gone)


def _warm_up(opened: stage.Opened, session: WritingSession) -> None:
    """With the longest of the release's own texts, quickly: the first run allocates memory."""
    asked, longest = opened.codec.signature.request[0].name, opened.warmup_texts()[-1]
    brief = labels_of(opened.release.task).another(longest, 0)
    for encoded in opened.codec.encode([{asked: text_tensor([brief])}]):
        session.run({spec.name: encoded[spec.name] for spec in opened.codec.signature.engine_in})
