"""What the codec of `tag` makes of what an engine says of words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from perennial.errors import BadRequest
from perennial.pipeline import request_of
from perennial.tasks.tag.codec import TagCodec
from perennial.types import Array, Example, Tensors
from tiny import tiny_tagger

TEXT = "so bad and good"
CLASSES = ("O", "B-BAD", "I-BAD", "B-GOOD", "I-GOOD")


@pytest.fixture
def codec(tmp_path: Path) -> TagCodec:
    return TagCodec(tiny_tagger(tmp_path))


def output(codec: TagCodec, text: str, classes: list[str], sure: float = 5.0) -> Tensors:
    """As an engine says that the words of a text are of these classes; other tokens shout."""
    (encoded,) = codec.encode([request_of([text])])
    logits = np.full((1, encoded["input_ids"].shape[1], 5), -9.0, np.float32)
    logits[..., 3] = 9.0
    first = np.flatnonzero(encoded["WORDS"][0, :, 0] >= 0)
    logits[0, first] = 0.0
    logits[0, first, [CLASSES.index(name) for name in classes]] = sure
    features = np.random.default_rng(0).normal(size=(*logits.shape[:2], 32)).astype(np.float32)
    return {"logits": logits, "features": features, **{n: encoded[n] for n in ("WORDS", "TRUNCATED")}}


def answer(codec: TagCodec, said: Tensors) -> Tensors:
    (found,) = codec.decode([{}], [said])
    return found


def test_a_words_first_token_tells_its_class_and_spans_their_ends(codec: TagCodec) -> None:
    found = answer(codec, output(codec, TEXT, ["B-BAD", "I-BAD", "O", "B-GOOD"]))
    assert found["LABEL"].item().decode() == '[[0, 6, "BAD"], [11, 15, "GOOD"]]'
    assert (found["STARTS"].tolist(), found["ENDS"].tolist()) == ([[0, 11]], [[6, 15]])
    assert found["SPAN_LABELS"].tolist() == [[b"BAD", b"GOOD"]]
    np.testing.assert_allclose(found["SPAN_SCORES"], np.exp(5) / (np.exp(5) + 4), rtol=1e-5)
    assert codec.told([found]) == [("BAD 0-6, GOOD 11-15", pytest.approx(0.9738, abs=1e-4))]


def test_characters_are_counted_and_not_bytes(codec: TagCodec) -> None:
    found = answer(codec, output(codec, "é𝄞 bad", ["O", "B-BAD"]))
    assert found["LABEL"].item().decode() == '[[3, 6, "BAD"]]'


def test_spans_below_the_threshold_are_left_out(tmp_path: Path) -> None:
    codec = TagCodec(tiny_tagger(tmp_path, threshold=0.5))
    assert answer(codec, output(codec, "so bad", ["O", "B-BAD"], sure=1.0))["LABEL"].item() == b"[]"
    assert answer(codec, output(codec, "so bad", ["O", "B-BAD"], sure=3.0))["LABEL"].item() != b"[]"


def test_a_long_text_is_read_in_windows_end_to_end_and_each_word_once(codec: TagCodec) -> None:
    """Windows of 62 words, of which each shares 16 with the next one."""
    (encoded,) = codec.encode([request_of(["bad " * 100, "bad"])])
    assert encoded["input_ids"].shape == (2, 64 + 64 - (62 + 46 - 100))
    first = encoded["WORDS"][0, :, 0] >= 0
    starts = encoded["WORDS"][0, first, 0].tolist()
    assert sorted(starts) == [*range(0, 400, 4)]
    assert first[:64].sum() == 54, "each stands where it is further from the edge"
    assert encoded["TRUNCATED"].tolist() == [[False], [False]]


def test_a_word_that_an_edge_cuts_is_told_whole(codec: TagCodec) -> None:
    """Its tokens are 53 to 72 of the text, the last of the first window 61 and the first of the second 46."""
    text = f"{'bad ' * 53}{'z' * 20} bad"
    (encoded,) = codec.encode([request_of([text])])
    placed = encoded["WORDS"][0]
    assert [212, 232] in placed.tolist() and [233, 236] in placed.tolist()
    assert (placed[:, 0] >= 0).sum() == 55
    ((span,),) = [json.loads(answer(codec, output(codec, text, ["O"] * 53 + ["B-BAD", "O"]))["LABEL"].item())]
    assert span == [212, 232, "BAD"]


def test_what_is_too_long_for_windows_is_cut_and_flagged(codec: TagCodec) -> None:
    (encoded,) = codec.encode([request_of(["bad " * 1000, "bad " * 380])])
    assert encoded["input_ids"].shape == (2, 8 * 64)
    assert encoded["TRUNCATED"].tolist() == [[True], [False]]


def test_rows_of_evidence_are_the_words_that_are_told_of(codec: TagCodec) -> None:
    said = output(codec, TEXT, ["B-BAD", "I-BAD", "O", "O"])
    whole = Example(TEXT, '[[3, 6, "BAD"]]', weight=0.5)
    one = Example(TEXT, json.dumps({"start": 11, "end": 15, "label": "GOOD"}))
    for example, wanted in ((whole, ["O", "B-BAD", "O", "O"]), (one, ["B-GOOD"])):
        rows = codec.evidence([said], [example])
        assert [CLASSES[column] for column in rows.labels] == wanted
        assert codec.columns(example).tolist() == rows.labels.tolist()
        assert rows.features.shape == (len(wanted), 32) and rows.residuals.shape == (len(wanted), 5)
        assert rows.trust.tolist() == [example.weight] * len(wanted)


def test_what_tells_of_no_word_is_no_evidence(codec: TagCodec) -> None:
    text = "bad " * 1000
    cut = Example(text, json.dumps({"start": 3996, "end": 3999, "label": "GOOD"}))
    (encoded,) = codec.encode([request_of([text])])
    logits = np.zeros((1, encoded["input_ids"].shape[1], 5), np.float32)
    said = {"logits": logits, "features": np.zeros((*logits.shape[:2], 32), np.float32), **encoded}
    assert len(codec.evidence([said], [cut])) == len(codec.columns(cut)) == 0
    none = {name: array[:0] for name, array in said.items()}
    assert len(codec.evidence([none], [])) == 0


def test_a_head_moves_the_words_that_have_its_features(codec: TagCodec) -> None:
    said = output(codec, TEXT, ["O", "O", "O", "O"])
    places: Array = np.flatnonzero(said["WORDS"][0, :, 0] >= 0)
    said["features"][0, places] = np.eye(4, 32, dtype=np.float32)
    head = np.zeros((33, 5))
    head[1, CLASSES.index("B-BAD")] = 2.0  # for the second word, and a slope of a quarter: 8 of logits
    codec.take_head(head)
    assert answer(codec, said)["LABEL"].item().decode() == '[[3, 6, "BAD"]]'
    codec.take_head(None)
    assert answer(codec, said)["LABEL"].item() == b"[]"


def test_the_least_sure_word_of_the_spans_is_what_is_explained(codec: TagCodec) -> None:
    said = output(codec, TEXT, ["B-BAD", "I-BAD", "O", "B-GOOD"])
    said["logits"][0, 2, CLASSES.index("I-GOOD")] = 4.0  # of the second word; the third is no span's
    place = int(np.flatnonzero(said["WORDS"][0, :, 0] == 3)[0])
    said["logits"][0, place, CLASSES.index("O")] = 4.5
    choice = codec.choice(said)
    assert (choice.shown, choice.shown_other) == ("I-BAD at 3-6", "O at 3-6")
    assert np.array_equal(choice.features, said["features"][0, place])


def test_a_text_without_a_word_has_nothing_to_explain(codec: TagCodec) -> None:
    (encoded,) = codec.encode([request_of(["\u200b"])])
    assert not (encoded["WORDS"] >= 0).any()
    with pytest.raises(BadRequest, match="has no word"):
        codec.choice({"logits": np.zeros((1, 2, 5)), "features": np.zeros((1, 2, 32)), **encoded})
