"""Renders the complete Triton config of every model of a service.

Complete, since the server runs with `--disable-auto-complete-config`: that saves 1.5 s for each Python stage
loaded. A stage's config says nothing of a single release, so that publishing one changes no config, for a
changed config makes Triton initialise the versions that already serve. Knows no folders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from perennial.errors import Broken
from perennial.repository.layout import Stage, ensemble_model, stage_model, timed_model
from perennial.repository.llm import BACKENDS
from perennial.shapes import MAX_BATCH_SIZE
from perennial.timings import HEAD, RUN_MS, STAMPS, TIMINGS
from perennial.types import BackendSpec, LlmName, Signature, TensorSpec

PYTHON = "python"
PREDICTION_ID = TensorSpec("PREDICTION_ID", "BYTES", (1,))
OWN = (PREDICTION_ID, STAMPS, RUN_MS, TIMINGS, HEAD)
"""The tensors that the stages add to a task's."""

MAX_QUEUE_SIZE = 256
"""Requests that may wait for an engine that Triton itself runs; the next is refused (HTTP 503)."""


@dataclass(frozen=True)
class EnginePlan:
    """How the engine stage runs: what loads its file, in how many instances, the lengths to warm up at."""

    backend: BackendSpec
    instances: int
    warmup_tokens: Sequence[int] = ()

    @property
    def ours(self) -> bool:
        """Whether our own stage runs it, and not a backend of Triton's."""
        return self.backend.backend == PYTHON


def stage_configs(
    service: str, signature: Signature, engine: EnginePlan, processes: Mapping[Stage, int] | None = None
) -> dict[Stage, str]:
    """The config of each stage, as text. Those that are not the engine's have so many `processes`, or one."""
    configs = {}
    for stage, inputs, outputs in _flow(signature, engine):
        config = _model(stage_model(service, stage), inputs, outputs)
        config.version_policy.all.SetInParent()
        if stage == "engine" and not engine.ours:
            _run_natively(config, engine)
        else:
            _run_in_python(config, (processes or {}).get(stage, 1))
        # In effect only where the server has a cache. Whatever may change while a release serves is in the
        # stages around it: the key is the model, its version and the very bytes that go in.
        config.response_cache.enable = stage == "engine"
        config.model_transaction_policy.decoupled = signature.streams
        configs[stage] = _text(config)
    return configs


def ensemble_config(
    service: str, release: int, signature: Signature, engine: EnginePlan, timed: bool = False
) -> str:
    """The ensemble that answers with `release`: it pins that version of every stage, and is that version.

    What a stage gives it must pass on, asked or not: 0.2 ms of an answer for its timings. So the one that
    has them is another model.
    """
    flow = _flow(signature, engine if timed else None)
    name = timed_model(service) if timed else ensemble_model(service)
    config = _model(name, signature.request, flow[-1].outputs)
    config.platform = "ensemble"
    config.model_transaction_policy.decoupled = signature.streams
    config.version_policy.specific.versions.append(release)
    known = {spec.name: spec.name for spec in signature.request}  # the ensemble's name of each tensor so far
    for stage, inputs, outputs in flow:
        last = stage == flow[-1].stage
        made = {spec.name: spec.name if last else f"{stage}.{spec.name}" for spec in outputs}
        step = config.ensemble_scheduling.step.add(
            model_name=stage_model(service, stage), model_version=release
        )
        step.input_map.update({spec.name: known[spec.name] for spec in inputs if spec.name in known})
        step.output_map.update(made)
        known.update(made)
    return _text(config)


def llm_config(service: str, name: LlmName) -> str:
    """The model that writes for a service, of a backend that batches by itself."""
    backend = BACKENDS[name]
    config = _model(stage_model(service, "llm"), backend.inputs, backend.outputs)
    config.max_batch_size = 0
    config.backend, config.default_model_filename = backend.backend, backend.filename
    config.version_policy.all.SetInParent()
    config.model_transaction_policy.decoupled = True
    config.instance_group.add(count=1, kind=pb.ModelInstanceGroup.Kind.Value(backend.kind))
    return _text(config)


def pinned_release(text: str) -> int | None:
    """The release that a config makes the serving one; None where it is not the config of a service."""
    config = _parse(text)
    pinned = config.version_policy.specific.versions
    return int(pinned[0]) if config.platform == "ensemble" and pinned else None


