"""What can go wrong, as the caller sees it. Each message names the server, its reason and the way out."""

from __future__ import annotations

from collections.abc import Mapping


class PerennialClientError(Exception):
    """Base of every error of the client. Raised itself where the server failed on a sound request."""


class BadRequest(PerennialClientError):
    """The request breaks a rule that the message names; sent again as it is, it fails again."""


class Conflict(PerennialClientError):
    """The key of a feedback row was used before, with another body. The earlier row stands."""


class NotFound(PerennialClientError):
    """The server serves nothing under that name."""


class Unavailable(PerennialClientError):
    """No server, or one that is starting, stopping or overloaded. Retries are spent; later may work."""


class DeadlineExceeded(PerennialClientError):
    """The whole call, its retries and pauses included, did not end in the time that it was given."""


_WAY_OUT = {
    NotFound: "check the service's name and that it is built: perennial status",
    Unavailable: "is the server up? if it is, it is overloaded: try again later",
    PerennialClientError: "the server failed, not the request: see its log",
}


_OTHER_TASK = (
    "the service is of another task; ask by its own: predict, tag, search, embed, recommend or generate"
)
_NOT_ITS_TASK = ("unexpected inference", "decoupled transaction policy", "has no output")
"""What who asks a service as one of another task is asked is told, and be it of what Triton answered."""

_IN_WORDS: Mapping[str, type[PerennialClientError]] = {
    "unknown model": NotFound,
    "wait to be written": Unavailable,
    "rows wait": Unavailable,
    "the engine failed": PerennialClientError,
}


def kind_in_words(reason: str) -> type[PerennialClientError]:
    """Of an error within a stream, of which Triton tells the words alone. (A header has its gRPC end a stream
    with the status instead, and 2.51 soon crashed at that.)"""
    return next((kind for words, kind in _IN_WORDS.items() if words in reason), BadRequest)


def unanswered(url: str) -> PerennialClientError:
    return failure(PerennialClientError, url, "the stream ended without an answer")


def failure(kind: type[PerennialClientError], url: str, reason: str) -> PerennialClientError:
    """An error of `kind`. For a bad request or a conflict the server's `reason` has the way out, but where
    Triton itself refuses what a service of another task would take."""
    way_out = _WAY_OUT.get(kind)
    if any(words in reason for words in _NOT_ITS_TASK):
        kind, way_out = BadRequest, _OTHER_TASK
    said = f"{url}: {reason.strip()}"
    return kind(f"{said.rstrip('.')}; {way_out}" if way_out else said)
