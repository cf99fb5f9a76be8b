"""The plain data that crosses rooms: no behaviour, no import heavier than numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Tensors = dict[str, Array]
"""Named arrays; the first axis of each is the batch."""

Runtime = Literal["embedded", "container"]
"""Where a release is loaded: the wheel's tritonserver, or NVIDIA's container with its C++ backends."""
LlmName = Literal["", "vllm", "trtllm"]
"""In the container: which of Triton's backends for language models writes; empty for our own engine."""
Moving = Literal["head", "lora", "last-k", "full"]
"""Which weights learn: the head, and beside it none, low-rank additions to all layers, the last, or all."""
Precision = Literal["auto", "fp32", "bf16"]
"""What training multiplies in; "auto" is bf16 where the machine has it and the network bears it."""
Tracker = Literal["wandb", "mlflow"]


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a model's signature, in Triton's words. `shape` leaves out the batch; -1 is free."""

    name: str
    dtype: Literal["BYTES", "INT32", "INT64", "UINT32", "UINT64", "FP32", "BOOL"]
    shape: tuple[int, ...]
    optional: bool = False
    again: bool = False
    """Whether it says again what other tensors say, for whoever likes it better so."""


@dataclass(frozen=True)
class Signature:
    """What flows between the stages of a service.

    `request` enters the ensemble, `engine_in` and `carried` leave the tokenizer (`carried` by-passes the
    engine), `engine_out` leaves the engine, and `answer` leaves the postprocess and the ensemble. Where it
    `streams`, one stage does all that, and any number of answers may follow a request.
    """

    request: tuple[TensorSpec, ...]
    engine_in: tuple[TensorSpec, ...]
    carried: tuple[TensorSpec, ...]
    engine_out: tuple[TensorSpec, ...]
    answer: tuple[TensorSpec, ...]
    streams: bool = False


@dataclass(frozen=True)
class Example:
    """A text and what it should be answered with.

    `weight` says how far it is trusted; `row` is the feedback row that it came from, if one did.
    """

    text: str
    label: str
    weight: float = 1.0
    source: str = ""
    row: int | None = None


@dataclass(frozen=True)
class Choice:
    """What an answer chose for one of its pieces: how a person calls the best and the next best one,
    `towards` (outputs,), by which what a head adds to its outputs is added to the first over the second, and
    the piece's `features` (size,)."""

    towards: Array
    shown: str
    shown_other: str
    features: Array


Telling = Callable[[int, int], None]
"""Told how many of how many are done, for a person who waits."""
UNTOLD = -100
"""Stands for the class of a piece of a text of which its label says nothing; torch's own mark."""
MADE_UP = "made up"
"""The source of texts that nobody wrote, which stand in for those that a given model was taught."""


@dataclass(frozen=True)
class Rated:
    """A text of a sample's stream: its gold label, and the label that each of several people gave it."""

    text: str
    label: str
    ratings: tuple[str, ...]


@dataclass(frozen=True)
class Scores:
    """`metrics` of a set of answers, in [0, 1], and `correct`: (examples,) in [0, 1], for paired tests."""

    metrics: Mapping[str, float]
    correct: Array


Outcome = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    """What a gate found. Only `pass` lets a candidate through; `reason` is one line for a person."""

    gate: str
    outcome: Outcome
    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.outcome == "pass"


GRAPH, PROGRAM, DECODER = "model.onnx", "model.pt2", "decoder"


@dataclass(frozen=True)
class Exported:
    """A network on its way from training to an engine, in `folder`: as ONNX, and as torch.export saved it;
    or, where it writes, as a Hugging Face folder.

    `samples` are real texts as a session takes them, of one row each: a quantiser calibrates on them, and a
    compiler reads from them which lengths to be quick at. `longest` is the most tokens that a session will
    ever be asked.
    """

    folder: Path
    samples: Sequence[Tensors]
    longest: int

    @property
    def graph(self) -> Path:
        return self.folder / GRAPH

    @property
    def program(self) -> Path:
        return self.folder / PROGRAM

    @property
    def decoder(self) -> Path:
        return self.folder / DECODER


@dataclass(frozen=True)
class BackendSpec:
    """How Triton loads an engine file: the backend's name, the file, the backend's parameters, and whether
    its instances stand on a GPU."""

    backend: str
    filename: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    gpu: bool = False


