"""The seams of a task: what its codec, its labels and its torch half must offer. Members are structural,
never subclasses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from perennial.heads import Evidence
from perennial.types import (
    Array,
    Choice,
    Document,
    Example,
    FeedbackRow,
    Moving,
    Placed,
    Precision,
    Scores,
    Signature,
    Telling,
    Tensors,
)

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module, Parameter

    from perennial.protocols import Session


class Codec(Protocol):
    """Wire tensors to engine tensors and back, for one release. numpy only: it runs while serving.

    Built from a folder that holds the release's codec files (`FILES`). Requests and answers are `Tensors`
    under the names of `signature`, one a request, each of its own batch size n.
    """

    FILES: tuple[str, ...]
    signature: Signature
    feature_size: int
    """How many features of each piece the engine gives, for a head to learn on; 0 where it gives none."""
    classes: tuple[str, ...]
    """What a head's rows are balanced by, piece by piece (in some tasks the text is the only one): where
    logits choose, what they choose among."""
    balance: float
    """How far the head of a service that does not say so hears rare ones more (`heads.Statistics.solve`)."""
    outputs: int
    """How many numbers of each piece a head adds to: its logits, or a vector's."""
    longest: int
    """The most tokens that `encode` gives of a text."""
    told_apart: tuple[str, ...]
    """The names that `confusion` counts by."""

    def __init__(self, folder: Path) -> None: ...

    def check(self, request: Tensors) -> None:
        """Raise `BadRequest` for a request that cannot be answered; its neighbours are not touched."""

    def encode(self, requests: Sequence[Tensors]) -> list[Tensors]:
        """For each request its `engine_in` and `carried` tensors, padded to its own longest text."""

    def decode(self, requests: Sequence[Tensors], outputs: Sequence[Tensors]) -> list[Tensors]:
        """For each request its `answer` tensors, from its `engine_out` and `carried` tensors."""

    def score(self, answers: Sequence[Tensors], examples: Sequence[Example]) -> Scores:
        """Judge answers, in the order of the examples (a request may hold several texts)."""

    def told(self, answers: Sequence[Tensors]) -> list[tuple[str, float]]:
        """For each text what a person would read of its answer, in a word, and how sure it is, in [0, 1]."""

    def probes(self, examples: Sequence[Example]) -> list[Example]:
        """By whose answers an engine file is compared with its network, and its speed is measured."""

    def confusion(self, answers: Sequence[Tensors], examples: Sequence[Example]) -> Array:
        """(`told_apart`, `told_apart`): for each that is right, by row, how often each was answered, or was
        the best of an abstention."""

    def evidence(self, outputs: Sequence[Tensors], examples: Sequence[Example]) -> Evidence:
        """What examples say of the release, for a head, from its `engine_out` and `carried` tensors for
        them: a row for each piece that their labels tell of."""

    def columns(self, example: Example) -> Array:
        """Where the class of each of these pieces stands among `classes`: (pieces,)."""

    def choice(self, output: Tensors) -> Choice:
        """What is to be explained of the answer to one text, from its `engine_out` and `carried` tensors."""

    def take_head(self, weights: Array | None) -> None:
        """Answer with this head (`heads.Solution.weights`) from now on, from any thread; None for none."""


Ask = Callable[[Sequence[str]], list[Tensors]]
"""Texts to the engine's `engine_out` and `carried` tensors for each."""


class Placing(Codec, Protocol):
    """Of a task whose answers are among documents."""

    def place(self, changes: Sequence[Document], ask: Ask) -> list[bytes]:
        """Where the release places each of these (`Placed.vector`); nowhere what it cannot place yet."""

    def take_documents(self, changes: Sequence[Placed]) -> None:
        """Answer with these as well, or no longer, from now on, from any thread."""


class Recalling(Codec, Protocol):
    """Of a task whose next answer hangs on what was said of earlier ones."""

    explore: float
    """In which share of the places of an answer something else is tried; 0 unless it is set."""

    def take_feedback(self, rows: Sequence[FeedbackRow], learned: Sequence[FeedbackRow] = ()) -> None:
        """Encode with these in mind, from any thread, and with what the release has learned itself."""

    def forget_feedback(self) -> None:
        """Encode as if nothing had been told."""


class Labels(Protocol):
    """What a task's labels mean, without a model: they are strings, as examples and feedback have them."""

    fewest: int
    """How many a service needs."""
    verb: str
    """How a service is asked: a method of the client, and a command."""

    def read(self, label: str, text: str, known: Collection[str] | None) -> str:
        """The label of a text in the one form in which equal ones are equal strings. `BadRequest` where it
        is none, or names a label that is not among the `known` ones; any will do where those are None."""

    def names(self, label: str) -> tuple[str, ...]:
        """The service's labels that it names, each once."""

    def another(self, text: str, number: int) -> str:
        """A text like it that nobody asked before."""

    def arguments(self, text: str) -> Sequence[Any]:
        """What `verb` is given to ask it."""

    def kind(self, label: str) -> str:
        """What rows are counted and balanced by."""

    def parts(self, label: str) -> Mapping[str, str]:
        """A label for each thing that it speaks of, by the thing's name: what several say of a text adds up
        thing by thing. The label itself, under no name, where it speaks of the text as a whole."""

    def whole(self, parts: Iterable[str]) -> str:
        """The label of all of these."""

    def some(self, text: str, names: Sequence[str]) -> str:
        """A label that a text might have, to show what one looks like."""

    of_words: bool
    """Whether a label stands in the words of its text, so that none of them may change."""
    of_documents: bool
    """Whether a label names documents, which a build is given."""
    of_users: bool
    """Whether a text says who asks."""
    recalls: bool
    """Whether what was said of an answer counts in the next ones, so that the codec is a `Recalling` one."""
    writes: bool
    """Whether an answer is written, token by token, and may come in pieces."""


