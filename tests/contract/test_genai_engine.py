"""What an engine that writes promises: one file, texts true to the network, however many it writes."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from perennial import plugins
from perennial.engines._slots import Slots
from perennial.engines.genai import GenAi
from perennial.errors import BadRequest, Broken, ConfigError, Unavailable
from perennial.pipeline import Pipeline, request_of
from perennial.tasks.generate.codec import GenerateCodec
from perennial.types import Array, Exported, Tensors
from perennial.writing.network import TorchDecoder
from tiny import tiny_chat, tiny_writer

TEXTS = [f"{'text ' * (number % 5)}number {number}" for number in range(12)]


@pytest.fixture(scope="module")
def engine() -> GenAi:
    made = GenAi(slots=4, length=200)
    if reason := made.available() or made.runs_here():
        pytest.skip(reason)
    return made


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_writer(tmp_path_factory.mktemp("writer"))


@pytest.fixture(scope="module")
def task() -> Any:
    return plugins.get("tasks/generate", "train")()


@pytest.fixture(scope="module")
def exported(task: Any, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("exported")
    task.export(task.load(checkpoint, []), folder)
    return Exported(folder, [], 256)


@pytest.fixture(scope="module", params=["int4", "int8", "fp32"])
def built(
    engine: GenAi,
    exported: Exported,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    return engine.build(exported, tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> GenerateCodec:
    return GenerateCodec(tiny_chat(tmp_path_factory.mktemp("codec")))


def asking(codec: GenerateCodec, text: str, **options: Any) -> Tensors:
    said = json.dumps({"messages": [{"role": "user", "content": text}], "max_tokens": 24, **options})
    (encoded,) = codec.encode([request_of([said])])
    return encoded


def words(answer: Tensors) -> str:
    return str(answer["piece"][0, 0].decode())


def test_it_makes_one_file_and_of_the_same_network_the_same(
    engine: GenAi, exported: Exported, built: Path, tmp_path: Path
) -> None:
    assert list(built.parent.iterdir()) == [built]
    (precision,) = (name for name in engine.precisions() if built.parent.name.startswith(name))
    assert engine.build(exported, tmp_path, precision).read_bytes() == built.read_bytes()
    assert "+" not in onnx.load(built).producer_version, "nor does it hang on where it is called"


def test_in_float32_it_writes_what_the_network_writes(
    engine: GenAi, exported: Exported, task: Any, checkpoint: Path, codec: GenerateCodec, tmp_path: Path
) -> None:
    session, network = (
        engine.open(engine.build(exported, tmp_path, "fp32"), 1),
        task.session(task.load(checkpoint, [])),
    )
    for text in TEXTS[:4]:
        for options in ({}, {"temperature": 1.0, "top_k": 5, "seed": 3}, {"repetition_penalty": 1.3}):
            ours, theirs = (one.run(asking(codec, text, **options)) for one in (session, network))
            assert words(ours) == words(theirs)
            assert ours["likely"] == pytest.approx(theirs["likely"], abs=1e-4)
            assert (ours["tokens"] == theirs["tokens"]).all() and (ours["finish"] == theirs["finish"]).all()
    session.close()
    network.close()


@pytest.mark.parametrize(("precision", "rounded"), [("int8", 0.2), ("fp16", 0.05)])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_is_built_for_a_gpu_says_what_the_network_says(
    exported: Exported,
    task: Any,
    checkpoint: Path,
    tmp_path: Path,
    precision: str,
    rounded: float,
    device: str,
) -> None:
    engine = GenAi(device="cuda")
    if device == "cuda" and (reason := engine.runs_here()):
        pytest.skip(reason)
    slots = Slots(engine.build(exported, tmp_path, precision), 4, 200, 64, 1, device == "cuda")
    network = TorchDecoder(task.load(checkpoint, []))

    def near(said: Array, text: Sequence[int]) -> bool:
        return said.dtype == np.float32 and np.abs(said - network.read(0, text, 0)).max() < rounded

    first, second = [3, 5, 7, 9, 11], [4, 6, 8]
    assert near(slots.read(0, first, 0), first) and near(slots.read(1, second, 0), second)
    both = slots.step([12, 13], [5, 3])
    assert near(both[0], [*first, 12]) and near(both[1], [*second, 13])
    slots.move(1, 0, 4)
    assert near(slots.step([14], [4])[0], [*second, 13, 14])
    assert not near(slots.step([14], [4])[0], [*first, 12, 14])
    slots.close()


def test_a_machine_without_cuda_is_told_how_to_get_it(built: Path) -> None:
    engine = GenAi(device="cuda")
    if (reason := engine.runs_here()) is None:
        pytest.skip("it has CUDA")
    assert engine.available() == reason
    with pytest.raises(Unavailable, match="does not open here: "):
        engine.open(built, 1)


def test_who_is_written_beside_others_is_written_as_alone(
    engine: GenAi, built: Path, codec: GenerateCodec
) -> None:
    session = engine.open(built, 1)
    alone = [words(session.run(asking(codec, text))) for text in TEXTS]
    assert len(set(alone)) > len(TEXTS) // 2
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda text: words(session.run(asking(codec, text))), TEXTS))
    assert sum(one == other for one, other in zip(alone, together, strict=True)) >= len(TEXTS) - 1  # rounding
    rows = [json.dumps({"messages": [{"role": "user", "content": text}], "max_tokens": 24}) for text in TEXTS]
    (encoded,) = codec.encode([request_of(rows)])
    answer = session.run(encoded)
    at_once = [raw.decode() for raw in answer["piece"].ravel()]
    assert sum(one == other for one, other in zip(alone, at_once, strict=True)) >= len(TEXTS) - 1
    session.close()


def test_pieces_are_the_whole_and_the_last_one_says_why(
    engine: GenAi, built: Path, codec: GenerateCodec
) -> None:
    session, told, done = engine.open(built, 1), list[Tensors](), threading.Event()
    whole = session.run(asking(codec, TEXTS[3]))
    said = json.dumps({"messages": [{"role": "user", "content": TEXTS[3]}], "max_tokens": 24})
    (encoded,) = codec.encode([{**request_of([said]), "STREAM": np.array([[True]])}])

    def tell(pieces: Tensors, last: bool) -> None:
        told.append(pieces)
        if last:
            done.set()

    session.write(encoded, tell, lambda: False)
    assert done.wait(30)
    assert "".join(map(words, told)) == words(whole)
    assert [piece["finish"][0, 0] for piece in told[:-1]] == [b""] * (len(told) - 1)
    assert told[-1]["finish"] == whole["finish"]
    assert len(told) > 5
    session.close()


def test_who_goes_away_makes_room_and_is_told_so(engine: GenAi, built: Path, codec: GenerateCodec) -> None:
    session, gone, ends = engine.open(built, 1), threading.Event(), list[bytes]()
    done = [threading.Event() for _ in range(4)]

    def teller(number: int) -> Any:
        def tell(pieces: Tensors, last: bool) -> None:
            if last:
                ends.append(pieces["finish"][0, 0])
                done[number].set()

        return tell

    for number in range(4):  # every slot is taken, for long
        session.write(asking(codec, f"{number}", max_tokens=180), teller(number), gone.is_set)
    gone.set()
    assert words(session.run(asking(codec, TEXTS[0], max_tokens=3))) is not None
    assert all(one.wait(30) for one in done)
    assert set(ends) <= {b"cancelled", b"length", b"stop"} and b"cancelled" in ends
    session.close()


def test_a_prompt_that_has_no_room_is_refused(engine: GenAi, built: Path, codec: GenerateCodec) -> None:
    session = engine.open(built, 1)
    with pytest.raises(BadRequest, match=r"the prompt has 3.. tokens, and prompt and answer have room"):
        session.run(asking(codec, "a" * 300))
    session.close()


def test_memory_says_how_many_are_written_at_once(built: Path) -> None:
    with pytest.raises(ConfigError, match=r"memory_mb 0 holds no text of 200 tokens, which takes 0 MB"):
        GenAi(length=200, memory_mb=0).open(built, 1)


def test_a_file_that_is_no_engine_is_named(engine: GenAi, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no engine")
    with pytest.raises(Broken, match=r"model.onnx does not open: .*; build the release again"):
        engine.open(tmp_path / "model.onnx", 1)


def test_answers_come_through_a_pipeline(engine: GenAi, built: Path, codec: GenerateCodec) -> None:
    session = engine.open(built, 1)
    asked = [json.dumps({"prompt": text, "max_tokens": 2}) for text in TEXTS]
    answers = Pipeline(codec, session).answers(asked)
    assert all(answer["TOKENS"][0, 1] <= 2 for answer in answers)
    session.close()