@dataclass(frozen=True)
class Placement:
    """How a release runs where it is loaded, which says nothing of what it answers.

    `instances` rows are in the engine at once, each run with `threads`; one that comes while nothing else
    does gets `alone_threads`, or every core where that is 0. `tokenizers` and `postprocesses` count the
    processes of those stages. Of the texts that are asked the store keeps the share `shadow_share`, and of
    those the newest `shadow_texts`. Where its task can, answers try something else in the share `explore` of
    their places; and with `recall` they heed what was said of others since.
    In the container `llm` names what writes in the place of its engine, started with `llm_options`.
    """

    runtime: Runtime = "embedded"
    instances: int = 1
    threads: int = 1
    alone_threads: int = 0
    tokenizers: int = 1
    postprocesses: int = 1
    shadow_share: float = 0.0
    shadow_texts: int = 500
    explore: float = 0.0
    recall: bool = True
    llm: LlmName = ""
    llm_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A release on disk: `folder` holds its files and `manifest` (manifest.json, parsed) describes them."""

    service: str
    release: int
    folder: Path
    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class ServiceRecord:
    """What the store knows of a service; the feedback model checks rows against it."""

    name: str
    task: str
    labels: tuple[str, ...]
    max_text_bytes: int = 20_000
    require_prediction_id: bool = False
    unproven_trust: float = 0.5
    feedback_within_s: float = 0.0
    trigger_count: int = 500
    trigger_age_s: float = 24 * 3600.0


@dataclass(frozen=True)
class NewFeedback:
    """One row as a user sent it, checked. Only a proven prediction id gives `release` and full `trust`."""

    service: str
    text: str
    label: str
    source: str = ""
    key: str | None = None
    prediction_id: str | None = None
    release: int | None = None
    trust: float = 1.0


@dataclass(frozen=True)
class FeedbackRow(NewFeedback):
    """A durable row: `row` counts up in order of commit, `receipt` is what its sender holds."""

    row: int = 0
    receipt: str = ""
    created_at: float = 0.0
    attempts: int = 0


@dataclass(frozen=True)
class HeadRow:
    """What a release said of a feedback row: `features` and `residuals` of its `heads.Evidence`, as bytes;
    and `was_right`, whether it answered as the row says before it had learned it (test, then train)."""

    row: int
    features: bytes
    residuals: bytes
    was_right: bool | None = None


@dataclass(frozen=True)
class Head:
    """What corrections add to a release's outputs: `weights`, float32 (features + 1, outputs), as bytes.

    `version` counts up; `figures` say what it was made of and how it was judged.
    """

    service: str
    release: int
    weights: bytes
    figures: Mapping[str, Any]
    version: int = 0
    created_at: float = 0.0


NO_END = 2**62
"""A row number that no feedback ever has."""


@dataclass(frozen=True)
class HeadOrders:
    """What a person decided of a service's head: it learns the rows after `since_row`, up to `until_row`.

    `generation` grows whenever rows or orders change in another way than by new feedback.
    """

    since_row: int = 0
    until_row: int = NO_END
    generation: int = 0

    @property
    def frozen(self) -> bool:
        return self.until_row < NO_END


@dataclass(frozen=True)
class Inquiry:
    """Somebody waits to hear why a service answers a text as it does, and for the `most` strongest causes of
    either kind."""

    number: int
    service: str
    text: str
    most: int


@dataclass(frozen=True)
class Document:
    """What somebody last said of a document: its text, or None where it is taken out. `number` grows with
    each change."""

    number: int
    name: str
    text: str | None


@dataclass(frozen=True)
class Placed:
    """Where a release's engine places a document: its vector, float32, as bytes; empty where it is taken out.
    `version` grows with each."""

    version: int
    name: str
    vector: bytes


@dataclass(frozen=True)
class Backlog:
    """Feedback of a service that no release has learned: `fresh` rows never tried, `waiting` tried and
    refused, `spent` refused too often to try again; `oldest_at` is the oldest fresh row's time (epoch s)."""

    fresh: int
    waiting: int
    spent: int
    oldest_at: float | None


@dataclass(frozen=True)
class Lease:
    """The right to work, until `expires_at` (epoch s). `token` grows with each holder and fences writes."""

    name: str
    holder: str
    token: int
    expires_at: float


JobState = Literal["queued", "running", "kept", "refused", "rolled back", "failed", "cancelled"]


@dataclass(frozen=True)
class Job:
    """One rebuild of a service, or what else `kind` says. `release` is the number it will publish under.

    `payload` is what was asked; `steps` maps a finished step's name to its result.
    """

    id: str
    service: str
    kind: Literal["build", "rebuild", "compress"]
    state: JobState
    release: int
    reason: str
    payload: Mapping[str, Any]
    steps: Mapping[str, Mapping[str, Any]]
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    detail: str = ""

    @property
    def open(self) -> bool:
        return self.state in ("queued", "running")


def text_tensor(texts: list[str] | list[bytes]) -> Array:
    """Texts as Triton's BYTES tensor of shape (texts, 1)."""
    raw = [text.encode() if isinstance(text, str) else text for text in texts]
    return np.array(raw, dtype=np.object_).reshape(-1, 1)