def tensors_of(text: str) -> list[tuple[str, int, tuple[int, ...]]]:
    """Name, type and shape of what of its task's flows in and out of a model, by its config."""
    config, own = _parse(text), {spec.name for spec in OWN}
    tensors = [tensor for tensor in (*config.input, *config.output) if tensor.name not in own]
    return [(tensor.name, tensor.data_type, tuple(tensor.dims)) for tensor in tensors]


class _Step(NamedTuple):
    stage: Stage
    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]


def _flow(signature: Signature, engine: EnginePlan | None) -> list[_Step]:
    """What enters and what leaves each stage, with what is told of the time where an engine is given: one
    that is not ours tells nothing."""
    stamps, run_ms, timings = ([STAMPS], [RUN_MS], [TIMINGS, HEAD]) if engine else ([], [], [])
    request, carried = signature.request, signature.carried
    answer = [*signature.answer, PREDICTION_ID, *timings]
    if signature.streams:
        return [_Step("writer", request, answer)]
    told = run_ms if engine and engine.ours else []
    return [
        _Step("tokenizer", request, [*signature.engine_in, *carried, *stamps]),
        _Step("engine", signature.engine_in, [*signature.engine_out, *told]),
        _Step("postprocess", [*request, *carried, *signature.engine_out, *stamps, *run_ms], answer),
    ]


def _model(name: str, inputs: Iterable[TensorSpec], outputs: Iterable[TensorSpec]) -> Any:
    config = pb.ModelConfig(name=name, max_batch_size=MAX_BATCH_SIZE)
    for spec in inputs:
        config.input.add(name=spec.name, data_type=_data_type(spec), dims=spec.shape, optional=spec.optional)
    for spec in outputs:
        config.output.add(name=spec.name, data_type=_data_type(spec), dims=spec.shape)
    return config


def _run_in_python(config: Any, processes: int) -> None:
    """A stage class of `serve`, which gets each request in its own shape. The engine's is one process.

    It has no queue policy: with any, 2.51 lets a request that comes while every instance is busy wait for the
    next one, or for 500 ms. The tokenizer, the engine and the writer bound lines of their own; the
    postprocess gets what the engine lets through, and takes a tenth of its time.
    """
    config.backend = PYTHON
    config.default_model_filename = "model.py"
    config.instance_group.add(count=processes, kind=pb.ModelInstanceGroup.KIND_CPU)
    config.dynamic_batching.SetInParent()
    for tensor in config.input:
        tensor.allow_ragged_batch = -1 in tensor.dims


def _run_natively(config: Any, engine: EnginePlan) -> None:
    """A backend of Triton's own, which batches requests of equal shape only.

    Nothing but Triton's queue can bound what waits for it; with two instances or more no stall was seen.
    """
    config.backend = engine.backend.backend
    config.default_model_filename = engine.backend.filename
    group = pb.ModelInstanceGroup
    kind = group.KIND_GPU if engine.backend.gpu else group.KIND_CPU
    config.instance_group.add(count=engine.instances, kind=kind)
    config.dynamic_batching.default_queue_policy.max_queue_size = MAX_QUEUE_SIZE
    for key, value in sorted(engine.backend.parameters.items()):
        config.parameters[key].string_value = value
    for tokens in engine.warmup_tokens:
        _warm_up(config, tokens)


def _warm_up(config: Any, tokens: int) -> None:
    """Zeros of a length: real texts would change the config with each release."""
    warmup = config.model_warmup.add(name=f"{tokens} tokens", batch_size=1)
    for tensor in config.input:
        sample = warmup.inputs[tensor.name]
        sample.data_type = tensor.data_type
        sample.dims.extend(tokens if size == -1 else size for size in tensor.dims)
        sample.zero_data = True


_WIRE: Mapping[str, str] = {"BYTES": "TYPE_STRING"}


def _data_type(spec: TensorSpec) -> int:
    return int(pb.DataType.Value(_WIRE.get(spec.dtype, f"TYPE_{spec.dtype}")))


def _parse(text: str) -> Any:
    try:
        return text_format.Parse(text, pb.ModelConfig())
    except text_format.ParseError as error:
        raise Broken(
            f"{text[:40]!r}… is not Triton's config.pbtxt ({error}); publish the release again"
        ) from None


def _text(message: Any) -> str:
    return str(text_format.MessageToString(message))
