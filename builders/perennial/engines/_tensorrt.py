"""Plans from graphs, by a library of the TensorRT family: TensorRT 10.16 and 11, and TensorRT for RTX.

Is given the library's module, and uses only what all of them offer. Leaves the numbers to compute in to
`_typed`, and running a plan to `_tensorrt_session`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from perennial import machine
from perennial.engines._building import whole
from perennial.engines._typed import CALIBRATED, typed
from perennial.errors import Broken, ConfigError, Unavailable
from perennial.shapes import MAX_BATCH_SIZE, buckets
from perennial.types import Exported

FILENAME = "model.plan"
USUAL_BATCH = 8
"""The rows that kernels are chosen for: between a text alone and a full batch."""


@dataclass(frozen=True)
class Profile:
    """The shapes that a plan takes: 1 to 64 rows of 1 to `longest` tokens; it is quickest at `usual` tokens.

    There is one. Triton runs the first of a plan and another only where its config names it, each costs an
    execution context with memory for its largest shape, and RTX compiles kernels for the shapes it meets.
    `usual` is a bucket rather than a length, so that new texts seldom change it, and with it the plan.
    """

    usual: int
    longest: int


def profile(exported: Exported) -> Profile:
    """Half the samples fit in `usual`. Raises `ConfigError` for a sample longer than a session is asked."""
    lengths = sorted(max(array.shape[-1] for array in sample.values()) for sample in exported.samples)
    if not lengths:
        raise ConfigError("there are no samples to read lengths from; give real texts")
    if lengths[-1] > exported.longest:
        raise ConfigError(
            f"a sample has {lengths[-1]} tokens, and the engine takes {exported.longest} at most; "
            "encode the samples with the codec that will serve"
        )
    middle = lengths[(len(lengths) - 1) // 2]
    fitting = [tokens for tokens in buckets(exported.longest) if tokens >= middle]
    return Profile(min([*fitting, exported.longest]), exported.longest)


@dataclass(frozen=True)
class Options:
    """How to compile. `stripped` leaves the weights out, for `refit` to fill in; `version_compatible` lets
    later libraries open the plan, at the price of a runtime inside it, which whoever opens it must trust;
    `timing_cache` is a file that remembers how fast each kernel was, and is updated."""

    stripped: bool = False
    version_compatible: bool = False
    timing_cache: Path | None = None


def build(
    library: Any,
    exported: Exported,
    folder: Path,
    precision: str,
    options: Options,
    skeletons: Path | None = None,
) -> Path:
    """`folder`/model.plan. With `skeletons`, a folder for one kind of GPU that outlives the build, only a
    network of a new architecture is compiled, without its weights; any other gets its weights put into the
    skeleton of its kind that lies there, for which a GPU is needed. A calibrated one is always compiled: a
    compiler folds its scales away.
    """
    graph, shapes = typed(exported, precision), profile(exported)
    if skeletons is None or precision in CALIBRATED:
        plan = compile_plan(library, graph, shapes, options)
    else:
        require_gpu()
        plan = refit(library, _skeleton(library, graph, shapes, options, skeletons), graph)
    _replace(folder / FILENAME, plan)
    return folder / FILENAME


def _skeleton(library: Any, graph: bytes, shapes: Profile, options: Options, folder: Path) -> bytes:
    """The weightless plan of the graph's architecture; a library reads its own version's only."""
    kind = f"{library.__name__} {library.__version__} {architecture(graph)} {shapes} {options}"
    path = folder / f"{hashlib.sha256(kind.encode()).hexdigest()}.plan"
    if not path.is_file():
        _replace(path, compile_plan(library, graph, shapes, replace(options, stripped=True)))
    return path.read_bytes()


def compile_plan(library: Any, graph: bytes, shapes: Profile, options: Options) -> bytes:
    """The plan of an ONNX file. `Broken`, with the library's own last words, where it compiles none."""
    said: list[str] = []
    log = logger(library, said)
    builder = library.Builder(log)
    network = builder.create_network(1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = library.OnnxParser(network, log)
    if not parser.parse(graph):
        raise Broken(f"{library.__name__} does not read the graph: {_complaint(parser)}")
    config = builder.create_builder_config()
    config.add_optimization_profile(_shaped(builder, network, shapes))
    config.clear_flag(library.BuilderFlag.TF32)  # else fp32 is not what the parity gate falls back to
    for flag in _flags(library, options):
        config.set_flag(flag)
    cache = _open_timing_cache(config, options.timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise Broken(f"{library.__name__} makes no plan of the graph: {last_words(said)}")
    if cache is not None and options.timing_cache is not None:
        _replace(options.timing_cache, bytes(cache.serialize()))
    return bytes(plan)


def refit(library: Any, plan: bytes, graph: bytes) -> bytes:
    """`plan`, which was compiled `stripped`, with the weights of `graph`, an ONNX file of its architecture.

    Needs a GPU. Raises `Broken` where a weight of the plan is missing from the graph.
    """
    require_gpu()
    said: list[str] = []
    log = logger(library, said)
    engine = library.Runtime(log).deserialize_cuda_engine(plan)
    if engine is None:
        raise Broken(f"{library.__name__} does not read the plan: {last_words(said)}; build it again")
    refitter = library.Refitter(engine, log)
    weights = library.OnnxParserRefitter(refitter, log)
    if not weights.refit_from_bytes(graph) or not refitter.refit_cuda_engine():
        raise Broken(f"the graph's weights do not fit the plan: {last_words(said)}; build it again")
    saving = engine.create_serialization_config()
    saving.clear_flag(library.SerializationFlag.EXCLUDE_WEIGHTS)
    return bytes(engine.serialize_with_config(saving))


def architecture(graph: bytes) -> str:
    """The same 64 hex digits for ONNX files that differ in their weights alone: a plan of one, refitted, is
    a plan of the other. Whole numbers are shapes and indices, scalars are epsilons and masks: a compiler
    builds on both, so they count as the architecture's."""
    from onnx import TensorProto, load_from_string

    model = load_from_string(graph)
    for tensor in model.graph.initializer:
        if tensor.dims and tensor.data_type != TensorProto.INT64:
            tensor.ClearField("raw_data")
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def cache_folder(told: str, engine: str) -> Path:
    """Where what outlives a build lies: as an option says, or in the user's cache folder."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perennial" / engine
    return Path(told) if told else usual


def require_gpu() -> None:
    if reason := machine.gpu_missing():
        raise Unavailable(f"a plan opens on a GPU only: {reason}")


def logger(library: Any, said: list[str]) -> Any:
    """The library's logger; errors go to `said`, in one line each, and the rest nowhere."""
    errors = (library.ILogger.INTERNAL_ERROR, library.ILogger.ERROR)

    def log(_: Any, severity: Any, message: str) -> None:
        if severity in errors:
            said.append(" ".join(message.split()))

    return type("Logger", (library.ILogger,), {"log": log})()


def last_words(said: Sequence[str]) -> str:
    return said[-1] if said else "it says nothing of why"


def _complaint(parser: Any) -> str:
    error = parser.get_error(parser.num_errors - 1)
    return " ".join(f"{error.node_operator()} {error.node_name()} {error.desc()}".split())


def _shaped(builder: Any, network: Any, shapes: Profile) -> Any:
    """Each input's free axes: the first is the batch, any other counts tokens."""
    made = builder.create_optimization_profile()
    corners = ((1, 1), (USUAL_BATCH, shapes.usual), (MAX_BATCH_SIZE, shapes.longest))
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        least, usual, most = (_filled(tuple(tensor.shape), *corner) for corner in corners)
        made.set_shape(tensor.name, least, usual, most)
    return made


def _filled(shape: tuple[int, ...], rows: int, tokens: int) -> tuple[int, ...]:
    return tuple((tokens if axis else rows) if size == -1 else size for axis, size in enumerate(shape))


def _flags(library: Any, options: Options) -> list[Any]:
    names = ["REFIT", "STRIP_PLAN"] if options.stripped else []
    names += ["VERSION_COMPATIBLE"] if options.version_compatible else []
    return [getattr(library.BuilderFlag, name) for name in names]


def _open_timing_cache(config: Any, path: Path | None) -> Any:
    """None without a path. A file of another GPU or version is not used, and replaced."""
    if path is None:
        return None
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _replace(path: Path, content: bytes) -> None:
    with whole(path) as part:
        part.write_bytes(content)
