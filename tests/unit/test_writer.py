"""Many texts at once: each is written as it would be alone, whoever comes, ends or goes beside it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
import pytest

from perennial.errors import Unavailable
from perennial.types import Array
from perennial.writing.request import Options
from perennial.writing.writer import MOST_WAITING, Asked, Piece, Why, Writer

VOCABULARY, END = 97, 0


class Summing:
    """Knows of each slot the tokens that it read, and nothing else: the next token is told by all of them."""

    slots, length, ends = 4, 200, (END,)

    def __init__(self) -> None:
        self.known = np.full((self.slots, self.length), -1)
        self.at_once: list[int] = []
        self.go = threading.Event()
        self.go.set()

    def read(self, slot: int, tokens: Sequence[int], place: int) -> Array:
        self.known[slot, place : place + len(tokens)] = tokens
        return self._said(slot, place + len(tokens))

    def step(self, tokens: Sequence[int], places: Sequence[int]) -> Array:
        self.go.wait()
        self.at_once.append(len(tokens))
        return np.stack(
            [
                self.read(slot, [token], place)
                for slot, (token, place) in enumerate(zip(tokens, places, strict=True))
            ]
        )

    def close(self) -> None: ...

    def move(self, source: int, target: int, length: int) -> None:
        self.known[target, :length] = self.known[source, :length]
        self.known[source] = -1

    def _said(self, slot: int, length: int) -> Array:
        read = self.known[slot, :length]
        assert (read >= 0).all(), "what stands before was read in this slot"
        return np.eye(VOCABULARY)[int(read @ np.arange(1, length + 1)) % VOCABULARY]


@dataclass
class Reader:
    pieces: list[str] = field(default_factory=list)
    why: Why | None = None
    count: int = 0
    done: threading.Event = field(default_factory=threading.Event)
    leaves_after: int = 10**9

    def tell(self, piece: Piece) -> None:
        self.pieces.append(piece.text)
        self.why, self.count = piece.why, piece.written
        if piece.why:
            assert not self.done.is_set(), "it ends once"
            self.done.set()

    def asked(self, prompt: Sequence[int], most: int, stops: Sequence[str] = ()) -> Asked:
        how = Options(max_tokens=most, stop=tuple(stops))
        return Asked(prompt, how, self.tell, lambda: len(self.pieces) >= self.leaves_after)


def decode(tokens: Sequence[int]) -> str:
    return "".join(f"{token}." for token in tokens)


def alone(prompt: Sequence[int], most: int) -> tuple[str, Why]:
    tokens = [*prompt]
    while True:
        token = int(np.array(tokens) @ np.arange(1, len(tokens) + 1)) % VOCABULARY
        if token == END:
            return decode(tokens[len(prompt) :]), "stop"
        tokens.append(token)
        if len(tokens) - len(prompt) == most or len(tokens) == Summing.length:
            return decode(tokens[len(prompt) :]), "length"


@pytest.mark.parametrize("seed", range(5))
def test_each_is_written_as_it_would_be_alone(seed: int) -> None:
    random, decoder = Random(seed), Summing()
    writer = Writer(decoder, decode)
    asked = [
        ([random.randrange(1, VOCABULARY) for _ in range(random.randrange(1, 120))], random.randrange(1, 60))
        for _ in range(40)
    ]
    readers = [Reader(leaves_after=random.choice([3, 10**9, 10**9])) for _ in asked]
    for reader, (prompt, most) in zip(readers, asked, strict=True):
        writer.submit(reader.asked(prompt, most))
    for reader, (prompt, most) in zip(readers, asked, strict=True):
        assert reader.done.wait(10)
        text, why = alone(prompt, most)
        if reader.why == "cancelled":
            assert text.startswith("".join(reader.pieces)) and len(reader.pieces) >= reader.leaves_after
        else:
            assert ("".join(reader.pieces), reader.why) == (text, why)
            assert reader.count == text.count(".") + (why == "stop")
    writer.close()
    assert max(decoder.at_once) == 4, "they were written together"


def test_who_comes_while_others_are_written_is_not_kept_waiting() -> None:
    decoder = Summing()
    writer, first, second = Writer(decoder, decode), Reader(), Reader()
    decoder.go.clear()
    writer.submit(first.asked([5, 9], 150))
    writer.submit(second.asked([7], 2))
    decoder.go.set()
    assert second.done.wait(10) and first.done.wait(10)
    writer.close()
    assert 2 in decoder.at_once


def test_more_than_may_wait_are_refused() -> None:
    decoder = Summing()
    writer = Writer(decoder, decode)
    decoder.go.clear()
    readers = [Reader() for _ in range(MOST_WAITING + 1 + decoder.slots)]
    with pytest.raises(Unavailable, match="texts wait to be written already; ask again"):
        for reader in readers:
            writer.submit(reader.asked([3], 2))
    decoder.go.set()
    writer.close()


def test_how_many_are_written_and_wait_is_told_to_who_watches() -> None:
    network, told = Summing(), list[tuple[int, int]]()
    writer, readers = Writer(network, decode), [Reader() for _ in range(6)]
    writer.watch = lambda writing, waiting: told.append((writing, waiting))
    network.go.clear()
    for reader in readers:
        writer.submit(reader.asked([1, 2], 3))
    network.go.set()
    writer.close()
    assert max(writing for writing, _ in told) == Summing.slots
    assert max(waiting for _, waiting in told) >= 2 and told[-1] == (0, 0)
