"""Claims about plans, made for real by TensorRT for RTX, which needs no GPU to build one."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perennial import machine
from perennial.engines import _tensorrt, _typed
from perennial.engines._tensorrt import Options, Profile
from perennial.engines.tensorrt import TensorRT
from perennial.engines.tensorrt_rtx import TensorRTForRTX
from perennial.errors import Broken, ConfigError, Unavailable
from perennial.pipeline import engine_inputs
from perennial.tasks.classify.codec import ClassifyCodec
from perennial.types import Array, BackendSpec, Exported
from tiny import tiny_examples

needs_rtx = pytest.mark.skipif(
    TensorRTForRTX().available() is not None, reason=str(TensorRTForRTX().available())
)
needs_modelopt = pytest.mark.skipif(find_spec("modelopt") is None, reason="no nvidia-modelopt")
needs_no_gpu = pytest.mark.skipif(machine.gpu_missing() is None, reason="here is a GPU")


@pytest.fixture
def exported(tiny_release: Path) -> Exported:
    codec = ClassifyCodec(tiny_release)
    texts = [example.text for example in tiny_examples(40)]
    return Exported(tiny_release, engine_inputs(codec, texts), codec.longest)


@pytest.fixture
def rtx() -> Any:
    return pytest.importorskip("tensorrt_rtx_bindings")


@pytest.fixture
def parsed(rtx: Any, exported: Exported) -> Callable[[str], Any]:
    """The network that the library makes of the graph in a precision; what it stands on lives as long."""
    kept = []

    def parse(precision: str) -> Any:
        log = _tensorrt.logger(rtx, [])
        builder = rtx.Builder(log)
        network = builder.create_network(1 << int(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = rtx.OnnxParser(network, log)
        assert parser.parse(_typed.typed(exported, precision))
        kept.append((builder, parser))
        return network

    return parse


def variant(exported: Exported, folder: Path, change: Callable[[Any], None]) -> Exported:
    """The same network, but for a change of its ONNX model."""
    import onnx

    model = onnx.load(exported.graph)
    change(model)
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / exported.graph.name)
    return replace(exported, folder=folder)


def other_weights(model: Any) -> None:
    from onnx import numpy_helper

    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.ndim:
            weight.CopyFrom(numpy_helper.from_array(values * np.float32(1.5) + 1, weight.name))


def answers(run: Callable[..., Any], exported: Exported, count: int = 10) -> Array:
    """Logits (texts, labels) of samples."""
    return np.concatenate([run(None, dict(sample))[0] for sample in exported.samples[:count]])


# The numbers that a graph computes in


@pytest.mark.parametrize(
    ("precision", "within"),
    [("fp16", 0.01), ("int8", 0.2), pytest.param("fp8", 0.3, marks=needs_modelopt), ("bf16", 0.1)],
)
def test_a_typed_graph_still_answers_as_the_network(
    exported: Exported, precision: str, within: float
) -> None:
    import onnx
    from onnx.reference import ReferenceEvaluator
    from onnxruntime import InferenceSession

    wanted = answers(InferenceSession(exported.graph).run, exported)
    typed = _typed.typed(exported, precision)
    if precision in ("fp8", "bf16"):  # onnxruntime has no kernels for them on a processor
        got = answers(ReferenceEvaluator(onnx.load_from_string(typed)).run, exported)
    else:
        got = answers(InferenceSession(typed).run, exported)
    assert got.dtype == np.float32
    assert 0 < np.abs(got - wanted).max() < within


@pytest.mark.filterwarnings("ignore::DeprecationWarning:polygraphy.*")
def test_polygraphy_finds_a_typed_graph_near_the_network_and_no_nearer(exported: Exported) -> None:
    pytest.importorskip("polygraphy")
    from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
    from polygraphy.comparator import Comparator, SimpleCompareFunc
    from polygraphy.logger import G_LOGGER

    graphs = exported.graph.read_bytes(), _typed.typed(exported, "fp16")
    texts = [dict(sample) for sample in exported.samples[:3]]
    with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
        results = Comparator.run(
            [OnnxrtRunner(SessionFromOnnx(graph)) for graph in graphs], data_loader=texts
        )
        for within, expected in ((0.01, True), (1e-7, False)):
            compare = SimpleCompareFunc(atol=within, rtol=0)
            assert bool(Comparator.compare_accuracy(results, compare_func=compare)) == expected


def test_a_typed_graph_repeats(exported: Exported) -> None:
    for precision in _typed.precisions():
        assert _typed.typed(exported, precision) == _typed.typed(exported, precision)


def test_int8_is_symmetric_with_a_scale_for_each_output_of_a_weight(exported: Exported) -> None:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_from_string(_typed.typed(exported, "int8")).graph
    values = {weight.name: numpy_helper.to_array(weight) for weight in graph.initializer}
    scaled = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    weights = [node for node in scaled if node.input[0] in values]
    assert all(not values[node.input[2]].any() for node in scaled)
    assert {values[node.input[2]].dtype for node in scaled} == {np.dtype("int8")}
    assert len(weights) == 13  # 6 products in each of 2 layers, and the head
    for node in weights:
        assert values[node.input[1]].size == max(values[node.input[0]].shape[axis] for axis in _axis(node))


def _axis(node: Any) -> list[int]:
    return [attribute.i for attribute in node.attribute if attribute.name == "axis"]


def test_what_is_no_graph_is_named(exported: Exported, tmp_path: Path) -> None:
    broken = replace(exported, folder=tmp_path)
    for content in (b"not an ONNX file", b""):
        broken.graph.write_bytes(content)
        with pytest.raises(Broken, match=r"model\.onnx is .*; export the network again"):
            _typed.typed(broken, "int8")


@needs_rtx
@pytest.mark.parametrize(
    ("precision", "computed"),
    [
        ("int8", "HALF"),
        pytest.param("fp8", "HALF", marks=needs_modelopt),
        ("fp16", "HALF"),
        ("bf16", "BF16"),
        ("fp32", "FLOAT"),
    ],
)
def test_the_library_takes_its_types_from_the_graph(
    parsed: Callable[[str], Any], precision: str, computed: str
) -> None:
    network = parsed(precision)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    kinds = Counter((layer.type.name, layer.get_output(0).dtype.name) for layer in layers)
    assert {dtype for kind, dtype in kinds if kind in ("MATRIX_MULTIPLY", "SOFTMAX")} == {computed}
    for quantised in ("int8", "fp8"):
        assert (kinds["QUANTIZE", quantised.upper()] > 0) == (precision == quantised)
    ends = [*(network.get_input(index) for index in range(2)), network.get_output(0)]
    assert [tensor.dtype.name for tensor in ends] == ["INT64", "INT64", "FLOAT"]


# Shapes


def test_the_profile_is_quick_where_half_the_samples_fit(exported: Exported) -> None:
    def of(*lengths: int) -> Profile:
        samples = [{"input_ids": np.ones((1, length), np.int64)} for length in lengths]
        return _tensorrt.profile(replace(exported, samples=samples))

    assert of(9, 10, 40) == Profile(16, 64)
    assert of(3, 9, 10, 40) == Profile(16, 64)
    assert of(60) == Profile(64, 64)
    assert _tensorrt.profile(replace(exported, longest=50, samples=exported.samples[-1:])).longest == 50


def test_a_profile_that_cannot_be_is_refused(exported: Exported) -> None:
    with pytest.raises(ConfigError, match=r"has \d+ tokens, and the engine takes 5 at most"):
        _tensorrt.profile(replace(exported, longest=5))
    with pytest.raises(ConfigError, match="no samples"):
        _tensorrt.profile(replace(exported, samples=[]))


@needs_rtx
def test_a_plan_takes_a_text_alone_and_a_full_batch_of_the_longest(
    rtx: Any, parsed: Callable[[str], Any]
) -> None:
    network, builder = parsed("fp32"), rtx.Builder(_tensorrt.logger(rtx, []))
    made = _tensorrt._shaped(builder, network, Profile(32, 50))
    for name in ("input_ids", "attention_mask"):
        assert [tuple(shape) for shape in made.get_shape(name)] == [(1, 1), (8, 32), (64, 50)]


# Compiling


@needs_rtx
def test_a_plan_is_made_in_silence(
    exported: Exported, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    TensorRTForRTX().build(exported, tmp_path, "fp16")
    assert capfd.readouterr() == ("", "")


@needs_rtx
def test_an_operator_that_the_library_lacks_is_named(exported: Exported, tmp_path: Path) -> None:
    def rename(model: Any) -> None:
        model.graph.node[5].op_type = "NoSuchOperator"

    with pytest.raises(Broken, match="does not read the graph: NoSuchOperator ") as raised:
        TensorRTForRTX().build(variant(exported, tmp_path / "bad", rename), tmp_path, "fp32")
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.glob("*.plan*"))


@needs_rtx
def test_a_precision_that_the_library_lacks_is_named(rtx: Any, exported: Exported) -> None:
    """Symmetric int8 is all that it has."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(_typed.typed(exported, "int8"))
    zero = next(node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear")
    (point,) = (weight for weight in model.graph.initializer if weight.name == zero)
    point.CopyFrom(numpy_helper.from_array(np.array(3, np.int8), zero))
    with pytest.raises(Broken, match=r"QuantizeLinear .*zero point is not supported"):
        _tensorrt.compile_plan(rtx, model.SerializeToString(), Profile(8, 64), Options())


@needs_rtx
def test_what_the_compiler_says_last_is_in_the_error(rtx: Any, exported: Exported) -> None:
    """RTX comes without the runtime that a version-compatible plan carries."""
    graph = _typed.typed(exported, "fp32")
    with pytest.raises(Broken, match=r"makes no plan of the graph: .*libnvinfer_lean"):
        _tensorrt.compile_plan(rtx, graph, Profile(8, 64), Options(version_compatible=True))


@needs_rtx
@pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")
def test_a_timing_cache_is_kept_beside_the_builds(rtx: Any, exported: Exported, tmp_path: Path) -> None:
    cache = tmp_path / "new folder/timing.cache"
    graph, options = _typed.typed(exported, "fp16"), Options(timing_cache=cache)
    for _ in range(2):
        assert _tensorrt.compile_plan(rtx, graph, Profile(8, 64), options)
        assert [path.stat().st_size > 0 for path in cache.parent.iterdir()] == [True]
    assert cache.is_file()


def test_a_timing_cache_of_another_version_is_not_used(tmp_path: Path) -> None:
    """RTX, whose timing cache is empty, refuses none."""

    class Config:
        def create_timing_cache(self, content: bytes) -> bytes:
            return content

        def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
            return cache in (b"", b"of this version")

    cache = tmp_path / "timing.cache"
    assert _tensorrt._open_timing_cache(Config(), cache) == b""
    for content, used in ((b"of this version", b"of this version"), (b"of another version", b"")):
        cache.write_bytes(content)
        assert _tensorrt._open_timing_cache(Config(), cache) == used


# Refitting


@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp32"])
def test_an_architecture_is_known_whatever_its_weights(
    exported: Exported, tmp_path: Path, precision: str
) -> None:
    from onnx import TensorProto, numpy_helper

    def of(change: Callable[[Any], None]) -> str:
        return _tensorrt.architecture(_typed.typed(variant(exported, tmp_path, change), precision))

    def other_operator(model: Any) -> None:
        next(node for node in model.graph.node if node.op_type == "Erf").op_type = "Tanh"

    def other_shape(model: Any) -> None:
        shape = next(weight for weight in model.graph.initializer if weight.data_type == TensorProto.INT64)
        shape.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(shape) + 1, shape.name))

    own = of(lambda _: None)
    assert of(other_weights) == own
    assert own not in (of(other_operator), of(other_shape))


