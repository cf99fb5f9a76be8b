"""What the stages share: opening the release that Triton loads, and answering each request for itself.

Knows Triton's Python API, so that the stages need not; leaves what is asked and answered to the codec.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from perennial import plugins
from perennial.errors import BadRequest, Unavailable
from perennial.repository.layout import WARMUP, Release, read_release
from perennial.serve.crew import Reply
from perennial.task_protocol import Codec
from perennial.types import Array, Tensors, text_tensor

STORE_URL, KEY_FILE = "PERENNIAL_STORE_URL", "PERENNIAL_KEY_FILE"
"""The environment variables that name the store, and the file of the key of prediction ids, in hex digits."""

_log = logging.getLogger(__name__)

PROBE = "probe"
"""A request with this parameter is the watchdog's: it is answered as any other, and nothing is kept of it.
(An ensemble hands parameters on to its stages.)"""

Work = Callable[[Sequence[Tensors]], Sequence[Tensors | Exception]]
Submit = Callable[[Tensors, Reply], None]
Tell = Callable[[Tensors | Exception, bool], None]
"""Given a part of an answer, and whether it is the last one."""
Gone = Callable[[], bool]
Write = Callable[[Tensors, Tell, Gone], None]


@dataclass(frozen=True)
class Opened:
    """A version folder, with what its release.json names."""

    folder: Path
    release: Release
    codec: Codec

    def warmup(self) -> list[Tensors]:
        """A request for each of the release's own texts, from short to long."""
        asked = self.codec.signature.request[0].name
        return [{asked: text_tensor([text])} for text in self.warmup_texts()]

    def warmup_texts(self) -> list[str]:
        texts: list[str] = json.loads((self.folder / WARMUP).read_text())
        return texts


def open_release(args: Mapping[str, str]) -> Opened:
    """`args` are those of Triton's `initialize`."""
    # The cores are the engine's: a tokenizer's own threads cost short texts more than they save.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    folder = Path(args["model_repository"], args["model_version"])
    release = read_release(folder)
    return Opened(folder, release, plugins.get(f"tasks/{release.task}", "codec")(folder))


def respond(requests: Sequence[Any], work: Work) -> list[Any]:
    """One response a request: what `work` made of it, or the error that is its own.

    Where `work` fails on all of them together, it is asked for each alone, so that one bad request does not
    fail its neighbours in the batch.
    """
    results = _each([_read(request) for request in requests], work)
    return [_response(request, result) for request, result in zip(requests, results, strict=True)]


def respond_later(requests: Sequence[Any], submit: Submit) -> None:
    """Give each request to `submit`, which replies in its own time; its errors are the request's answer."""
    for request in requests:
        reply = _reply(request)
        try:
            submit(_read(request), reply)
        except Exception as error:
            reply(error)


def respond_in_pieces(requests: Sequence[Any], write: Write) -> None:
    """As `respond_later`, of a model that may answer a request more than once."""
    for request in requests:
        tell, gone = _teller(request)
        try:
            write(_read(request), tell, gone)
        except Exception as error:
            tell(error, True)


def settle(waiting: Sequence[tuple[Tensors, Reply]], work: Work) -> None:
    """What `respond` does, for requests that `respond_later` gave away."""
    results = _each([tensors for tensors, _ in waiting], work)
    for (_, reply), result in zip(waiting, results, strict=True):
        reply(result)


def send(sender: Any, response: Any, last: bool = True) -> None:
    """An answer to a request. A failure is logged: it must not end the thread that answers the rest."""
    try:
        sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if last else 0)
    except Exception:
        _log.exception("an answer could not be sent")


def rows(request: Any) -> int:
    """The batch size of a request."""
    return len(request.inputs()[0].as_numpy())


def is_probe(request: Any) -> bool:
    return json.loads(request.parameters() or "{}").get(PROBE) is True


def tensor(request: Any, name: str) -> Array:
    """One of a request's inputs."""
    array: Array = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
    return array


def _reply(request: Any) -> Reply:
    sender = request.get_response_sender()

    # The tensors that were read of a request live as long as it does: until its reply lets it go.
    def reply(result: Tensors | Exception) -> None:
        send(sender, _response(request, result))

    return reply


def _teller(request: Any) -> tuple[Tell, Gone]:
    sender, until = (
        request.get_response_sender(),
        request.timeout() and time.monotonic() + request.timeout() / 1e6,
    )

    def tell(result: Tensors | Exception, last: bool) -> None:
        send(sender, _response(request, result), last)

    def gone() -> bool:
        return bool(sender.is_cancelled() or (until and time.monotonic() > until))

    return tell, gone


def _read(request: Any) -> Tensors:
    return {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}


def _each(asked: Sequence[Tensors], work: Work) -> Sequence[Tensors | Exception]:
    try:
        return work(asked)
    except Exception as error:
        if len(asked) == 1:
            return [error]
        return [result for request in asked for result in _each([request], work)]


def _response(request: Any, result: Tensors | Exception) -> Any:
    if isinstance(result, Exception):
        return pb_utils.InferenceResponse(error=_error(result))
    asked = request.requested_output_names()
    tensors = [pb_utils.Tensor(name, array) for name, array in result.items() if name in asked]
    return pb_utils.InferenceResponse(tensors)


def _error(error: Exception) -> Any:
    if isinstance(error, BadRequest):
        return pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
    if isinstance(error, Unavailable):
        return pb_utils.TritonError(str(error), pb_utils.TritonError.UNAVAILABLE)
    return pb_utils.TritonError(f"{type(error).__name__}: {error}", pb_utils.TritonError.INTERNAL)