class Trainable(Protocol):
    """The torch half of a task. Used by jobs only."""

    metric: str
    """Of `score`, that by which training tells its best epoch."""
    building: Mapping[str, Any]
    training: Mapping[str, Any]
    """How a first release is taught, and how a later one (`config.TrainingSettings`), where the settings do
    not say."""

    def load(self, checkpoint: Path, labels: Sequence[str], further: Collection[str] = ()) -> Module:
        """A model from a Hugging Face folder (encoder or fine-tuned) or from one that `save` wrote. Of
        `labels` it may lack those that are `further` ones: it is given them, and does not answer them yet."""

    def labels(self, checkpoint: Path) -> list[str]:
        """What a classifier tells apart. `ConfigError` for a checkpoint that is none, or names no labels."""

    def made_up(self, model: Module, count: int, seed: int) -> list[Example]:
        """So many texts without a sense, of its vocabulary's words, in many lengths, and labelled as it
        answers them: for a model that comes without data."""

    def save(self, model: Module, folder: Path) -> None:
        """Write the checkpoint, with its tokenizer, so that `load` gives the same model."""

    def loss(self, model: Module, batch: Sequence[Example]) -> Tensor:
        """Mean loss of the batch, each example weighted by its trust: a scalar."""

    def logits(self, model: Module, batch: Sequence[Example]) -> Tensor:
        """(pieces, classes), float32, differentiable: row after row, of each the pieces that are told apart,
        which in some tasks is the text as a whole."""

    def pieces(self, model: Module, batch: Sequence[Example]) -> list[int]:
        """How many each row has: (rows,)."""

    def columns(self, model: Module, batch: Sequence[Example]) -> Tensor:
        """Where each piece's class stands among the logits: (pieces,), or `UNTOLD`. `TrainingFailed` for a
        label that the service lacks."""

    def compared(self, model: Module, batch: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """The loss, and how much likelier than the rejected answer the wanted one is, in logarithms, of each
        row that says both, in their order: (compared rows,). Differentiable."""

    def freeze(self, model: Module, but: Moving, last_layers: int) -> None:
        """Let only these weights learn, of "last-k" so many layers; embeddings stand still in all but "full".
        `ConfigError` where "lora" does not know the network."""

    def precision(self, model: Module) -> Precision:
        """What training had best multiply in on this machine; never "auto"."""

    def merge(self, model: Module) -> None:
        """Make what `freeze` added a part of the weights: the model answers as before, and has the shape that
        it was loaded with."""

    def score(self, model: Module, examples: Sequence[Example]) -> Scores:
        """What `Codec.score` would say of the model's answers, quickly: batched by length, no gradients."""

    def export(self, model: Module, folder: Path) -> None:
        """Write the network into `folder` as the two files of an `Exported`: inputs and outputs as the
        codec's signature names them, with any number of rows and of tokens."""

    def session(self, model: Module) -> Session:
        """The checkpoint itself, behind the interface of an engine's session."""

    def write_codec(
        self, model: Module, validation: Sequence[Example], folder: Path, abstain_below: float
    ) -> None:
        """Write the codec's files: tokenizer, labels, and calibration fitted on `validation`, with the score
        in [0, 1] under which no label is given."""


class Writing(Trainable, Protocol):
    """A task whose answers are written."""

    def recite(self, model: Module, examples: Sequence[Example]) -> tuple[Array, Array]:
        """Of each example `score`'s likelihood, and the share of its text's tokens that are the likeliest
        where they stand: of 1 the network would write that text itself. (examples,) in [0, 1], twice."""

    def margins(self, model: Module, examples: Sequence[Example]) -> Array:
        """`compared`'s margins, quickly: (compared examples,)."""


class Searching(Trainable, Protocol):
    """A task whose answers are among documents that it was given."""

    def know(self, model: Module, documents: Mapping[str, str], tell: Telling) -> None:
        """Compare with these texts, by their ids, from now on; `tell` whenever some of them were read."""


class Compressible(Trainable, Protocol):
    """A task whose networks can be made smaller: a stack of layers, each of attention heads and neurons."""

    def states(self, model: Module, texts: Sequence[str]) -> tuple[Tensor, Tensor, list[int]]:
        """Logits (pieces, classes), the last hidden states (tokens of all texts, hidden), text after text and
        without padding, and how many tokens each text has. Differentiable."""

    def depth(self, model: Module) -> int:
        """How many layers it has."""

    def shallower(self, model: Module, layers: Sequence[int]) -> Module:
        """A copy of these layers alone, in ascending order."""

    def importance(self, model: Module, examples: Sequence[Example]) -> tuple[list[Array], list[Array]]:
        """For each layer, how much the loss of `examples` hangs on its heads (heads,) and its neurons
        (neurons,). `ConfigError` for a network whose heads it does not find."""

    def narrower(
        self, model: Module, heads: Sequence[Sequence[int]], neurons: Sequence[Sequence[int]]
    ) -> Module:
        """A copy that in layer i has these of its heads and neurons alone; `save` and `load` keep it so."""

    def matrices(self, model: Module) -> list[Parameter]:
        """The weights (out, in) of the layers' products: nearly all that a run multiplies."""
