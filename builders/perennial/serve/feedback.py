"""The feedback model: acknowledges what users say of answers, once it is durable.

Knows Triton; leaves what a row must be, the commit and the trigger to `intake`. `execute` only takes requests
in: the line's thread answers them, so that Triton can hand over the next ones while a commit is under way.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import triton_python_backend_utils as pb_utils

from perennial.errors import BadRequest, ConfigError, Conflict, PerennialError, Unavailable
from perennial.serve import stage
from perennial.serve.intake import Intake, Outcome
from perennial.serve.line import Line
from perennial.serve.stage import KEY_FILE, STORE_URL
from perennial.store_protocol import Store
from perennial.stores import open_store
from perennial.types import Tensors, text_tensor

AWAY = Unavailable(
    "the store cannot be reached now; send the same rows, with the same KEYs, again in a while"
)
"""What senders hear. The log says where the store should be, and why it is not."""
MAX_WAITING_ROWS = 16_384
MAX_COMMIT_ROWS = 1024

_log = logging.getLogger(__name__)


class Asked(NamedTuple):
    tensors: Tensors
    probe: bool
    sender: Any

    @property
    def rows(self) -> int:
        return len(self.tensors["TEXT"])


class Feedback:
    def initialize(self, args: Mapping[str, str]) -> None:  # noqa: ARG002
        self._url = _setting(STORE_URL)
        self._key = bytes.fromhex(Path(_setting(KEY_FILE)).read_text().strip())
        self._store: Store | None = None
        try:
            self._open()
        except Unavailable as error:  # a server without its store still answers, so it must start
            _log.warning("%s; each request tries again", error)
        self._line = Line(self._serve, MAX_WAITING_ROWS, MAX_COMMIT_ROWS, "to be stored")

    def execute(self, requests: Sequence[Any]) -> None:
        for request in requests:
            asked = _read(request)
            try:
                self._line.join(asked, asked.rows)
            except Unavailable as error:
                _answer(asked, error)

    def finalize(self) -> None:
        self._line.close()
        if self._store is not None:
            self._store.close()

    def _serve(self, asked: list[Asked]) -> None:
        outcomes: list[Outcome]
        try:
            outcomes = self._outcomes(asked)
        except PerennialError as error:
            outcomes = [error] * len(asked)
        except Exception as error:
            _log.exception("a defect: none of %d requests is known to be stored", len(asked))
            outcomes = [PerennialError(f"{type(error).__name__}; see the server's log")] * len(asked)
        for absence in {outcome for outcome in outcomes if isinstance(outcome, Unavailable)}:
            _log.warning("%s", absence)
        for request, outcome in zip(asked, outcomes, strict=True):
            _answer(request, AWAY if isinstance(outcome, Unavailable) else outcome)

    def _outcomes(self, asked: list[Asked]) -> list[Outcome]:
        store, intake = self._open()
        if any(request.probe for request in asked):
            store.ping()
        taken = iter(intake.take([request.tensors for request in asked if not request.probe]))
        return [[""] * request.rows if request.probe else next(taken) for request in asked]

    def _open(self) -> tuple[Store, Intake]:
        if self._store is None:
            store = open_store(self._url)
            self._store, self._intake = store, Intake(store, self._key)
        return self._store, self._intake


def _setting(variable: str) -> str:
    try:
        return os.environ[variable]
    except KeyError:
        raise ConfigError(
            f"the feedback model needs the environment variable {variable}; `perennial up` sets it"
        ) from None


def _read(request: Any) -> Asked:
    tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
    return Asked(tensors, stage.is_probe(request), request.get_response_sender())


def _answer(asked: Asked, outcome: Outcome) -> None:
    if isinstance(outcome, PerennialError):
        response = pb_utils.InferenceResponse(error=pb_utils.TritonError(str(outcome), _code(outcome)))
    else:
        response = pb_utils.InferenceResponse([pb_utils.Tensor("RECEIPT", text_tensor(outcome))])
    stage.send(asked.sender, response)


def _code(error: PerennialError) -> Any:
    codes = {
        BadRequest: pb_utils.TritonError.INVALID_ARG,
        Conflict: pb_utils.TritonError.ALREADY_EXISTS,
        Unavailable: pb_utils.TritonError.UNAVAILABLE,
    }
    return codes.get(type(error), pb_utils.TritonError.INTERNAL)
