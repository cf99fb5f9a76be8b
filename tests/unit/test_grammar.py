"""What is written to a schema is JSON of it, whatever the network says."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers.decoders import ByteLevel

from perennial.errors import BadRequest
from perennial.types import Array
from perennial.writing.grammar import Grammars, grammar_of
from perennial.writing.request import Options
from perennial.writing.writer import Asked, Piece, Writer

END = "<end>"
LETTER = {
    "type": "object",
    "properties": {
        "to": {"enum": ["Ann", "Bo"]},
        "lines": {"type": "array", "items": {"type": "string", "maxLength": 5}, "maxItems": 3},
        "sent": {"type": "boolean"},
    },
    "required": ["to", "lines", "sent"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(['{"to": "Ann", "lines": ["ä", "b"], "sent": true}'] * 3, trainer)
    return tokenizer


class Babbling:
    """Any token after any other, one of them beyond those that the tokenizer has."""

    slots, length = 4, 400

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        self.ends = (tokenizer.token_to_id(END),)
        self._vocabulary, self._random = tokenizer.get_vocab_size() + 1, np.random.default_rng(seed)

    def read(self, slot: int, tokens: Sequence[int], place: int) -> Array:
        return self.step([0], [place])[0]

    def step(self, tokens: Sequence[int], places: Sequence[int]) -> Array:
        return self._random.normal(size=(len(tokens), self._vocabulary))

    def move(self, source: int, target: int, length: int) -> None: ...

    def close(self) -> None: ...


def written(writer: Writer, *how: Options) -> list[tuple[str, str | None]]:
    done = [threading.Event() for _ in how]
    pieces: list[list[Piece]] = [[] for _ in how]

    def add(number: int, piece: Piece) -> None:
        pieces[number].append(piece)
        if piece.why:
            done[number].set()

    for number, one in enumerate(how):
        writer.submit(Asked([1], one, lambda piece, number=number: add(number, piece)))  # type: ignore[misc]
    assert all(one.wait(20) for one in done)
    return [("".join(piece.text for piece in of), of[-1].why) for of in pieces]


def of_schema(schema: Any, **how: Any) -> Options:
    return Options(**{"schema": json.dumps(schema), "max_tokens": 300, **how})


@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_whatever_a_network_says_it_is_json_of_the_schema(tokenizer: Tokenizer, temperature: float) -> None:
    decoder = Babbling(tokenizer, 5)
    writer = Writer(decoder, tokenizer.decode, Grammars(tokenizer.to_str(), decoder.ends))
    how = [of_schema(LETTER, temperature=temperature, seed=seed) for seed in range(9)]
    *letters, free, short = written(
        writer, *how, Options(max_tokens=40, temperature=temperature), of_schema(LETTER, max_tokens=3)
    )
    for text, why in letters:
        letter = json.loads(text)
        assert why == "stop" and [*letter] == LETTER["required"]
        assert letter["to"] in ("Ann", "Bo") and isinstance(letter["sent"], bool)
        assert len(letter["lines"]) <= 3 and all(len(line) <= 5 for line in letter["lines"])
        assert text == json.dumps(letter, ensure_ascii=False) or "\\" in text
    assert len({*letters}) > 3
    assert not free[0].startswith("{"), "who asks for no schema beside them is kept to none"
    assert short[1] == "length" and '{"to": '.startswith(short[0][:7])
    writer.close()


def test_a_penalty_and_what_is_likeliest_leave_the_schema_whole(tokenizer: Tokenizer) -> None:
    decoder = Babbling(tokenizer, 6)
    writer = Writer(decoder, tokenizer.decode, Grammars(tokenizer.to_str(), decoder.ends))
    how: list[dict[str, Any]] = [
        {"repetition_penalty": 3.0},
        {"repetition_penalty": 3.0, "temperature": 1.0, "top_k": 7},
        {"temperature": 1.0, "top_p": 0.2},
        {"temperature": 1.0, "top_k": 300, "top_p": 0.9},
    ]
    for text, why in written(writer, *(of_schema(LETTER, **one) for one in how)):
        assert why == "stop" and [*json.loads(text)] == LETTER["required"]
    writer.close()


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "objekt"}, "Invalid type: objekt"),
        ({"$ref": "#/nowhere"}, "Pointer '/nowhere' does not exist"),
        ({"type": "string", "pattern": "("}, "regex parse error"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
    ],
)
def test_a_schema_that_nothing_can_be_kept_to_is_told_in_one_line(
    tokenizer: Tokenizer, schema: Any, reason: str
) -> None:
    decoder = Babbling(tokenizer, 7)
    writer = Writer(decoder, tokenizer.decode, Grammars(tokenizer.to_str(), decoder.ends))
    with pytest.raises(BadRequest) as refused:
        written(writer, of_schema(schema))
    told = str(refused.value)
    assert told.startswith("schema '{") and reason in told and "\n" not in told
    assert grammar_of('{"type": "object"}')
    writer.close()


def test_a_text_that_fails_takes_no_other_with_it(tokenizer: Tokenizer) -> None:
    class Failing:
        def left(self, logits: Array) -> Array:
            raise RuntimeError("no more")

    writer = Writer(
        Babbling(tokenizer, 8),
        tokenizer.decode,
        lambda schema: Failing() if schema else None,  # type: ignore[arg-type, return-value]
    )
    told = written(writer, Options(max_tokens=30), of_schema({}), Options(max_tokens=30))
    assert [why in ("length", "stop") for _, why in told] == [True, False, True] and told[1][1] == "failed"
    writer.close()
