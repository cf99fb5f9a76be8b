"""Signs answers: a prediction id for each text, with the key of the server's environment."""

from __future__ import annotations

import os
from pathlib import Path

from perennial.errors import ConfigError
from perennial.predictions import prediction_id
from perennial.repository.layout import Release
from perennial.serve.stage import KEY_FILE
from perennial.types import Array, text_tensor


class Signing:
    def __init__(self, release: Release) -> None:
        self._service, self._release = release.service, release.release
        self._key = _key()

    def ids(self, texts: Array) -> Array:
        """An id for each text of a request: (texts, 1) to (texts, 1)."""
        raw: list[bytes] = texts.ravel().tolist()
        return text_tensor([prediction_id(self._service, self._release, text, self._key) for text in raw])


def _key() -> bytes:
    file = os.environ.get(KEY_FILE)
    if not file:
        raise ConfigError(f"{KEY_FILE} is not set, so no answer can be signed; `perennial up` sets it")
    return bytes.fromhex(Path(file).read_text().strip())
