"""What the models that speak for the store share: it may be away, and its errors are told as Triton's.

Knows Triton; leaves what the store is asked to the `work` that is opened with it, and when to its caller.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import triton_python_backend_utils as pb_utils

from perennial.errors import Away, BadRequest, ConfigError, Conflict, PerennialError, Unavailable
from perennial.serve import stage
from perennial.serve.checks import Outcome
from perennial.serve.stage import STORE_URL
from perennial.store_protocol import Store
from perennial.stores import open_store
from perennial.types import Tensors, text_tensor

Work = Callable[[Sequence[Tensors]], Sequence[Outcome]]
"""What is told to each of these requests."""

_log = logging.getLogger(__name__)


class Asked(NamedTuple):
    tensors: Tensors
    probe: bool
    sender: Any

    @property
    def rows(self) -> int:
        return len(self.tensors["TEXT"])


class Desk:
    """Threads may share one."""

    def __init__(self, work: Callable[[Store], Work], output: str, away: str) -> None:
        """`work` is opened with the store, and fills the `output`. `away` is what senders hear while the
        store is away: where it should be is for the log."""
        self._work, self._output, self._away = work, output, Unavailable(away)
        self._url = setting(STORE_URL)
        self._opened: tuple[Store, Work] | None = None
        self._opening = threading.Lock()
        try:
            self._open()
        except Unavailable as error:  # a server without its store still answers, so it must start
            _log.warning("%s; each request tries again", error)

    def answer(self, asked: list[Asked]) -> None:
        outcomes: list[Outcome]
        try:
            outcomes = self._outcomes(asked)
        except PerennialError as error:
            outcomes = [error] * len(asked)
        except Exception as error:
            _log.exception("a defect: what became of %d requests is not known", len(asked))
            outcomes = [PerennialError(f"{type(error).__name__}; see the server's log")] * len(asked)
        for absence in {outcome for outcome in outcomes if isinstance(outcome, Away)}:
            _log.warning("%s", absence)
        for request, outcome in zip(asked, outcomes, strict=True):
            self.tell(request, self._away if isinstance(outcome, Away) else outcome)

    def tell(self, asked: Asked, outcome: Outcome) -> None:
        if isinstance(outcome, PerennialError):
            response = pb_utils.InferenceResponse(error=pb_utils.TritonError(str(outcome), _code(outcome)))
        else:
            response = pb_utils.InferenceResponse([pb_utils.Tensor(self._output, text_tensor(outcome))])
        stage.send(asked.sender, response)

    def close(self) -> None:
        if self._opened:
            self._opened[0].close()

    def _outcomes(self, asked: list[Asked]) -> list[Outcome]:
        store, work = self._open()
        if any(request.probe for request in asked):
            store.ping()
        told = iter(work([request.tensors for request in asked if not request.probe]))
        return [[""] * request.rows if request.probe else next(told) for request in asked]

    def _open(self) -> tuple[Store, Work]:
        with self._opening:
            if self._opened is None:
                store = open_store(self._url)
                self._opened = store, self._work(store)
            return self._opened


def read(request: Any) -> Asked:
    tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
    return Asked(tensors, stage.is_probe(request), request.get_response_sender())


def setting(variable: str) -> str:
    try:
        return os.environ[variable]
    except KeyError:
        raise ConfigError(
            f"this model needs the environment variable {variable}; `perennial up` sets it"
        ) from None


def _code(error: PerennialError) -> Any:
    kinds = {
        BadRequest: pb_utils.TritonError.INVALID_ARG,
        Conflict: pb_utils.TritonError.ALREADY_EXISTS,
        Unavailable: pb_utils.TritonError.UNAVAILABLE,
    }
    codes = (code for kind, code in kinds.items() if isinstance(error, kind))
    return next(codes, pb_utils.TritonError.INTERNAL)
