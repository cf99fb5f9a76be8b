"""What the codec of `embed` makes of the vectors of texts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from perennial.errors import BadRequest
from perennial.heads import Statistics
from perennial.pipeline import request_of
from perennial.ranking.index import Index
from perennial.tasks.embed.codec import EmbedCodec
from perennial.types import Array, Document, Example, Placed, Tensors
from tiny import DOCUMENTS, tiny_searcher

TEXT = "a great day"


@pytest.fixture
def codec(tmp_path: Path) -> EmbedCodec:
    return EmbedCodec(tiny_searcher(tmp_path))


def said(codec: EmbedCodec, vectors: Array) -> Tensors:
    """As an engine says it of as many texts."""
    return {"vector": vectors.astype(np.float32), "TRUNCATED": np.zeros((len(vectors), 1), bool)}


def near(codec: EmbedCodec, document: str) -> Tensors:
    vector = codec.index.vector(document)
    assert vector is not None
    return said(codec, vector[None])


def found(answer: Tensors) -> list[str]:
    return [raw.decode() for raw in answer["DOCUMENTS"][0]]


def label(document: str, kind: str = "relevant") -> str:
    return json.dumps([{"document": document, "said": kind}])


def asking(**numbers: int) -> Tensors:
    return request_of([TEXT]) | {name: np.array([[value]], np.int32) for name, value in numbers.items()}


def test_the_nearest_documents_are_found_best_first(codec: EmbedCodec) -> None:
    (answer,) = codec.decode([asking(TOP_K=3)], [near(codec, "film/2")])
    vectors = np.array([codec.index.vector(name) for name in DOCUMENTS])
    exact = vectors @ np.asarray(codec.index.vector("film/2"))
    best = [[*DOCUMENTS][place] for place in np.argsort(-exact)[:3]]
    assert found(answer) == best and best[0] == "film/2"
    np.testing.assert_allclose(answer["SCORES"][0], np.sort(exact)[::-1][:3], atol=1e-5)
    assert answer["LABEL"].item().decode() == label("film/2")
    assert codec.told([answer]) == [("film/2", pytest.approx(1.0, abs=1e-5))]


def test_requests_ask_for_as_many_as_they_like(codec: EmbedCodec) -> None:
    requests = [asking(TOP_K=0), request_of([TEXT]), asking(TOP_K=50)]
    answers = codec.decode(requests, [near(codec, "day/1")] * 3)
    assert [answer["DOCUMENTS"].shape for answer in answers] == [(1, 0), (1, 10), (1, len(DOCUMENTS))]
    assert answers[0]["LABEL"].item() == b"", "nothing was looked for"


def test_a_vector_may_be_shortened_and_is_of_length_1_again(codec: EmbedCodec) -> None:
    output = near(codec, "day/1")
    whole, short = codec.decode([asking(), asking(DIMENSIONS=8)], [output, output])
    assert np.array_equal(whole["EMBEDDING"], output["vector"])
    assert short["EMBEDDING"].shape == (1, 8)
    np.testing.assert_allclose(np.linalg.norm(short["EMBEDDING"]), 1.0, atol=1e-6)
    for numbers in ({"DIMENSIONS": 33}, {"DIMENSIONS": 0}, {"TOP_K": 101}, {"TOP_K": -1}):
        with pytest.raises(BadRequest, match=f"{next(iter(numbers))} .* is out of range; ask for"):
            codec.check(asking(**numbers))
    both = {**request_of(["a", "b"]), "TOP_K": np.array([[1], [2]], np.int32)}
    with pytest.raises(BadRequest, match="differs between the texts of one request"):
        codec.check(both)


def test_documents_come_and_go_and_change(codec: EmbedCodec) -> None:
    new = np.asarray(codec.index.vector("day/1"))

    def ten() -> list[str]:
        (answer,) = codec.decode([request_of([TEXT])], [said(codec, new[None])])
        return [name for name in found(answer) if name]

    assert ten()[0] == "day/1"
    at = new.astype(np.float32).tobytes()
    codec.take_documents([Placed(1, "new", at), Placed(2, "day/1", b"")])
    assert ten()[0] == "new" and "day/1" not in ten() and len(ten()) == 10
    assert codec.index.vector("day/1") is None and len(codec.index) == len(DOCUMENTS)
    codec.take_documents([Placed(3, "new", (-new).astype(np.float32).tobytes()), Placed(4, "day/1", at)])
    assert ten()[0] == "day/1" and ten()[-1] != "new"
    changes = [Document(1, "gone", None), Document(2, "new", TEXT)]
    assert codec.place(changes, lambda texts: [said(codec, new[None])] * len(texts)) == [b"", at]


def test_a_service_without_documents_finds_none_and_embeds(tmp_path: Path) -> None:
    folder = tiny_searcher(tmp_path)
    Index.of([], np.zeros((0, 32))).write(folder)
    codec = EmbedCodec(folder)
    (answer,) = codec.decode([request_of([TEXT])], [said(codec, np.eye(1, 32))])
    assert answer["DOCUMENTS"].shape == (1, 0) and answer["EMBEDDING"].shape == (1, 32)
    assert codec.told([answer]) == [("nothing", 1.0)]
    with pytest.raises(BadRequest, match="fewer than two documents"):
        codec.choice(said(codec, np.eye(1, 32)))


def test_a_head_moves_what_is_found_and_not_the_vector(codec: EmbedCodec) -> None:
    output, lesson = near(codec, "day/1"), Example(TEXT, label("film/4"))
    rows = codec.evidence([output], [lesson])
    assert codec.columns(lesson).tolist() == rows.labels.tolist() == [0]
    statistics = Statistics(codec.feature_size, len(codec.classes), codec.outputs)
    statistics.add(rows)
    codec.take_head(statistics.solve(0.1, 0.5).weights)
    (answer,) = codec.decode([request_of([TEXT])], [output])
    assert found(answer)[0] == "film/4"
    assert np.array_equal(answer["EMBEDDING"], output["vector"])
    choice = codec.choice(output)
    assert choice.shown == "film/4" and choice.towards @ (codec.index.vector("film/4")) > 0
    codec.take_head(None)
    (answer,) = codec.decode([request_of([TEXT])], [output])
    assert found(answer)[0] == "day/1"


def test_what_is_not_relevant_is_found_less(codec: EmbedCodec) -> None:
    vector = np.asarray(codec.index.vector("day/1")) + 0.5 * np.asarray(codec.index.vector("day/2"))
    output = said(codec, (vector / np.linalg.norm(vector))[None])
    lesson = Example(TEXT, label("day/1", "not relevant"))
    assert found(codec.decode([request_of([TEXT])], [output])[0])[0] == "day/1"
    statistics = Statistics(codec.feature_size, len(codec.classes), codec.outputs)
    statistics.add(codec.evidence([output], [lesson]))
    codec.take_head(statistics.solve(0.1, 0.5).weights)
    (answer,) = codec.decode([request_of([TEXT])], [output])
    assert found(answer)[0] == "day/2" and found(answer).index("day/1") > 1


def test_a_click_weighs_less_at_the_top_than_a_word(codec: EmbedCodec) -> None:
    output = said(codec, np.eye(1, 32))
    clicks = [
        Example(TEXT, json.dumps([{"document": "day/1", "said": "clicked", "position": at}]))
        for at in (1, 2, 9)
    ]
    rows = codec.evidence([output] * 4, [*clicks, Example(TEXT, label("day/1"))])
    lengths = np.linalg.norm(rows.features * 2.0**-14, axis=1)
    np.testing.assert_allclose(lengths, [0.5**0.5, 1, 1, 1], atol=1e-3)
    assert rows.labels.tolist() == [1, 1, 1, 0]


def test_a_folder_of_documents_stands_in_their_midst_and_one_that_is_gone_says_nothing(
    codec: EmbedCodec,
) -> None:
    output = said(codec, np.eye(1, 32))
    folder, gone = Example(TEXT, label("film/")), Example(TEXT, label("film/77"))
    rows = codec.evidence([output, output], [folder, gone])
    assert len(rows) == 2 and len(codec.columns(gone)) == 1, "how many there are does not change"
    assert rows.residuals[0].any() and not rows.residuals[1].any() and not rows.features[1].any()
    middle = np.asarray(codec.index.vector("film/"))
    np.testing.assert_allclose(np.linalg.norm(middle), 1.0)
    assert min(middle @ np.asarray(codec.index.vector(f"film/{n}")) for n in range(6)) > 0


def test_what_is_wanted_and_found_is_counted(codec: EmbedCodec) -> None:
    (answer,) = codec.decode([asking(TOP_K=2)], [near(codec, "film/2")])
    examples = [
        Example(TEXT, label("film/2")),
        Example(TEXT, label("day/0")),
        Example(TEXT, label("film/2", "not relevant")),
    ]
    missed = int("day/0" not in found(answer))
    assert codec.confusion([answer] * 3, examples).tolist() == [[2 - missed, missed], [1, 0]]
