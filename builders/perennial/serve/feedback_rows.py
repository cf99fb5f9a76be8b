"""Reads the rows of one feedback request and checks each: what was sent, and what its prediction id proves.

Pure: services and key are given. A request is accepted whole or refused with its first fault.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from perennial.errors import BadRequest
from perennial.plugins import labels_of
from perennial.predictions import verify
from perennial.serve.checks import asked_text, check_length, decoded
from perennial.types import NewFeedback, ServiceRecord, Tensors

MAX_NAME_BYTES = 200
"""The longest SOURCE and KEY."""


class Sent(NamedTuple):
    """One row as it came; an optional field that is left out is empty."""

    SERVICE: bytes
    TEXT: bytes
    LABEL: bytes
    PREDICTION_ID: bytes = b""
    SOURCE: bytes = b""
    KEY: bytes = b""


def read(request: Tensors, service_of: Callable[[str], ServiceRecord], key: bytes) -> list[NewFeedback]:
    """The rows of tensors of shape (rows, 1); `service_of` raises `BadRequest` for an unknown name."""
    rows = _rows(request)
    return [_named(position, len(rows), sent, service_of, key) for position, sent in enumerate(rows)]


def where(position: int, rows: int) -> str:
    """How an error names a row; the only row of a request needs no name."""
    return f"row {position}: " if rows > 1 else ""


def _rows(request: Tensors) -> list[Sent]:
    count = len(request["TEXT"])
    columns = [request[name].ravel().tolist() if name in request else [b""] * count for name in Sent._fields]
    if any(len(column) != count for column in columns):
        raise BadRequest("SERVICE, TEXT, LABEL and the others need one value a row: shape [rows, 1] each")
    return [Sent(*values) for values in zip(*columns, strict=True)]


def _named(
    position: int, rows: int, sent: Sent, service_of: Callable[[str], ServiceRecord], key: bytes
) -> NewFeedback:
    try:
        return _checked(sent, service_of(decoded("SERVICE", sent.SERVICE)), key)
    except BadRequest as error:
        raise BadRequest(where(position, rows) + str(error)) from None


def _checked(sent: Sent, service: ServiceRecord, key: bytes) -> NewFeedback:
    text = asked_text(sent.TEXT, service)
    check_length("LABEL", sent.LABEL, service.max_text_bytes)
    label = labels_of(service.task).read(decoded("LABEL", sent.LABEL), text, service.labels)
    release = _proven_release(sent, service, key)
    return NewFeedback(
        service=service.name,
        text=text,
        label=label,
        source=_name("SOURCE", sent.SOURCE),
        key=_name("KEY", sent.KEY) or None,
        prediction_id=sent.PREDICTION_ID.decode() or None,
        release=release,
        trust=1.0 if release else service.unproven_trust,
    )


def _proven_release(sent: Sent, service: ServiceRecord, key: bytes) -> int | None:
    """The release that the prediction id proves to have answered this text; None where there is no id."""
    claimed = decoded("PREDICTION_ID", sent.PREDICTION_ID)
    if not claimed:
        if service.require_prediction_id:
            raise BadRequest(
                f"service {service.name!r} takes no feedback without a PREDICTION_ID; "
                "send the one that the answer carried"
            )
        return None
    prediction = verify(claimed, sent.TEXT, key)
    if prediction.service != service.name:
        raise BadRequest(
            f"PREDICTION_ID {claimed!r} is of service {prediction.service!r} and SERVICE says "
            f"{service.name!r}; send the one that gave the answer"
        )
    age_s = time.time() - prediction.at
    if service.feedback_within_s and age_s > service.feedback_within_s:
        raise BadRequest(
            f"PREDICTION_ID {claimed!r} is of an answer given {age_s:.0f} s ago, and {service.name!r} takes "
            f"feedback within {service.feedback_within_s:g} s (feedback_within_s); ask again for a new one"
        )
    return prediction.release


def _name(field: str, raw: bytes) -> str:
    check_length(field, raw, MAX_NAME_BYTES)
    return decoded(field, raw)
