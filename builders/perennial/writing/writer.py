"""Writes many texts at once: continuous batching, after Orca (Yu et al., OSDI 2022).

Each turn every text that is being written gets one token, in one run of the network; texts that end make room
at once for those that wait, first come, first served. A prompt is read in parts between turns, so that a long
one does not stop the texts of others (Sarathi: Agrawal et al., arXiv:2308.16369).
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal, Protocol

from perennial.errors import BadRequest, Unavailable
from perennial.types import Array
from perennial.writing.grammar import Grammar
from perennial.writing.request import Options
from perennial.writing.sampling import Sampler, log_share
from perennial.writing.unfolding import Unfolding

PART = 32
"""Tokens of a prompt that are read at a time: on two cores as long as two turns of sixteen texts."""
MOST_WAITING = 256

_log = logging.getLogger(__name__)

Why = Literal["stop", "length", "cancelled", "failed"]
"""An end of its own or a stop string; as many tokens as were asked for, or have room; and faults."""


class Decoder(Protocol):
    """A network that says what the next token may be, with room for so many texts of so many tokens each."""

    slots: int
    length: int
    ends: Collection[int]
    """The tokens that end a text."""

    def read(self, slot: int, tokens: Sequence[int], place: int) -> Array:
        """Read tokens that stand at `place` of the slot's text: the logits (vocabulary,) after the last."""

    def step(self, tokens: Sequence[int], places: Sequence[int]) -> Array:
        """Read one token in each of the first slots, where it stands in its text: (texts, vocabulary)."""

    def move(self, source: int, target: int, length: int) -> None:
        """Have a text of so many tokens in another slot."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Piece:
    """Text that follows what was told before; with the last one `why` it ended. So far so many tokens were
    `written`, which the network held for so `likely`: the geometric mean of their probabilities."""

    text: str
    why: Why | None
    written: int
    likely: float


@dataclass(frozen=True)
class Asked:
    """An answer to the `tokens` of a prompt. `tell` is given each piece of it, and never raises; `gone` says
    that nobody waits any more."""

    tokens: Sequence[int]
    how: Options
    tell: Callable[[Piece], None]
    gone: Callable[[], bool] = lambda: False


@dataclass(eq=False)
class _Text:
    asked: Asked
    sampler: Sampler
    unfolding: Unfolding
    tokens: list[int]
    read: int = 0
    """How many of its tokens the network has read."""
    log_share: float = 0.0
    """The sum over the tokens that were written."""

    @property
    def written(self) -> int:
        return len(self.tokens) - len(self.asked.tokens)

    def piece(self, text: str, why: Why | None) -> Piece:
        return Piece(text, why, self.written, math.exp(self.log_share / max(1, self.written)))


class Writer:
    def __init__(
        self,
        decoder: Decoder,
        decode: Callable[[Sequence[int]], str],
        grammars: Callable[[str], Grammar | None] = lambda _: None,
    ) -> None:
        self._decoder, self._decode, self._grammars = decoder, decode, grammars
        self.length = decoder.length
        self._waiting = deque[_Text]()
        self._texts: list[_Text] = []
        """By their slots: what is being written, and after that what is still read."""
        self._changed = threading.Condition()
        self._closed = False
        self.watch: Callable[[int, int], None] = unwatched
        """Told after each turn how many texts are being written, and how many wait."""
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def submit(self, asked: Asked) -> None:
        """Raises `BadRequest` for a prompt that leaves no room or a schema that is none, and `Unavailable`
        where too many wait."""
        require_room(asked.tokens, self.length)
        sampler = Sampler(asked.how, self._grammars(asked.how.schema))
        text = _Text(asked, sampler, Unfolding(self._decode, asked.how.stop), [*asked.tokens])
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                self._drop_who_left()
            if len(self._waiting) >= MOST_WAITING:
                raise Unavailable(
                    f"{MOST_WAITING} texts wait to be written already; ask again in a few seconds"
                )
            self._waiting.append(text)
            self._changed.notify()

    def close(self) -> None:
        """Write what was asked for, and stop."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._decoder.close()

    def _run(self) -> None:
        while self._ready():
            try:
                self._drop_abandoned()
                self._read_a_part()
                self._write_a_token()
            except Exception:
                _log.exception("texts could not be written")
                for text in [*self._texts]:
                    self._end(text, "failed")

    def _ready(self) -> bool:
        """Wait for texts, and give slots to those that came first; false once closed, and all are written."""
        with self._changed:
            self.watch(len(self._texts), len(self._waiting))
            while not (self._texts or self._waiting or self._closed):
                self._changed.wait()
            while self._waiting and len(self._texts) < self._decoder.slots:
                self._texts.append(self._waiting.popleft())
            return bool(self._texts)

    def _drop_abandoned(self) -> None:
        for text in [one for one in self._texts if one.asked.gone()]:
            self._end(text, "cancelled")

    def _drop_who_left(self) -> None:
        """Of those that wait: to ask for each of them at each turn would cost more than it saves."""
        gone = {text for text in self._waiting if text.asked.gone()}
        self._waiting = deque(text for text in self._waiting if text not in gone)
        for text in gone:
            text.asked.tell(text.piece("", "cancelled"))

    def _read_a_part(self) -> None:
        """Of the first prompt that is not wholly read; its last token is read with the others' next ones."""
        for slot, text in enumerate(self._texts):
            if text.read < len(text.tokens) - 1:
                part = text.tokens[text.read : len(text.tokens) - 1][:PART]
                self._decoder.read(slot, part, text.read)
                text.read += len(part)
                return

    def _write_a_token(self) -> None:
        known = self._known()
        if not known:
            return
        logits = self._decoder.step([text.tokens[-1] for text in known], [text.read for text in known])
        for text in known:
            text.read += 1
        for text, said in zip(known, logits, strict=True):
            try:
                token = text.sampler.choose(said, text.tokens)
            except Exception:
                _log.exception("a text could not be written on")
                self._end(text, "failed")
                continue
            text.tokens.append(token)
            text.log_share += log_share(said, token)
            self._tell(text, token)

    def _known(self) -> list[_Text]:
        """Of which all is read, but for what may be read with the others' next tokens: they stand first."""
        return list(takewhile(lambda text: text.read >= len(text.tokens) - 1, self._texts))

    def _tell(self, text: _Text, token: int) -> None:
        if token in self._decoder.ends:
            self._end(text, "stop")
            return
        piece = text.unfolding.add(token)
        if text.unfolding.stopped is not None:
            self._end(text, "stop", piece)
        elif text.written >= text.asked.how.max_tokens or len(text.tokens) >= self._decoder.length:
            self._end(text, "length", piece)
        elif piece:
            text.asked.tell(text.piece(piece, None))

    def _end(self, text: _Text, why: Why, piece: str = "") -> None:
        """Tell it, and close the gap: what is being written stands before what is still read."""
        slot = self._texts.index(text)
        last = len(self._known()) - 1
        if slot < last:
            self._decoder.move(last, slot, self._texts[last].read)
            self._texts[slot] = self._texts[last]
            slot = last
        del self._texts[slot]
        if slot < len(self._texts) and self._texts[slot].read:
            self._decoder.move(slot + 1, slot, self._texts[slot].read)
        text.asked.tell(text.piece(piece + text.unfolding.end(), why))


def require_room(tokens: Sequence[int], length: int) -> None:
    """Raises `BadRequest` for a prompt that leaves an answer none."""
    if len(tokens) >= length:
        raise BadRequest(
            f"the prompt has {len(tokens)} tokens, and prompt and answer have room for {length}; shorten it"
        )


def unwatched(writing: int, waiting: int) -> None:
    pass
