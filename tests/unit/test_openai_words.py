"""What OpenAI's clients ask, read; and what they are told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perennial.errors import BadRequest
from perennial.server.openai_words import FORMS, Chat, Completion, Model, part, read, usage, whole
from perennial_client import Generated

MESSAGES = [{"role": "user", "content": "hello"}]


def chat(**more: Any) -> Chat:
    return read(Chat, json.dumps({"model": "chat", "messages": MESSAGES, **more}).encode())


def piece(text: str, why: str | None = None, tokens: int = 1) -> Generated:
    return Generated(text, why, 0.5, 7, tokens, "chat.3.x", "hello", "chat", 3)


def test_what_is_left_out_or_null_is_as_the_service_has_it() -> None:
    asked = chat(temperature=None, user="me")
    assert asked.options == {} and asked.words == MESSAGES and not asked.stream and not asked.raw


def test_options_are_handed_on_under_our_names() -> None:
    asked = chat(max_completion_tokens=9, temperature=0.5, top_p=0.9, seed=4, stop="x", top_k=3)
    assert asked.options == {
        "max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "seed": 4, "stop": "x", "top_k": 3
    }  # fmt: skip
    assert chat(max_tokens=5).options == {"max_tokens": 5}


def test_an_answer_may_be_asked_for_in_json() -> None:
    named = {"name": "letter", "strict": True, "schema": {"type": "string"}}
    for wanted, schema in (
        ({"type": "json_schema", "json_schema": named}, {"type": "string"}),
        ({"type": "json_object"}, {"type": "object"}),
    ):
        assert chat(response_format=wanted).options == {"schema": schema}
    assert chat(response_format=None).options == chat(response_format={"type": "text"}).options == {}


def test_messages_in_parts_are_put_together_and_a_developer_is_the_system() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    asked = chat(messages=[{"role": "developer", "content": "be"}, {"role": "user", "content": parts}])
    assert asked.words == [{"role": "system", "content": "be"}, {"role": "user", "content": "ab"}]


def test_what_is_done_anyway_may_be_said() -> None:
    chat(n=1, presence_penalty=0, frequency_penalty=0.0, logprobs=False, response_format={"type": "text"})
    assert chat(stream_options={"include_usage": True}).tells_usage


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"tools": []}, "parameter 'tools' is unknown; known: "),
        ({"max_token": 3}, "parameter 'max_token' is unknown; did you mean 'max_tokens'"),
        ({"n": 2}, "n is 2: input should be 1"),
        ({"presence_penalty": 1.5}, "presence_penalty is 1.5: input should be 0"),
        ({"messages": []}, r"messages is \[\]: list should have at least 1 item"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"temperature": "hot"}, "temperature is 'hot': input should be a valid number"),
        ({"response_format": {"type": "xml"}}, "response_format is {'type': 'xml'}: input tag 'xml'"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.json_schema is missing"),
    ],
)
def test_what_is_not_offered_is_refused_by_its_name(more: dict[str, Any], told: str) -> None:
    with pytest.raises(BadRequest, match=told) as refused:
        chat(**more)
    assert "\n" not in str(refused.value)


def test_a_body_that_is_none_is_told() -> None:
    with pytest.raises(BadRequest, match="the body is no JSON"):
        read(Completion, b"{")
    with pytest.raises(BadRequest, match="the body is "):
        read(Completion, b"[]")
    with pytest.raises(BadRequest, match="model is missing"):
        read(Completion, b'{"prompt": "a"}')
    with pytest.raises(BadRequest, match="prompt is "):
        read(Completion, b'{"model": "chat", "prompt": [1, 2]}')


def test_an_answer_whole_and_in_parts() -> None:
    model, pieces = Model("chat", 3, 5), [piece("a"), piece("b", "stop", 2)]
    told = whole(FORMS[Chat], model, pieces, 7)
    assert told["choices"][0]["message"] == {"role": "assistant", "content": "ab"}
    assert told["choices"][0]["finish_reason"] == "stop" and told["id"] == "chat.3.x"
    assert told["usage"] == usage(pieces[-1])
    assert told["usage"] == {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    assert part(FORMS[Chat], model, pieces[0], 7)["choices"][0]["delta"] == {"content": "a"}
    assert whole(FORMS[Completion], model, pieces, 7)["choices"][0]["text"] == "ab"
