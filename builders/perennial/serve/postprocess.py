"""The last stage: turns what the engine found into the answer, and signs it with a prediction id."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

from perennial.plugins import labels_of
from perennial.repository.layout import Release
from perennial.serve import stage
from perennial.serve.looking import looking
from perennial.serve.polite import politely
from perennial.serve.sampling import Sampling
from perennial.serve.signing import Signing
from perennial.serve.stage import STORE_URL
from perennial.task_protocol import Recalling
from perennial.timings import now, timings
from perennial.types import Tensors


class Postprocess:
    def initialize(self, args: Mapping[str, str]) -> None:
        self._opened = politely(lambda: stage.open_release(args))
        self._asked = self._opened.codec.signature.request[0].name
        if labels_of(self._opened.release.task).of_users:
            cast(Recalling, self._opened.codec).explore = self._opened.release.explore
        self._signing = Signing(self._opened.release)
        self._looking = looking(self._opened)
        self._sampling = _sampling(self._opened.release)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        if self._sampling:
            for request in requests:
                if not stage.is_probe(request):
                    self._sampling.take(stage.tensor(request, self._asked))
        return stage.respond(requests, self._answer)

    def finalize(self) -> None:
        if self._looking:
            self._looking.stop()
        if self._sampling:
            self._sampling.stop()

    def _answer(self, asked: Sequence[Tensors]) -> list[Tensors | Exception]:
        began, head = now(), self._looking.version if self._looking else 0
        answers = self._opened.codec.decode(asked, asked)
        signed = [self._signing.ids(request[self._asked]) for request in asked]
        return [
            {**answer, "PREDICTION_ID": ids, **timings(request, began, head)}
            for request, answer, ids in zip(asked, answers, signed, strict=True)
        ]


def _sampling(release: Release) -> Sampling | None:
    """None where there is no store, or the service's owner wants no text kept."""
    url = os.environ.get(STORE_URL)
    return Sampling(release, url) if url and release.shadow_share else None
