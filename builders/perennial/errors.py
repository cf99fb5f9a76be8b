"""The errors. Each message names the value, the rule that it breaks and the way out."""

from __future__ import annotations


class PerennialError(Exception):
    """Base of every error that Perennial raises on purpose; the command line prints it as one line."""


class BadRequest(PerennialError):
    """The request breaks a documented rule (HTTP 400, gRPC INVALID_ARGUMENT)."""


class Conflict(PerennialError):
    """The idempotency key is taken by another body, or a job has ended (HTTP 409, gRPC ALREADY_EXISTS).

    `row` is the position, in its call, of the row at fault.
    """

    def __init__(self, reason: str, row: int | None = None) -> None:
        super().__init__(reason if row is None else f"row {row}: {reason}")
        self.reason = reason
        self.row = row


class NotFound(PerennialError):
    """There is no service, release, job or file of that name."""


class Unavailable(PerennialError):
    """A server, a store or an optional library that is needed is not there now."""


class Away(Unavailable):
    """The store cannot be reached now. It says where the store should be, which is for the log alone."""


class ConfigError(PerennialError):
    """A setting is unknown or has a value that it must not have."""


class Broken(PerennialError):
    """A file on disk is not what its manifest says, or a release does not load."""


class Fenced(PerennialError):
    """The lease that a write carried was taken over by another worker: stop at once."""


class TrainingFailed(PerennialError):
    """Training cannot begin, or left the finite numbers; no weights came of it."""
