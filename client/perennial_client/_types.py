"""What users hold: an answer, and a piece of feedback."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias, TypedDict
from uuid import uuid4

from perennial_client._errors import BadRequest


@dataclass(frozen=True)
class Timings:
    """Where the time of an answer went, in milliseconds: all since its tokenizer got the text.

    `queue` is what no stage worked on it, waiting for its turn or on its way. Where the engine is a backend
    of Triton's own (in the container), what it waited for the engine is in `engine`.
    """

    queue: float
    tokenizer: float
    engine: float
    postprocess: float


@dataclass(frozen=True)
class Answer:
    """What a service answered to one text.

    `label` is None where the service abstained: `score`, the probability of its best label, was under its
    threshold. `top` holds the best labels with their probabilities, best first: one unless `top_k` asked for
    more. `truncated` says that the text was longer than the model reads. `prediction_id` proves, in feedback,
    that `release` of `service` answered this very `text`. `timings` is there where it was asked for.
    """

    label: str | None
    score: float
    truncated: bool
    top: tuple[tuple[str, float], ...]
    prediction_id: str
    text: str
    service: str
    release: int
    timings: Timings | None = None

    @property
    def said(self) -> str:
        """What it says, as feedback would; nothing where it abstained."""
        return self.label or ""


Message: TypeAlias = Mapping[str, str]
"""Of a conversation: `role` (system, user, assistant) and `content`."""


class Options(TypedDict, total=False):
    """How a text is to be written; what is left out is as the service has it. A `temperature` of 0 takes the
    likeliest token each time, `stop` are strings that end it, and a JSON `schema` is what it keeps to."""

    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    seed: int
    stop: Sequence[str]
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class Generated:
    """What a service wrote, or, of a stream, a piece of it that follows the one before.

    `finish_reason` is "stop" where it came to an end or to a stop string, "length" where it was as long as it
    may be, and None while more pieces come. `score` is how likely the model held its tokens, by the geometric
    mean of their probabilities. `completion_tokens` counts those so far. `based_on` are the receipts of the
    corrections in whose light it was written. The other fields are as in `Answer`.
    """

    completion: str
    finish_reason: str | None
    score: float
    prompt_tokens: int
    completion_tokens: int
    prediction_id: str
    text: str
    service: str
    release: int
    based_on: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """What it says, as feedback would."""
        return self.completion

    @property
    def liked(self) -> Wanted:
        """Feedback that it is fine as it is, as far as it went; not of a piece."""
        return Wanted(self.completion, goes_on=self.finish_reason == "length")

    def disliked(self, wanted: str | None = None) -> Wanted:
        """Feedback that it is wrong, and what would have been right; not of a piece."""
        return Wanted(wanted, self.completion)


@dataclass(frozen=True)
class Span:
    """A part of a text, from `start` to `end` in characters, and its label; `score` is a probability."""

    start: int
    end: int
    label: str
    score: float = 1.0


@dataclass(frozen=True)
class Tagged:
    """The spans that a service found in one text, in order; those that score less than its threshold are left
    out. The other fields are as in `Answer`."""

    spans: tuple[Span, ...]
    truncated: bool
    prediction_id: str
    text: str
    service: str
    release: int

    @property
    def said(self) -> str:
        """What it says, as feedback would: its spans, as JSON."""
        return _written(self.spans)


@dataclass(frozen=True)
class Hit:
    """A document that was found, by its id; `score` is the cosine of its vector and the one looked for."""

    document: str
    score: float


@dataclass(frozen=True)
class Found:
    """The documents that are nearest to one text, best first. The other fields are as in `Answer`."""

    hits: tuple[Hit, ...]
    truncated: bool
    prediction_id: str
    text: str
    service: str
    release: int

    @property
    def ids(self) -> tuple[str, ...]:
        """Of its hits, in their order."""
        return tuple(hit.document for hit in self.hits)

    @property
    def said(self) -> str:
        """What it says, as feedback would: that its best document is relevant; nothing where it has none."""
        return _written([Judged(self.hits[0].document)]) if self.hits else ""


@dataclass(frozen=True)
class Suggestion:
    """An item that a user may want next, by its id; `score` is the probability that it is clicked, and
    `propensity` how likely it was to stand where it stands: less than 1 where the service tries things."""

    item: str
    score: float
    propensity: float


@dataclass(frozen=True)
class Recommended:
    """What one user may want next, best first. `text` is what was asked, as JSON; `truncated` says that only
    the newest of `items` were read. The other fields are as in `Answer`."""

    suggestions: tuple[Suggestion, ...]
    truncated: bool
    prediction_id: str
    text: str
    service: str
    release: int

    @property
    def ids(self) -> tuple[str, ...]:
        """Of its suggestions, in their order."""
        return tuple(one.item for one in self.suggestions)

    @property
    def said(self) -> str:
        """What it says, as feedback would: that its best item is relevant; nothing where it has none."""
        return _written([Judged(self.suggestions[0].item)]) if self.suggestions else ""

    def clicked(self, item: str) -> Judged:
        """Feedback that the user clicked it, with its place and its propensity."""
        return self._judged(item, "clicked")

    def skipped(self, item: str) -> Judged:
        """Feedback that the user saw it and passed it over."""
        return self._judged(item, "skipped")

    def _judged(self, item: str, said: Literal["clicked", "skipped"]) -> Judged:
        for position, one in enumerate(self.suggestions, start=1):
            if one.item == item:
                return Judged(item, said, position, one.propensity)
        raise BadRequest(
            f"item {item!r} was not suggested; say Judged({item!r}) of what the user found himself"
        )


@dataclass(frozen=True)
class Embedded:
    """The vector of one text, of length 1. The other fields are as in `Answer`."""

    vector: tuple[float, ...]
    truncated: bool
    prediction_id: str
    text: str
    service: str
    release: int


@dataclass(frozen=True)
class Judged:
    """What a user says of a document as an answer to a text: it is "relevant", "not relevant", was "clicked"
    or "skipped", or "rated" with a `rating` from 1 to 5, of which 3 says nothing. `position` is where it
    stood among the answers, of which the first is 1, and `propensity` how likely it was to stand there, as
    the answer said. An id that ends in "/" names all documents whose ids begin with it."""

    document: str
    said: Literal["relevant", "clicked", "not relevant", "skipped", "rated"] = "relevant"
    position: int | None = None
    propensity: float | None = None
    rating: float | None = None


@dataclass(frozen=True)
class Wanted:
    """What a user says of an answer that was written: the text that he `wanted`, one that he `rejected`, or
    both; `goes_on` where the wanted text is the beginning of a longer one."""

    wanted: str | None = None
    rejected: str | None = None
    goes_on: bool = False


@dataclass(frozen=True)
class Cause:
    """A row that pushes an answer: towards its label by `push` over the next best one, where 1 is a whole
    label; against it where that is negative.

    `row` is its number where it is feedback, which `perennial forget --row` takes, and `receipt` what its
    sender holds. `line` is where it stands in the release's `data/memory.jsonl`, where it was taught.
    """

    label: str
    push: float
    row: int | None
    receipt: str | None
    line: int | None


@dataclass(frozen=True)
class Why:
    """Why `release` of `service` answers a text with `label` rather than with `over`, the next best one.

    `release_alone` is what it would say without its head. Of `rows` corrections that the head has learned
    `corrections` push most, and of the texts that hold it in place `taught`; the strongest first.
    """

    service: str
    release: int
    label: str
    over: str
    release_alone: str
    rows: int
    corrections: tuple[Cause, ...]
    taught: tuple[Cause, ...]


Said: TypeAlias = "str | Span | Sequence[Span] | Judged | Sequence[Judged] | Wanted"
"""What feedback may say: a label, or the id of the right document; all spans of a text, or one of them; or
what a user says of one document or of several; or of an answer that was written."""
About: TypeAlias = "Answer | Tagged | Found | Embedded | Recommended | Generated | str"


@dataclass(frozen=True)
class Feedback:
    """What a user says of a text: that `label` is right. Of a service that tags it is JSON, which `on` makes
    of spans.

    `key` makes it safe to send the same piece twice: the server keeps one row for one key. `prediction_id` is
    empty where no answer is at hand; such feedback is trusted less, or refused where the service says so.
    """

    service: str
    text: str
    label: str
    prediction_id: str = ""
    source: str = ""
    key: str = field(default_factory=lambda: uuid4().hex)

    @classmethod
    def on(
        cls,
        about: About,
        label: Said,
        *,
        text: str | None = None,
        source: str = "",
        key: str | None = None,
    ) -> Feedback:
        """Feedback on an answer, on a prediction id, or, with neither at hand, on a text put to a service.

        `label` is the right one; or all spans that the text has; or one span that is right, of which alone it
        tells (one whose label is empty says that there is none); or what is said of documents, or of texts.

        >>> Feedback.on("sentiment", "negative", text="not exactly a masterpiece", key="7").prediction_id
        ''
        """
        if not isinstance(about, str):
            service, prediction_id = about.service, about.prediction_id
            text = about.text if text is None else text
        else:
            service, dot, _ = about.partition(".")
            prediction_id = about if dot else ""
        if text is None:
            raise BadRequest(f"feedback on {about!r} lacks its text; give text=, exactly as it was asked")
        return cls(service, text, _written(label), prediction_id, source, key or uuid4().hex)


def _written(label: Said) -> str:
    if isinstance(label, str):
        return label
    if isinstance(label, Span | Judged | Wanted):
        return json.dumps(_plain(label))
    return json.dumps([_plain(part) for part in label])


def _plain(part: Span | Judged | Wanted) -> dict[str, object]:
    if isinstance(part, Judged | Wanted):
        return {
            name: value for name, value in asdict(part).items() if value is not None and value is not False
        }
    return {"start": part.start, "end": part.end, "label": part.label or None}
