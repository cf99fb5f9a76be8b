"""Tokens to text while they come: no broken character is given out, nor what may begin a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence

BROKEN = "\N{REPLACEMENT CHARACTER}"
"""What a tokenizer decodes bytes to that are no whole character yet."""


class Unfolding:
    """Of one text. What it gives out, one piece after the other, is what all tokens at once decode to, up to
    the first of its `stops`, which is `stopped` then."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str]) -> None:
        """`decode` is a tokenizer's: of any run of tokens."""
        self._decode = decode
        self._stops = [stop for stop in stops if stop]
        self._tokens: list[int] = []
        self._from, self._read = 0, 0
        self._held = ""
        self.stopped: str | None = None

    def add(self, token: int) -> str:
        """The text that is certain now, often none."""
        self._tokens.append(token)
        return self._certain(self._fresh(last=False))

    def end(self) -> str:
        """What was held back, as no more tokens come."""
        text = self._certain(self._fresh(last=True))
        held, self._held = self._held, ""
        return text if self.stopped else text + held

    def _fresh(self, last: bool) -> str:
        """Decoded from a token or two before what is new: what a token says may hang on those before it."""
        known = self._decode(self._tokens[self._from : self._read])
        whole = self._decode(self._tokens[self._from :])
        if (whole.endswith(BROKEN) and not last) or len(whole) <= len(known):
            return ""
        self._from, self._read = self._read, len(self._tokens)
        return whole[len(known) :]

    def _certain(self, fresh: str) -> str:
        if self.stopped:
            return ""
        text = self._held + fresh
        found = [(text.index(stop), stop) for stop in self._stops if stop in text]
        if found:
            place, self.stopped = min(found)
            self._held = ""
            return text[:place]
        held = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`."""
    most = min(len(text), len(stop) - 1)
    return next((count for count in range(most, 0, -1) if text.endswith(stop[:count])), 0)
