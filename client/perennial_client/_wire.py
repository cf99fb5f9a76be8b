"""A service's requests and replies as named tensors, whatever protocol carries them.

Knows the names and shapes of the wire; leaves bytes to the transports and time to the calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from perennial_client._errors import BadRequest, PerennialClientError
from perennial_client._types import (
    Answer,
    Cause,
    Embedded,
    Feedback,
    Found,
    Generated,
    Hit,
    Message,
    Recommended,
    Span,
    Suggestion,
    Tagged,
    Timings,
    Why,
)

PREDICT_BATCH = 32
"""Texts in one request at most; a longer list travels as several."""

FEEDBACK_BATCH = 256
"""Rows in one request at most; the server commits a request's rows together."""
DOCUMENTS_BATCH = 64
"""As of feedback."""

_COMMON = ("TRUNCATED", "PREDICTION_ID")
"""What every answer has."""
_ANSWER = ("LABEL", "SCORE", "TOP_LABELS", "TOP_SCORES")
_TIMINGS = "TIMINGS"
_FOUND = ("DOCUMENTS", "SCORES")
_SUGGESTED = (*_FOUND, "PROPENSITIES")
_WRITTEN = ("COMPLETION", "FINISH_REASON", "SCORE", "TOKENS", "BASED_ON", "PREDICTION_ID")


@dataclass(frozen=True)
class Tensor:
    """`values` is flat, in row-major order of `shape`, whose first axis is the batch."""

    dtype: Literal["BYTES", "INT32", "FP32", "BOOL"]
    shape: tuple[int, ...]
    values: Sequence[Any]


Reply: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True)
class Infer:
    """Put `inputs` to `model` and get `outputs` back."""

    model: str
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    in_pieces: bool = False
    """Whether the model may give several replies: another call of the protocols', also where it gives one."""


@dataclass(frozen=True)
class Ready:
    """Ask whether `model` can answer. The reply is empty; the error is `Unavailable` where it cannot."""

    model: str


Call: TypeAlias = Infer | Ready


def question(service: str, texts: Sequence[str], top_k: int | None, timings: bool = False) -> Infer:
    inputs = {"TEXT": _strings(texts)}
    if top_k is not None:
        inputs["TOP_K"] = _number("top_k", top_k, len(texts))
    if timings:  # another model, so that its tensors cost those who do not ask nothing
        return _asked(f"{service}_timed", inputs, (*_ANSWER, _TIMINGS))
    return _asked(service, inputs, _ANSWER)


def answers(service: str, texts: Sequence[str], reply: Reply) -> list[Answer]:
    label, score, top_labels, top_scores = (_rows(reply, name, len(texts)) for name in _ANSWER)
    times = _rows(reply, _TIMINGS, len(texts)) if _TIMINGS in reply else None
    return [
        Answer(
            label=label[i][0] or None,  # an empty label is how a service abstains
            score=score[i][0],
            top=tuple(zip(top_labels[i], top_scores[i], strict=True)),
            timings=Timings(*times[i]) if times else None,
            **common,
        )
        for i, common in enumerate(_common(service, texts, reply))
    ]


def feedback(rows: Sequence[Feedback]) -> Infer:
    """An optional column is empty where a row lacks it, and not sent where all do."""
    inputs = {
        "SERVICE": _strings([row.service for row in rows]),
        "TEXT": _strings([row.text for row in rows]),
        "LABEL": _strings([row.label for row in rows]),
        "KEY": _strings([row.key for row in rows]),
    }
    for name, column in (
        ("PREDICTION_ID", [row.prediction_id for row in rows]),
        ("SOURCE", [row.source for row in rows]),
    ):
        if any(column):
            inputs[name] = _strings(column)
    return Infer("feedback", inputs, ("RECEIPT",))


def receipts(rows: Sequence[Feedback], reply: Reply) -> list[str]:
    return [receipt for (receipt,) in _rows(reply, "RECEIPT", len(rows))]


def texts_to_tag(service: str, texts: Sequence[str]) -> Infer:
    return _asked(service, {"TEXT": _strings(texts)}, ("SPANS",))


def tagged(service: str, texts: Sequence[str], reply: Reply) -> list[Tagged]:
    spans = _rows(reply, "SPANS", len(texts))
    return [
        Tagged(
            spans=tuple(Span(**span) for span in json.loads(spans[i][0])),
            **common,
        )
        for i, common in enumerate(_common(service, texts, reply))
    ]


def queries(service: str, texts: Sequence[str], top_k: int) -> Infer:
    inputs = {"TEXT": _strings(texts), "TOP_K": _number("top_k", top_k, len(texts))}
    return _asked(service, inputs, _FOUND)


def found(service: str, texts: Sequence[str], reply: Reply) -> list[Found]:
    documents, scores = (_rows(reply, name, len(texts)) for name in _FOUND)
    return [
        Found(
            hits=tuple(Hit(*pair) for pair in zip(documents[i], scores[i], strict=True) if pair[0]),
            **common,
        )
        for i, common in enumerate(_common(service, texts, reply))
    ]


def context(user: str, items: Sequence[str]) -> str:
    """What a service that recommends is asked, as a text."""
    return json.dumps({"user": user, "items": list(items)}, ensure_ascii=False)


def suggestions(service: str, texts: Sequence[str], top_k: int) -> Infer:
    inputs = {"TEXT": _strings(texts), "TOP_K": _number("top_k", top_k, len(texts))}
    return _asked(service, inputs, _SUGGESTED)