@needs_rtx
def test_a_retrained_network_is_refitted_and_another_one_compiled(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a GPU, RTX can neither make a plan without weights nor fill one: stand-ins do both."""
    compiled = itertools.count(1)
    monkeypatch.setattr(_tensorrt, "require_gpu", lambda: None)
    monkeypatch.setattr(_tensorrt, "compile_plan", lambda *how: b"skeleton %d" % next(compiled))
    monkeypatch.setattr(_tensorrt, "refit", lambda _, plan, graph: plan + b" with %d bytes" % len(graph))
    engine = TensorRTForRTX(cache=str(tmp_path / "skeletons"), refit=True)
    size = {precision: len(_typed.typed(exported, precision)) for precision in ("fp16", "fp32")}

    def built(of: Exported, precision: str) -> bytes:
        return engine.build(of, tmp_path / "built", precision).read_bytes()

    retrained = variant(exported, tmp_path / "retrained", other_weights)
    assert built(exported, "fp32") == b"skeleton 1 with %d bytes" % size["fp32"]
    assert built(retrained, "fp32") == b"skeleton 1 with %d bytes" % size["fp32"]
    assert built(exported, "fp16") == b"skeleton 2 with %d bytes" % size["fp16"]
    assert built(replace(exported, longest=63), "fp32").startswith(b"skeleton 3 ")
    assert [built(exported, "int8") for _ in range(2)] == [b"skeleton 4", b"skeleton 5"]  # never refitted
    assert [path.name for path in (tmp_path / "built").iterdir()] == ["model.plan"]


@needs_rtx
@needs_no_gpu
def test_what_needs_a_gpu_says_so(rtx: Any, exported: Exported, tmp_path: Path) -> None:
    graph = _typed.typed(exported, "fp32")
    with pytest.raises(Unavailable, match="NVIDIA"):
        _tensorrt.refit(rtx, b"a plan", graph)
    with pytest.raises(Unavailable, match="NVIDIA"):
        TensorRTForRTX(cache=str(tmp_path / "skeletons"), refit=True).build(exported, tmp_path, "fp32")
    assert not list(tmp_path.iterdir())


# Where the library is not


@pytest.mark.skipif(TensorRT().available() is None, reason="TensorRT builds here")
def test_tensorrt_says_what_is_missing(exported: Exported, tmp_path: Path) -> None:
    reason = TensorRT().available()
    assert reason is not None and ("pip install 'perennial[train,tensorrt]'" in reason or "NVIDIA" in reason)
    with pytest.raises(Unavailable, match=r"pip install|NVIDIA"):
        TensorRT().build(exported, tmp_path, "fp16")


def test_a_cache_lies_where_an_option_says_or_in_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/me/.cache")
    assert _tensorrt.cache_folder("", "tensorrt") == Path("/home/me/.cache/perennial/tensorrt")
    assert _tensorrt.cache_folder("/srv/plans", "tensorrt") == Path("/srv/plans")


def test_triton_runs_a_plan_on_a_gpu_and_one_for_rtx_in_our_stage() -> None:
    ours = BackendSpec("python", "model.plan")
    assert TensorRT().triton("container", 2) == BackendSpec("tensorrt", "model.plan", gpu=True)
    assert TensorRT().triton("embedded", 2) == ours
    assert TensorRTForRTX().triton("container", 2) == TensorRTForRTX().triton("embedded", 2) == ours
