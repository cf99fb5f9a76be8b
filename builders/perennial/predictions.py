"""Prediction ids: `service.release.ULID.tag`, where the tag proves that this release answered this text.

The tag is an HMAC-SHA256 over the first three parts and the text's SHA-256, cut to 80 bits, so that
feedback can be trusted without any record of the answers.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b32encode
from dataclasses import dataclass

from ulid import ULID

from perennial.errors import BadRequest
from perennial.names import SERVICE_NAME

_ID = re.compile(
    rf"({SERVICE_NAME.pattern})\.([1-9][0-9]{{0,9}})\.([0-7][0-9A-HJKMNP-TV-Z]{{25}})\.([A-Z2-7]{{16}})"
)


@dataclass(frozen=True)
class Prediction:
    """`at` is when the answer was given, in epoch seconds."""

    service: str
    release: int
    at: float


def prediction_id(service: str, release: int, text: bytes, key: bytes) -> str:
    stem = f"{service}.{release}.{ULID()}"
    return f"{stem}.{_tag(stem, text, key)}"


def verify(claimed: str, text: bytes, key: bytes) -> Prediction:
    """What `claimed` says, if it is ours and of this text; else `BadRequest`."""
    match = _ID.fullmatch(claimed)
    if match is None:
        raise BadRequest(
            f"PREDICTION_ID {claimed[:80]!r} is not of the form service.release.ULID.tag; "
            "send back the one that the answer carried"
        )
    stem, _, tag = claimed.rpartition(".")
    if not hmac.compare_digest(tag, _tag(stem, text, key)):
        raise BadRequest(
            f"PREDICTION_ID {claimed!r} was not issued for this text; send the text exactly as it was asked"
        )
    return Prediction(match[1], int(match[2]), ULID.from_str(match[3]).timestamp)


def _tag(stem: str, text: bytes, key: bytes) -> str:
    message = stem.encode() + b"." + hashlib.sha256(text).digest()
    return b32encode(hmac.digest(key, message, "sha256")[:10]).decode()
