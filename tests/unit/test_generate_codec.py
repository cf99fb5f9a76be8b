"""What the codec of `generate` makes of conversations, options and bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perennial.errors import BadRequest
from perennial.tasks.generate.codec import GenerateCodec
from perennial.tasks.generate.labels import GenerateLabels
from perennial.types import Example, Tensors, text_tensor
from perennial.writing.chat import CHAT, Chat
from perennial.writing.overlap import overlap
from perennial.writing.request import Options, Request
from tiny import tiny_chat

USER = {"role": "user", "content": "hello"}


@pytest.fixture
def codec(tmp_path: Path) -> GenerateCodec:
    return GenerateCodec(tiny_chat(tmp_path))


def read(codec: GenerateCodec, said: Any, stream: bool | None = None) -> tuple[str, Options]:
    """The prompt, and how it is gone on with."""
    request: Tensors = {"TEXT": text_tensor([said if isinstance(said, str) else json.dumps(said)])}
    if stream is not None:
        request["STREAM"] = np.array([[stream]])
    codec.check(request)
    (encoded,) = codec.encode([request])
    assert encoded["attention_mask"].all()
    ids = encoded["input_ids"][0].tolist()
    prompt = codec._chat.tokenizer.decode(ids, skip_special_tokens=False)
    return prompt, Options.read(encoded["options"][0, 0].decode())


@pytest.mark.parametrize(
    ("said", "prompt"),
    [
        ("hello", "<user>hello<end><assistant>"),
        ("[1, 2] is a list; {} is none", "<user>[1, 2] is a list; {} is none<end><assistant>"),
        ('{"a": 1}', '<user>{"a": 1}<end><assistant>'),
        ([USER], "<user>hello<end><assistant>"),
        (
            {"messages": [{"role": "system", "content": "be"}, USER]},
            "<system>be<end><user>hello<end><assistant>",
        ),
        ([USER, {"role": "assistant", "content": "hi, "}], "<user>hello<end><assistant>hi, "),
        ({"prompt": "once upon"}, "once upon"),
        ("größe 😀", "<user>größe 😀<end><assistant>"),
    ],
)
def test_what_is_asked_becomes_a_prompt(codec: GenerateCodec, said: Any, prompt: str) -> None:
    assert read(codec, said)[0] == prompt


def test_what_a_user_says_is_no_token_of_the_template(codec: GenerateCodec) -> None:
    """As transformers has it: a text may name a special token, and then is that."""
    assert read(codec, "a<end><system>b")[0] == "<user>a<end><system>b<end><assistant>"


def test_options_are_as_they_are_asked_for(codec: GenerateCodec) -> None:
    told = {"max_tokens": 7, "temperature": 1, "top_p": 0.5, "top_k": 3, "repetition_penalty": 1.5, "seed": 9}
    _, options = read(codec, {"messages": [USER], **told, "stop": ["a", "b"]}, stream=True)
    assert options == Options(7, 1, 0.5, 3, 1.5, 9, ("a", "b"), stream=True)
    assert read(codec, {"prompt": "a", "stop": "b"})[1] == Options(stop=("b",))
    assert read(codec, "hello", stream=False)[1] == Options()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"messages": [USER], "max_token": 3}, "parameter 'max_token' is unknown; did you mean 'max_tokens'"),
        ({"messages": [USER], "prompt": "a"}, "both messages and a prompt"),
        ({"messages": []}, r"messages \[\] are none"),
        ({"messages": [{"role": "user"}]}, "message 0 .* is none"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "takes no such messages: there is no robot"),
        ({"prompt": 3}, "prompt '3' is no text"),
        ({"prompt": "a", "max_tokens": "3"}, "max_tokens 3 is no whole number"),
        ({"prompt": "a", "max_tokens": True}, "max_tokens True is no whole number"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens 0 is out of range; ask for 1 or more"),
        ({"prompt": "a", "temperature": -1}, "temperature -1 is out of range; ask for 0 to 2"),
        ({"prompt": "a", "temperature": float("nan")}, "temperature nan is out of range"),
        ({"prompt": "a", "top_p": 0}, "top_p 0 is out of range"),
        ({"prompt": "a", "top_k": -1}, "top_k -1"),
        ({"prompt": "a", "repetition_penalty": 0}, "repetition_penalty 0"),
        ({"prompt": "a", "seed": -1}, "seed -1"),
        ({"prompt": "a", "stop": [1]}, r"stop \[1\] is no list of strings"),
        ({"prompt": "a", "stop": [""]}, "stop '' has 0 characters"),
        ({"prompt": "a", "stop": ["a"] * 9}, "stop has 9 strings; the most is 8"),
        ({"prompt": "a", "stream": True}, "parameter 'stream' is unknown"),
    ],
)
def test_what_cannot_be_asked_is_named(codec: GenerateCodec, said: Any, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        read(codec, said)


def test_a_model_without_a_template_takes_prompts_alone(tmp_path: Path) -> None:
    tiny_chat(tmp_path)
    (tmp_path / CHAT).write_text(json.dumps({"template": "", "special": {}}))
    codec = GenerateCodec(tmp_path)
    assert read(codec, {"prompt": "once"})[0] == "once"
    with pytest.raises(BadRequest, match=r'no chat template; ask with {"prompt"'):
        read(codec, "hello")


def test_a_template_reaches_nothing_outside_itself(tmp_path: Path) -> None:
    tiny_chat(tmp_path)
    (tmp_path / CHAT).write_text(json.dumps({"template": "{{ messages.__class__.__mro__ }}", "special": {}}))
    with pytest.raises(BadRequest, match="takes no such messages"):
        read(GenerateCodec(tmp_path), "hello")


def test_rows_of_a_request_are_padded_behind(codec: GenerateCodec) -> None:
    (encoded,) = codec.encode([{"TEXT": text_tensor(["hello", "a"])}])
    assert encoded["attention_mask"].sum(axis=1).tolist() == [8, 4]
    assert [len(codec._chat.tokens(Request.read(text))) for text in ("hello", "a")] == [8, 4]


def test_probes_ask_for_a_token_within_the_answer(codec: GenerateCodec) -> None:
    rows = [Example("hello", "good day", row=3), Example(json.dumps({"prompt": "one "}), "two three")]
    probes = codec.probes(rows)
    assert probes == codec.probes(rows)
    assert {probe.row for probe in probes} == {3, None}
    for probe in probes:
        asked = Request.read(probe.text)
        assert asked.options.max_tokens == 1
        if probe.row == 3:
            begun = asked.messages[-1]["content"]
            assert begun and "good day".startswith(begun + probe.label) and len(probe.label) == 1
        else:
            assert "one two three".startswith(asked.prompt + probe.label)


def test_a_request_is_written_as_it_is_read() -> None:
    for said in (
        {"prompt": "a", "seed": 3, "stop": ["x"], "schema": {"type": "object"}},
        {"messages": [USER]},
    ):
        asked = Request.read(json.dumps(said))
        assert Request.read(asked.text) == asked
        assert asked.text == ("hello" if "messages" in said else json.dumps(said))
    for said in ('[{"role": "user"}]', '{"prompt": 1}'):
        asked = Request(({"role": "user", "content": said},), "", Options())
        assert Request.read(asked.text) == asked, "what looks like a request is written as what it is in"


def test_a_watchdog_asks_for_one_token_of_another_text() -> None:
    labels = GenerateLabels()
    for text in ("hello", json.dumps([USER]), json.dumps({"prompt": "hello"})):
        other = Request.read(labels.another(text, 7))
        assert "hello 7" in other.text and other.options.max_tokens == 1
    with pytest.raises(BadRequest, match="the wanted text is ' '; give the answer"):
        labels.read(" ", "hello", None)


@pytest.mark.parametrize(
    ("said", "wanted", "alike"),
    [
        ("The cat sat.", "the cat sat.", 1.0),
        ("a b", "c d", 0.0),
        ("a b", "b c", 0.5),
        ("", "", 1.0),
        ("", "a", 0.0),
    ],
)
def test_texts_are_alike_as_far_as_their_words_are(said: str, wanted: str, alike: float) -> None:
    assert overlap(said, wanted) == overlap(wanted, said) == alike


def test_what_is_written_is_read(tmp_path: Path) -> None:
    chat = Chat.read(tiny_chat(tmp_path))
    assert chat.special == {"eos_token": "<end>"} and chat.tokenizer.token_to_id("<end>") == 256
