"""Claims about the configs that Triton is given."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from perennial.errors import Broken
from perennial.repository.llm import BACKENDS
from perennial.repository.pbtxt import (
    EnginePlan,
    ensemble_config,
    llm_config,
    pinned_release,
    stage_configs,
    tensors_of,
)
from perennial.shapes import buckets
from perennial.types import BackendSpec, LlmName, Signature, TensorSpec

FLAG = TensorSpec("FLAG", "BOOL", (1,))
SIGNATURE = Signature(
    request=(TensorSpec("TEXT", "BYTES", (1,)), TensorSpec("HOW", "INT32", (1,), optional=True)),
    engine_in=(TensorSpec("ids", "INT64", (-1,)),),
    carried=(FLAG,),
    engine_out=(TensorSpec("logits", "FP32", (3,)),),
    answer=(TensorSpec("LABEL", "BYTES", (1,)), FLAG),
)
EMBEDDED = EnginePlan(BackendSpec("python", "model.onnx"), 2, [8, 16])
CONTAINER = EnginePlan(BackendSpec("onnxruntime", "model.onnx", {"intra_op_thread_count": "1"}), 2, [8, 16])


def parse(text: str) -> ModelConfig:
    return text_format.Parse(text, ModelConfig())


def stages(plan: EnginePlan = EMBEDDED) -> dict[str, ModelConfig]:
    return {stage: parse(text) for stage, text in stage_configs("mood", SIGNATURE, plan).items()}


def test_the_ensemble_pins_its_release_of_every_stage_and_is_that_version() -> None:
    config = parse(ensemble_config("mood", 7, SIGNATURE, EMBEDDED))
    assert [(step.model_name, step.model_version) for step in config.ensemble_scheduling.step] == [
        ("mood_tokenizer", 7),
        ("mood_engine", 7),
        ("mood_postprocess", 7),
    ]
    assert list(config.version_policy.specific.versions) == [7]
    assert pinned_release(ensemble_config("mood", 7, SIGNATURE, EMBEDDED)) == 7


EVERY_ENSEMBLE = pytest.mark.parametrize(
    ("plan", "timed", "untaken"),
    [
        (EMBEDDED, False, {"STAMPS", "RUN_MS"}),
        (EMBEDDED, True, set()),
        (CONTAINER, False, {"STAMPS", "RUN_MS"}),
        (CONTAINER, True, {"RUN_MS"}),
    ],
)


@EVERY_ENSEMBLE
def test_every_tensor_of_a_stage_comes_from_the_request_or_an_earlier_stage(
    plan: EnginePlan, timed: bool, untaken: set[str]
) -> None:
    config, models = parse(ensemble_config("mood", 1, SIGNATURE, plan, timed)), stages(plan)
    known = {tensor.name for tensor in config.input}
    for (stage, model), step in zip(models.items(), config.ensemble_scheduling.step, strict=True):
        assert step.model_name == f"mood_{stage}"
        optional = {tensor.name for tensor in model.input if tensor.optional} & untaken
        assert set(step.input_map) == {tensor.name for tensor in model.input} - optional
        assert set(step.output_map) <= {tensor.name for tensor in model.output}
        assert set(step.input_map.values()) <= known
        assert known.isdisjoint(step.output_map.values())
        known.update(step.output_map.values())
    assert {tensor.name for tensor in config.output} <= known


def test_the_ensemble_that_is_asked_for_no_timings_passes_none_on() -> None:
    plain, timed = (parse(ensemble_config("mood", 1, SIGNATURE, EMBEDDED, timed)) for timed in (False, True))
    assert (plain.name, timed.name) == ("mood", "mood_timed")
    own = {"STAMPS", "RUN_MS", "TIMINGS", "HEAD"}
    assert own.isdisjoint({name for step in plain.ensemble_scheduling.step for name in step.output_map})
    assert own == own & {name for step in timed.ensemble_scheduling.step for name in step.output_map}
    assert [one.name for one in timed.output] == [*(one.name for one in plain.output), "TIMINGS", "HEAD"]


def test_a_carried_tensor_that_is_answered_passes_the_postprocess() -> None:
    steps = parse(ensemble_config("mood", 1, SIGNATURE, EMBEDDED)).ensemble_scheduling.step
    assert steps[2].input_map["FLAG"] == "tokenizer.FLAG"
    assert steps[2].output_map["FLAG"] == "FLAG"


def test_what_is_optional_in_a_request_is_optional_wherever_it_goes() -> None:
    configs = [parse(ensemble_config("mood", 1, SIGNATURE, EMBEDDED)), *stages().values()]
    for config in configs:
        known = [
            tensor for tensor in config.input if tensor.name in {spec.name for spec in SIGNATURE.request}
        ]
        assert {tensor.name for tensor in known if tensor.optional} == {"HOW"} & {one.name for one in known}


def test_every_answer_carries_a_prediction_id() -> None:
    for config in (parse(ensemble_config("mood", 1, SIGNATURE, EMBEDDED)), stages()["postprocess"]):
        assert "PREDICTION_ID" in {tensor.name for tensor in config.output}


def test_only_the_engines_answers_are_cached() -> None:
    """What comes after it changes while a release serves, and each answer has an id of its own."""
    for plan in (EMBEDDED, CONTAINER):
        cached = [stage for stage, config in stages(plan).items() if config.response_cache.enable]
        assert cached == ["engine"]


def test_a_stage_of_ours_has_as_many_processes_as_it_is_placed_in() -> None:
    rendered = stage_configs("mood", SIGNATURE, EMBEDDED, {"tokenizer": 2})
    assert [parse(text).instance_group[0].count for text in rendered.values()] == [2, 1, 1]


@pytest.mark.parametrize("plan", [EMBEDDED, CONTAINER], ids=["embedded", "container"])
def test_every_stage_batches_and_loads_every_version_that_is_there(plan: EnginePlan) -> None:
    for config in stages(plan).values():
        assert config.HasField("dynamic_batching")
        assert config.version_policy.WhichOneof("policy_choice") == "all"
        assert [group.kind for group in config.instance_group] == [ModelInstanceGroup.KIND_CPU]


def test_a_python_stage_has_no_queue_policy_which_would_stall_it() -> None:
    for config in stages().values():
        assert not config.dynamic_batching.HasField("default_queue_policy")


def test_a_python_stage_gets_requests_of_different_lengths_together() -> None:
    assert [tensor.allow_ragged_batch for tensor in stages()["engine"].input] == [True]
    assert [tensor.allow_ragged_batch for tensor in stages()["tokenizer"].input] == [False, False]


def test_runtimes_differ_in_the_engine_stage_only() -> None:
    embedded, container = (stage_configs("mood", SIGNATURE, plan) for plan in (EMBEDDED, CONTAINER))
    assert {stage for stage in embedded if embedded[stage] != container[stage]} == {"engine"}


def test_a_native_engine_is_bounded_threaded_and_warmed_up_at_each_length() -> None:
    config = stages(CONTAINER)["engine"]
    assert (config.backend, config.default_model_filename) == ("onnxruntime", "model.onnx")
    assert config.dynamic_batching.default_queue_policy.max_queue_size > 0
    assert config.instance_group[0].count == 2
    assert config.parameters["intra_op_thread_count"].string_value == "1"
    assert [list(warmup.inputs["ids"].dims) for warmup in config.model_warmup] == [[8], [16]]
    assert not any(tensor.allow_ragged_batch for tensor in config.input)


def test_an_engine_for_a_gpu_has_its_instances_there() -> None:
    config = stages(EnginePlan(BackendSpec("tensorrt", "model.plan", gpu=True), 2))["engine"]
    assert [group.kind for group in config.instance_group] == [ModelInstanceGroup.KIND_GPU]


def test_a_stages_config_does_not_depend_on_the_release() -> None:
    rendered = stage_configs("mood", SIGNATURE, EMBEDDED)
    assert not any("versions" in text for text in rendered.values())


def test_a_config_that_is_no_ensemble_pins_nothing() -> None:
    assert pinned_release('name: "feedback" backend: "python"') is None


def test_a_file_that_is_no_config_is_broken() -> None:
    with pytest.raises(Broken, match="publish the release again"):
        pinned_release("{ half a")


def test_tensors_are_the_same_in_both_runtimes_and_other_with_other_shapes() -> None:
    embedded, container = (stage_configs("mood", SIGNATURE, plan)["engine"] for plan in (EMBEDDED, CONTAINER))
    assert tensors_of(embedded) == tensors_of(container)
    assert tensors_of(embedded.replace("dims: 3", "dims: 4")) != tensors_of(embedded)


def test_lengths_to_warm_up_at_double_up_to_the_longest() -> None:
    assert buckets(100) == [8, 16, 32, 64]
    assert buckets(4) == []


@pytest.mark.parametrize("timed", [False, True])
def test_where_answers_stream_one_stage_does_it_all(timed: bool) -> None:
    """Who asks it instead of the ensemble sends the same and is told the same."""
    streaming = replace(SIGNATURE, streams=True)
    ensemble = parse(ensemble_config("mood", 3, streaming, EMBEDDED, timed=timed))
    (step,) = ensemble.ensemble_scheduling.step
    assert (step.model_name, step.model_version) == ("mood_writer", 3)
    configs = {stage: parse(text) for stage, text in stage_configs("mood", streaming, EMBEDDED).items()}
    (writer,) = configs.values()
    assert ensemble.model_transaction_policy.decoupled and writer.model_transaction_policy.decoupled
    assert not writer.response_cache.enable
    assert [*writer.input] == [*ensemble.input]
    assert {one.name for one in ensemble.output} == {one.name for one in writer.output} - (
        set() if timed else {"TIMINGS", "HEAD"}
    )
    for names in (step.input_map, step.output_map):
        assert all(inner == outer for inner, outer in names.items())


@pytest.mark.parametrize("name", BACKENDS)
def test_what_writes_for_a_service_batches_by_itself_and_tells_what_is_read(name: LlmName) -> None:
    config = parse(llm_config("mood", name))
    assert (config.name, config.max_batch_size) == ("mood_llm", 0)
    assert config.model_transaction_policy.decoupled
    assert config.version_policy.WhichOneof("policy_choice") == "all"
    assert {"text_input", "return_finish_reason"} <= {tensor.name for tensor in config.input}
    assert {"text_output", "finish_reason"} <= {tensor.name for tensor in config.output}


def test_the_settings_of_what_writes_name_the_checkpoint_and_may_be_changed() -> None:
    texts = BACKENDS["vllm"].texts(Path("/repository/mood_llm/3"), {"dtype": "float16", "max_model_len": 99})
    told = json.loads(texts["model.json"])
    assert (told["model"], told["dtype"]) == ("/repository/mood_llm/3/checkpoint", "float16")
    assert told["max_model_len"] == BACKENDS["vllm"].room({"max_model_len": 99}) == 99
    (settings, runs) = BACKENDS["trtllm"].texts(Path("/repository/mood_llm/3"), {}).values()
    assert json.loads(settings)["triton_config"] == {"max_batch_size": 0, "decoupled": True}
    compile(runs, "trtllm.py", "exec")
