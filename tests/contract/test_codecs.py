"""What every task's codec promises the stages, the gates and the renderer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from perennial import plugins
from perennial.errors import BadRequest
from perennial.task_protocol import Codec
from perennial.types import Array, Example, Tensors, TensorSpec, text_tensor
from tiny import asking, tiny_chat, tiny_codec, tiny_recommender, tiny_searcher, tiny_tagger

FILES: dict[str, Callable[[Path], Path]] = {
    "classify": tiny_codec,
    "embed": tiny_searcher,
    "generate": tiny_chat,
    "recommend": tiny_recommender,
    "tag": tiny_tagger,
}
"""How to write the files of each task's codec."""
DTYPES = {"BYTES": np.object_, "INT32": np.int32, "INT64": np.int64, "FP32": np.float32, "BOOL": np.bool_}
TEXTS = [["good"], ["a very very bad movie", "plain"], ["great day"]]


SAID = {"recommend": lambda text: asking(text, *text.split())}
"""How a text is put to a task that does not take any."""


@pytest.fixture(params=plugins.names("tasks"))
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def codec(task: str, tmp_path: Path) -> Codec:
    made: Codec = plugins.get(f"tasks/{task}", "codec")(FILES[task](tmp_path))
    return made


@pytest.fixture
def asked(task: str, codec: Codec) -> list[Tensors]:
    say = SAID.get(task, str)
    return [{codec.signature.request[0].name: text_tensor([*map(say, texts)])} for texts in TEXTS]


def outputs(codec: Codec, requests: list[Tensors]) -> list[Tensors]:
    """What an engine might say, and what the tokenizer carried past it."""
    rng = np.random.default_rng(0)
    carried = {spec.name for spec in codec.signature.carried}
    return [
        {name: array for name, array in encoded.items() if name in carried}
        | {spec.name: _made_up(rng, spec, *_shape(codec, encoded)) for spec in codec.signature.engine_out}
        for encoded in codec.encode(requests)
    ]


def _shape(codec: Codec, encoded: Tensors) -> tuple[int, int]:
    """Rows and tokens of what goes to the engine."""
    rows, tokens = encoded[codec.signature.engine_in[0].name].shape
    return rows, tokens


def _made_up(rng: np.random.Generator, spec: TensorSpec, batch: int, tokens: int) -> Array:
    shape = (batch, *(tokens if size == -1 else size for size in spec.shape))
    if spec.dtype == "BYTES":
        return text_tensor([f"word {number}" for number in rng.integers(9, size=batch)])
    return rng.standard_normal(shape).astype(DTYPES[spec.dtype])


def fits(array: Array, spec: TensorSpec, batch: int) -> bool:
    free = all(size in (-1, actual) for size, actual in zip(spec.shape, array.shape[1:], strict=True))
    return array.dtype == DTYPES[spec.dtype] and len(array) == batch and free


def test_the_files_that_it_names_are_all_that_it_reads(codec: Codec, tmp_path: Path) -> None:
    assert {path.name for path in tmp_path.iterdir()} == set(codec.FILES)


def test_what_goes_to_the_engine_is_what_the_signature_says(codec: Codec, asked: list[Tensors]) -> None:
    specs = (*codec.signature.engine_in, *codec.signature.carried)
    for texts, encoded in zip(TEXTS, codec.encode(asked), strict=True):
        assert set(encoded) == {spec.name for spec in specs}
        assert all(fits(encoded[spec.name], spec, len(texts)) for spec in specs)


def test_answers_are_what_the_signature_says_and_in_the_order_of_the_requests(
    codec: Codec, asked: list[Tensors]
) -> None:
    said = outputs(codec, asked)
    together = codec.decode(asked, said)
    for texts, answer in zip(TEXTS, together, strict=True):
        assert set(answer) == {spec.name for spec in codec.signature.answer}
        assert all(fits(answer[spec.name], spec, len(texts)) for spec in codec.signature.answer)
    for request, output, answer in zip(asked, said, together, strict=True):
        (alone,) = codec.decode([request], [output])
        assert all(np.array_equal(alone[name], answer[name]) for name in answer)


def test_a_plain_request_passes_and_a_broken_one_is_refused(codec: Codec, asked: list[Tensors]) -> None:
    for request in asked:
        codec.check(request)
    with pytest.raises(BadRequest):
        codec.check({codec.signature.request[0].name: text_tensor([b"\xff"])})


def test_answers_that_agree_with_the_examples_score_full_marks(codec: Codec, asked: list[Tensors]) -> None:
    answers = codec.decode(asked, outputs(codec, asked))
    gold = [raw.decode() for answer in answers for raw in answer[codec.signature.answer[0].name].ravel()]
    scores = codec.score(answers, [Example("a text", label) for label in gold])
    assert scores.correct.tolist() == [1.0] * 4
    assert set(scores.metrics.values()) == {1.0}