def recommended(service: str, texts: Sequence[str], reply: Reply) -> list[Recommended]:
    items, scores, propensities = (_rows(reply, name, len(texts)) for name in _SUGGESTED)
    return [
        Recommended(
            suggestions=tuple(
                Suggestion(*one) for one in zip(items[i], scores[i], propensities[i], strict=True) if one[0]
            ),
            **common,
        )
        for i, common in enumerate(_common(service, texts, reply))
    ]


def prompt(asked: str | Sequence[Message], raw: bool, options: Mapping[str, Any]) -> str:
    """What a service that generates is asked, as a text."""
    if isinstance(asked, str) and not (raw or options):
        return asked
    messages = [{"role": "user", "content": asked}] if isinstance(asked, str) else list(asked)
    said: dict[str, Any] = {"prompt": asked} if raw else {"messages": messages}
    return json.dumps({**said, **options}, ensure_ascii=False)


def to_write(service: str, text: str, stream: bool) -> Infer:
    inputs = {"TEXT": _strings([text]), "STREAM": Tensor("BOOL", (1, 1), [stream])}
    return Infer(service, inputs, _WRITTEN, in_pieces=True)


def written(service: str, text: str, reply: Reply) -> Generated:
    ((completion,), (finish,), (score,), tokens, (based_on,), (prediction_id,)) = (
        _rows(reply, name, 1)[0] for name in _WRITTEN
    )
    return Generated(
        completion=completion,
        finish_reason=finish or None,
        score=score,
        prompt_tokens=tokens[0],
        completion_tokens=tokens[1],
        prediction_id=prediction_id,
        text=text,
        service=service,
        release=_release(prediction_id),
        based_on=tuple(json.loads(based_on)),
    )


def documents(service: str, changes: Sequence[tuple[str, str | None]]) -> Infer:
    inputs = {
        "SERVICE": _strings([service] * len(changes)),
        "ID": _strings([name for name, _ in changes]),
        "TEXT": _strings([text or "" for _, text in changes]),
    }
    return Infer("index", inputs, ("CHANGE",))


def changed(changes: Sequence[tuple[str, str | None]], reply: Reply) -> list[int]:
    return [int(number) for (number,) in _rows(reply, "CHANGE", len(changes))]


def texts_to_embed(service: str, texts: Sequence[str], dimensions: int | None) -> Infer:
    inputs = {"TEXT": _strings(texts), "TOP_K": Tensor("INT32", (len(texts), 1), [0] * len(texts))}
    if dimensions is not None:
        inputs["DIMENSIONS"] = _number("dimensions", dimensions, len(texts))
    return _asked(service, inputs, ("EMBEDDING",))


def embedded(service: str, texts: Sequence[str], reply: Reply) -> list[Embedded]:
    vectors = _rows(reply, "EMBEDDING", len(texts))
    return [
        Embedded(
            vector=tuple(vectors[i]),
            **common,
        )
        for i, common in enumerate(_common(service, texts, reply))
    ]


def inquiry(service: str, text: str, most: int | None) -> Infer:
    inputs = {"SERVICE": _strings([service]), "TEXT": _strings([text])}
    if most is not None:
        inputs["MOST"] = _number("most", most, 1)
    return Infer("why", inputs, ("CAUSES",))


def causes(service: str, reply: Reply) -> Why:
    ((told,),) = _rows(reply, "CAUSES", 1)
    found = json.loads(told)
    return Why(
        service=service,
        corrections=tuple(Cause(**cause) for cause in found.pop("corrections")),
        taught=tuple(Cause(**cause) for cause in found.pop("taught")),
        **found,
    )


def _asked(model: str, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> Infer:
    return Infer(model, inputs, (*outputs, *_COMMON))


def _common(service: str, texts: Sequence[str], reply: Reply) -> list[dict[str, Any]]:
    """Of each answer the fields that all have."""
    truncated, ids = (_rows(reply, name, len(texts)) for name in _COMMON)
    return [
        {
            "truncated": truncated[i][0],
            "prediction_id": ids[i][0],
            "text": text,
            "service": service,
            "release": _release(ids[i][0]),
        }
        for i, text in enumerate(texts)
    ]


def _release(prediction_id: str) -> int:
    return int(prediction_id.split(".")[1])


def _number(name: str, value: int, rows: int) -> Tensor:
    """The same for each row."""
    if not 1 <= value < 2**31:
        raise BadRequest(f"{name} {value} is out of range; ask for 1 or more")
    return Tensor("INT32", (rows, 1), [value] * rows)


def _strings(values: Sequence[str]) -> Tensor:
    for value in values:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadRequest(f"{value[:80]!r} is not text: {error}; decode it without surrogates") from None
    return Tensor("BYTES", (len(values), 1), values)


def _rows(reply: Reply, name: str, asked: int) -> list[Sequence[Any]]:
    """The values of an output, one sequence a row of the batch."""
    tensor = reply.get(name)
    if tensor is None or tensor.shape[0] != asked:
        raise PerennialClientError(
            f"the reply to {asked} rows has {name} for {tensor.shape[0] if tensor else 'none'}; "
            "is this a Perennial server of this client's version?"
        )
    width = len(tensor.values) // asked
    return [tensor.values[i * width : (i + 1) * width] for i in range(asked)]
