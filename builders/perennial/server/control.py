"""What is asked of a running tritonserver: answers, loads, configs, figures. gRPC, and HTTP for its metrics.

Knows Triton's calls and errors. Leaves what a load means, and when to make it, to the jobs and the watchdog.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tritonclient import grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from perennial.errors import BadRequest, Broken, ConfigError, Conflict, NotFound, PerennialError, Unavailable
from perennial.server import metrics
from perennial.server.arguments import GRPC_SECRET_HEADER
from perennial.types import Array, Tensors

ASK_S, LOAD_S = 10.0, 300.0


class TimedOut(Unavailable):
    """No answer came in time: the model is overloaded, or stuck."""


_KINDS: Mapping[str, type[PerennialError]] = {
    "StatusCode.INVALID_ARGUMENT": BadRequest,
    "StatusCode.NOT_FOUND": NotFound,
    "StatusCode.ALREADY_EXISTS": Conflict,
    "StatusCode.UNAVAILABLE": Unavailable,
    "StatusCode.DEADLINE_EXCEEDED": TimedOut,
    "StatusCode.CANCELLED": Unavailable,
}


@dataclass(frozen=True)
class Loaded:
    """A version that the server knows: `READY`, `LOADING`, `UNLOADING` or `UNAVAILABLE`, and why."""

    model: str
    version: int
    state: str
    reason: str


@dataclass(frozen=True)
class Figures:
    """A version's requests since its load, and the p99 of the last minute's (None where there were none)."""

    succeeded: int
    failed: int
    p99_us: float | None

    @property
    def asked(self) -> int:
        return self.succeeded + self.failed


@dataclass(frozen=True)
class Spent:
    """What a version's answered requests took since its load, in milliseconds all together: in its queue,
    reading inputs, computing, and writing outputs; `whole` is from arrival to answer."""

    requests: int
    whole: float
    queue: float
    input: float
    infer: float
    output: float


@dataclass(frozen=True)
class Step:
    """One stage of an ensemble. `inputs` maps the stage's tensors to the ensemble's, `outputs` likewise."""

    model: str
    version: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


class Control:
    """A connection to one server, for any number of threads; without `metrics_url` figures have no p99.

    Every call raises Perennial's errors with Triton's text: `Unavailable` for a server that is away, too busy
    or too slow, `Broken` for a model that fails, `BadRequest` and `NotFound` as usual.
    """

    def __init__(self, grpc_url: str, secret: str, metrics_url: str = "") -> None:
        self._url = grpc_url.removeprefix("grpc://")
        self._triton = grpc.InferenceServerClient(self._url)
        self._secret = {GRPC_SECRET_HEADER: secret}
        self._metrics_url = metrics_url

    def close(self) -> None:
        self._triton.close()

    def __enter__(self) -> Control:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def alive(self) -> bool:
        """Whether the server answers, whatever its models do."""
        return _says_yes(self._triton.is_server_live)

    def ready(self) -> bool:
        """Whether the server answers and every model that was loaded is ready."""
        return _says_yes(self._triton.is_server_ready)

    def ask(
        self,
        model: str,
        version: int | None,
        tensors: Tensors,
        parameters: Mapping[str, bool | int | str] | None = None,
        timeout_s: float = ASK_S,
    ) -> Tensors:
        """The model's outputs; the newest version answers where `version` is None."""
        inputs = [_input(name, array) for name, array in tensors.items()]
        told = {"model_version": str(version or ""), "parameters": dict(parameters or {})}
        decoupled = self._config(model).model_transaction_policy.decoupled
        with _our_errors():
            if decoupled:
                result = self._first(model, inputs, told, timeout_s)
            else:
                result = self._triton.infer(model, inputs, client_timeout=timeout_s, **told)
            return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}

    def _first(self, model: str, inputs: Any, told: Mapping[str, Any], timeout_s: float) -> Any:
        """Of the answers of a model that may give several. In a client of its own, which has one stream."""
        answers: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
        with grpc.InferenceServerClient(self._url) as client:
            client.start_stream(lambda result, error: answers.put((result, error)), stream_timeout=timeout_s)
            client.async_stream_infer(model, inputs, **told)
            result, error = answers.get()
        if error is not None:
            raise error
        return result

    def load(self, model: str) -> None:
        """Bring what is new on disk into the server; if that fails (`Broken`), what serves now serves on."""
        with _our_errors({"StatusCode.INVALID_ARGUMENT": Broken, "StatusCode.INTERNAL": Broken}):
            self._triton.load_model(model, headers=self._secret, client_timeout=LOAD_S)

    def unload(self, model: str) -> None:
        with _our_errors():
            self._triton.unload_model(model, headers=self._secret, client_timeout=ASK_S)

    def wait_ready(self, model: str, version: int, timeout_s: float = 10.0) -> None:
        """Until this version answers. A load that finds nothing new on disk says yes and does nothing."""
        ends_at = time.monotonic() + timeout_s
        while not self._is_ready(model, version):
            if time.monotonic() > ends_at:
                raise Broken(f"version {version} of {model} is not ready: {self._why(model, version)}")
            time.sleep(0.02)

    def index(self) -> list[Loaded]:
        """Every version that the server knows."""
        with _our_errors():
            models = self._triton.get_model_repository_index(
                headers=self._secret, client_timeout=ASK_S
            ).models
        return [Loaded(m.name, int(m.version), m.state, m.reason) for m in models if m.version]

    def models(self) -> set[str]:
        """Those of which any version serves."""
        return {known.model for known in self.index() if known.state == "READY"}

    def versions(self, model: str) -> list[int]:
        """The versions that serve, ascending."""
        return sorted(
            known.version for known in self.index() if known.model == model and known.state == "READY"
        )

    def steps(self, model: str) -> list[Step]:
        """The stages of an ensemble; empty for a model that is none."""
        return [
            Step(step.model_name, step.model_version, dict(step.input_map), dict(step.output_map))
            for step in self._config(model).ensemble_scheduling.step
        ]

    def processes(self, model: str) -> int:
        """How many processes answer for a version of the model; 0 where none of its own does."""
        config = self._config(model)
        return sum(group.count for group in config.instance_group) if config.backend == "python" else 0

    def figures(self, model: str, version: int) -> Figures:
        statistics = self._statistics(model, version)
        return Figures(statistics.success.count, statistics.fail.count, self._p99(model, version))

    def spent(self, model: str, version: int) -> Spent:
        found = self._statistics(model, version)
        parts = (found.success, found.queue, found.compute_input, found.compute_infer, found.compute_output)
        return Spent(found.success.count, *(part.ns / 1e6 for part in parts))

    def _statistics(self, model: str, version: int) -> Any:
        with _our_errors():
            answer = self._triton.get_inference_statistics(model, str(version), client_timeout=ASK_S)
        return answer.model_stats[0].inference_stats

    def _config(self, model: str) -> Any:
        with _our_errors():
            return self._triton.get_model_config(model, client_timeout=ASK_S).config

    def _is_ready(self, model: str, version: int) -> bool:
        with _our_errors():
            return bool(self._triton.is_model_ready(model, str(version), client_timeout=ASK_S))

    def _why(self, model: str, version: int) -> str:
        known = [entry for entry in self.index() if (entry.model, entry.version) == (model, version)]
        return f"{known[0].state} {known[0].reason}".strip() if known else "the server does not know it"

    def _p99(self, model: str, version: int) -> float | None:
        return metrics.p99(metrics.read(self._metrics_url), model, version) if self._metrics_url else None


def _says_yes(asks: Callable[..., Any]) -> bool:
    """What the server says; no where it is away."""
    try:
        with _our_errors():
            return bool(asks(client_timeout=ASK_S))
    except Unavailable:
        return False


def _input(name: str, array: Array) -> grpc.InferInput:
    tensor = grpc.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return tensor


@contextmanager
def _our_errors(kinds: Mapping[str, type[PerennialError]] | None = None) -> Iterator[None]:
    try:
        yield
    except InferenceServerException as error:
        said = " ".join(str(error.message()).split())
        if "protocol is restricted" in said:
            raise ConfigError(
                "the server does not take this admin secret, so it was started with another; start it again"
            ) from None
        raise {**_KINDS, **(kinds or {})}.get(str(error.status()), Broken)(said) from None
