"""What a user of a service installs: it asks a running server, and tells it what was wrong.

    from perennial_client import Client

    with Client("http://127.0.0.1:8000") as client:
        answer = client.predict("sentiment", "not exactly a masterpiece")
        client.feedback(answer, "negative", source="editor")

It knows the wire and nothing of the models behind it. `AsyncClient` has the same methods, to await.
"""

from __future__ import annotations

from perennial_client._async_client import AsyncClient
from perennial_client._client import Client
from perennial_client._errors import (
    BadRequest,
    Conflict,
    DeadlineExceeded,
    NotFound,
    PerennialClientError,
    Unavailable,
)
from perennial_client._types import (
    Answer,
    Cause,
    Embedded,
    Feedback,
    Found,
    Generated,
    Hit,
    Judged,
    Message,
    Options,
    Recommended,
    Span,
    Suggestion,
    Tagged,
    Timings,
    Wanted,
    Why,
)

__all__ = [
    "Answer",
    "AsyncClient",
    "BadRequest",
    "Cause",
    "Client",
    "Conflict",
    "DeadlineExceeded",
    "Embedded",
    "Feedback",
    "Found",
    "Generated",
    "Hit",
    "Judged",
    "Message",
    "NotFound",
    "Options",
    "PerennialClientError",
    "Recommended",
    "Span",
    "Suggestion",
    "Tagged",
    "Timings",
    "Unavailable",
    "Wanted",
    "Why",
]
