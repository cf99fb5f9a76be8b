"""The last stage: turns what the engine found into the answer, and signs it with a prediction id."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from perennial.errors import ConfigError
from perennial.plugins import labels_of
from perennial.predictions import prediction_id
from perennial.repository.layout import Release
from perennial.serve import stage
from perennial.serve.looking import looking
from perennial.serve.polite import politely
from perennial.serve.sampling import Sampling
from perennial.serve.stage import KEY_FILE, STORE_URL
from perennial.task_protocol import Recalling
from perennial.timings import now, timings
from perennial.types import Array, Tensors, text_tensor


class Postprocess:
    def initialize(self, args: Mapping[str, str]) -> None:
        self._opened = politely(lambda: stage.open_release(args))
        self._asked = self._opened.codec.signature.request[0].name
        if labels_of(self._opened.release.task).of_users:
            cast(Recalling, self._opened.codec).explore = self._opened.release.explore
        self._key = _key()
        self._looking = looking(self._opened)
        # Of pieces of an answer each would be kept as if somebody had asked.
        streams = self._opened.codec.signature.streams
        self._sampling = None if streams else _sampling(self._opened.release)

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
        signed = [self._sign(request[self._asked]) for request in asked]
        return [
            {**answer, "PREDICTION_ID": ids, **timings(request, began, head)}
            for request, answer, ids in zip(asked, answers, signed, strict=True)
        ]

    def _sign(self, texts: Array) -> Array:
        """An id for each text of a request: (texts, 1) to (texts, 1)."""
        release = self._opened.release
        raw: list[bytes] = texts.ravel().tolist()
        return text_tensor([prediction_id(release.service, release.release, text, self._key) for text in raw])


def _sampling(release: Release) -> Sampling | None:
    """None where there is no store, or the service's owner wants no text kept."""
    url = os.environ.get(STORE_URL)
    return Sampling(release, url) if url and release.shadow_share else None


def _key() -> bytes:
    file = os.environ.get(KEY_FILE)
    if not file:
        raise ConfigError(f"{KEY_FILE} is not set, so no answer can be signed; `perennial up` sets it")
    return bytes.fromhex(Path(file).read_text().strip())
