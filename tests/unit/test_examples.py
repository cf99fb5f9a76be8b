"""Corrections as examples in the prompt: which are found, in which order, and what becomes of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from perennial.tasks.generate.codec import GenerateCodec
from perennial.types import Array, FeedbackRow, Tensors, text_tensor
from perennial.writing.examples import LEAST_TRUST, LONGEST, MOST, Examples
from perennial.writing.meaning import Meaning, word_vectors
from perennial.writing.request import Request
from tiny import tiny_chat, tiny_letters


@pytest.fixture
def codec(tmp_path: Path) -> GenerateCodec:
    return GenerateCodec(tiny_chat(tmp_path))


def row(asked: str, label: str, number: int = 1, trust: float = 1.0) -> FeedbackRow:
    return FeedbackRow("chat", asked, label, trust=trust, row=number, receipt=f"r{number}")


def prompt(codec: GenerateCodec, asked: str) -> tuple[str, list[str]]:
    request: Tensors = {"TEXT": text_tensor([asked])}
    (encoded,) = codec.encode([request])
    told = codec._chat.tokenizer.decode(encoded["input_ids"][0].tolist(), skip_special_tokens=False)
    return told, json.loads(encoded["based_on"][0, 0])


def test_a_correction_is_told_twice_before_a_prompt_that_is_like_it(codec: GenerateCodec) -> None:
    plain = prompt(codec, "hello")
    codec.take_feedback([row("hello", "hi")])
    turn = "<user>hello<end><assistant>hi<end>"
    assert prompt(codec, "hello") == (f"{turn}{turn}<user>hello<end><assistant>", ["r1"])
    codec.forget_feedback()
    assert prompt(codec, "hello") == plain and plain[1] == []


def test_what_is_not_alike_is_left_alone(codec: GenerateCodec) -> None:
    codec.take_feedback([row("zzzz", "hi")])
    assert prompt(codec, "aeiou") == ("<user>aeiou<end><assistant>", [])


def test_the_nearest_comes_last_and_no_more_than_two_are_told(codec: GenerateCodec) -> None:
    codec.take_feedback([row("hello", "1", 1), row("hello!", "2", 2), row("hello!?", "3", 3)])
    told, receipts = prompt(codec, "hello")
    assert receipts[-1] == "r1" and len(receipts) == 2 and told.count("<user>") == 4


def test_the_newest_word_on_a_prompt_counts(codec: GenerateCodec) -> None:
    codec.take_feedback([row("hello", "old", 1)])
    codec.take_feedback([row("hello", "new", 2)])
    told, receipts = prompt(codec, "hello")
    assert receipts == ["r2"] and "old" not in told


def test_none_is_told_that_is_less_alike_than_what_was_learned(codec: GenerateCodec) -> None:
    codec.take_feedback([row("hello", "1", 1)], [row("hello!!", "2", 2)])
    assert prompt(codec, "hello")[1] == ["r1"], "that one is nearer"
    assert prompt(codec, "hello!!!")[1] == []
    codec.take_feedback([row("hello!!", "3", 3)])
    assert prompt(codec, "hello!!")[1] == ["r3"], "whoever corrects what was learned is heard"
    codec.forget_feedback()
    codec.take_feedback([row("hello", "1", 1)])
    assert prompt(codec, "hello!!!")[1] == ["r1"]


def test_a_conversation_is_looked_up_by_what_its_user_says_last(codec: GenerateCodec) -> None:
    messages = [{"role": "system", "content": "be"}, {"role": "user", "content": "hello"}]
    codec.take_feedback([row(json.dumps(messages), json.dumps({"wanted": "hi", "rejected": "no"}))])
    told, receipts = prompt(codec, json.dumps(messages))
    assert told.startswith("<system>be<end><user>hello<end><assistant>hi<end><user>hello") and receipts == [
        "r1"
    ]
    answer = [*messages, {"role": "assistant", "content": "so"}]
    assert prompt(codec, json.dumps(answer))[1] == []
    assert prompt(codec, json.dumps({"prompt": "hello"}))[1] == []


@pytest.mark.parametrize(
    "told",
    [
        row("hello", '{"rejected": "hi"}'),
        row("hello", "hi", trust=LEAST_TRUST / 2),
        row("hello", "x" * LONGEST),
        row('{"prompt": "hello"}', "hi"),
        row('{"messages": 3}', "hi"),
    ],
)
def test_what_is_no_example_is_not_kept(codec: GenerateCodec, told: FeedbackRow) -> None:
    codec.take_feedback([told])
    assert prompt(codec, "hello")[1] == []


def test_no_more_than_so_many_are_kept_the_newest_ones() -> None:
    read = list[str]()

    def meaning(text: str) -> Array:
        read.append(text)
        return np.ones(1)

    examples = Examples(meaning, len)
    examples.take([row(str(number), "a", number) for number in range(MOST + 5)])
    assert [*examples._kept] == read == [str(number) for number in range(5, MOST + 5)]


def test_a_prompt_that_would_grow_too_long_goes_without(codec: GenerateCodec) -> None:
    codec.take_feedback([row("hello", "hi")])
    long = json.dumps([{"role": "system", "content": "x" * 1010}, {"role": "user", "content": "hello"}])
    assert prompt(codec, long)[1] == []


def test_turns_come_after_what_the_system_says() -> None:
    asked = Request.read("hello").after([("a", "b")])
    assert [one["content"] for one in asked.messages] == ["a", "b", "hello"]
    assert asked.question == "hello" and Request.read(asked.text) == asked


def test_frequent_tokens_and_special_ones_hardly_count(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = word_vectors(rng.standard_normal((5000, 48)) + 3.0, special=[7])
    assert words.dtype == np.float16 and words.shape == (5000, 40)
    lengths = np.linalg.norm(words.astype(np.float32), axis=1)
    assert lengths[7] == 0 and lengths[10] < lengths[100] < lengths[4000] <= 1.001
    assert abs(float((words[100:] / lengths[100:, None]).mean())) < 0.01, "nothing is shared by all"
    np.save(tmp_path / "meaning.npy", words)
    meaning = Meaning(tmp_path, tiny_letters())
    assert np.linalg.norm(meaning.of("Hello")) == pytest.approx(1, abs=1e-3)
    assert meaning.of("HELLO") @ meaning.of("hello") == pytest.approx(1, abs=1e-3)
    assert not meaning.of("").any()
