"""The seams: what a member of each family must offer (of tasks `task_protocol` says it, of stores
`store_protocol`). Members are structural, never subclasses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from perennial.task_protocol import Codec, Compressible, Trainable
from perennial.types import (
    BackendSpec,
    Bundle,
    Example,
    Exported,
    Placement,
    Rated,
    Runtime,
    Tensors,
    Verdict,
)

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


class Session(Protocol):
    """An opened engine file."""

    def run(self, tensors: Tensors) -> Tensors:
        """`engine_in` tensors of one rectangular batch to `engine_out` tensors of the same batch size."""

    def close(self) -> None: ...


class WritingSession(Session, Protocol):
    """An opened engine file of a network that writes: `run` gives whole answers."""

    length: int
    """Tokens that a prompt and its answer have room for."""

    def write(
        self, tensors: Tensors, tell: Callable[[Tensors | Exception, bool], None], gone: Callable[[], bool]
    ) -> None:
        """From another thread `tell` of `engine_out` tensors, or of what went wrong, and whether they are the
        last: piece by piece where `engine_in` wants that, else once. `gone` is asked whether nobody waits any
        more."""

    def watch(self, told: Callable[[int, int], None]) -> None:
        """Tell from now on after each turn, from another thread, how many texts were being written in it, and
        how many wait."""


class Engine(Protocol):
    """Is made with its options: plain values, each with a default, which settings give by their names."""

    repeats: bool
    """Whether the same network and precision make the same bytes."""
    writes: bool
    """Whether it builds of a network that writes, and its sessions are `WritingSession`s; else of a graph."""

    def available(self) -> str | None:
        """None where it can build here, or what is missing and how to get it."""

    def runs_here(self) -> str | None:
        """None where what it builds can be opened here, or why not and where it can."""

    def build(self, exported: Exported, folder: Path, precision: str) -> Path:
        """Compile the network at `precision` into `folder`; the path of the engine file. Idempotent."""

    def precisions(self) -> tuple[str, ...]:
        """What `build` can make, cheapest to serve first."""

    def open(self, built: Path, threads: int) -> Session: ...

    def triton(self, runtime: Runtime, threads: int) -> BackendSpec: ...


class Learner(Protocol):
    """A strategy for incremental training: what to mix in, what to add to the loss.

    Two learners that were made alike give the same batches, epoch by epoch.
    """

    optimizer: str
    """Which of `torch.optim` takes its steps."""

    def __init__(self, batch_size: int, seed: int) -> None: ...

    def prepare(
        self, task: Trainable, model: Module, fresh: Sequence[Example], old: Sequence[Example]
    ) -> None:
        """Called once, before the first step, with the model as it begins: in a rebuild the serving release's
        checkpoint. `fresh` and `old` are those of every epoch."""

    def batches(self, fresh: Sequence[Example], old: Sequence[Example]) -> Iterator[list[Example]]:
        """One epoch. `old` is the release's memory of what earlier releases learned."""

    def loss(self, task: Trainable, model: Module, batch: list[Example]) -> Tensor: ...


class Recipe(Protocol):
    """A way to make a student of a model: what it begins with. It then learns what the model answers."""

    sizes: tuple[str, ...]
    """The students that `student` can make, by name."""
    learning_rate: float
    steps: int
    """How long a student learns, whatever the number of texts."""

    def student(self, task: Compressible, teacher: Module, size: str, examples: Sequence[Example]) -> Module:
        """A smaller copy of `teacher`, which stays as it is; what makes it small holds while it learns.
        `examples` are labelled, and tell what matters."""


class Predictor(Protocol):
    """A codec and a session together: what a gate compares."""

    codec: Codec

    def outputs(self, texts: Sequence[str]) -> list[Tensors]:
        """For each text its `engine_out` and `carried` tensors."""

    def decode(self, texts: Sequence[str], outputs: Sequence[Tensors]) -> list[Tensors]:
        """For each text its `answer` tensors, from what `outputs` gave."""

    def answers(self, texts: Sequence[str]) -> list[Tensors]: ...


class Gate(Protocol):
    def judge(
        self, candidate: Predictor, baseline: Predictor | None, held_out: Mapping[str, Sequence[Example]]
    ) -> Verdict:
        """`held_out` maps the name of a set to examples that neither side learned; each gate says which it
        reads. Too few of them is `inconclusive`, never an error and never a pass."""


class Publisher(Protocol):
    """Puts releases where a server finds them. Knows files, not servers."""

    def publish(self, bundle: Bundle, placement: Placement) -> None:
        """Put the release beside the serving one, whole or not at all. Idempotent; with another placement it
        is put anew."""

    def point(self, service: str, release: int) -> None:
        """Make `release` the one that the ensemble pins; takes effect at the ensemble's next load."""

    def serving(self, service: str) -> int | None:
        """The release that the ensemble pins."""

    def versions(self, service: str) -> list[int]:
        """Published releases whose every stage is whole, ascending."""

    def retire(self, service: str, release: int) -> None:
        """Take a release that is not serving out of the repository; its bundle stays."""

    def withdraw(self, service: str) -> None:
        """Take all of a service out of the repository, for the next start too; its bundles stay."""

    def quarantine(self) -> list[Path]:
        """Move leftovers of a broken publish out of the server's sight; where they are now."""


class Sample(Protocol):
    """A default service out of the box: an encoder, data to build from, and a stream to learn from.

    No text stands in two of its sets, or twice in one.
    """

    service: str
    task: str

    def __init__(self, folder: Path) -> None:
        """`folder` is where samples keep their files (`State.folder("samples")`)."""

    def fetch(self, say: Callable[[str], None]) -> None:
        """Have the files: at once and offline where they are, else whole or not at all.

        `say` is told what is downloaded and under which licence. `Unavailable` where that fails.
        """

    def encoder(self) -> Path:
        """A folder for `Trainable.load`."""

    def data(self) -> list[Example]:
        """What the first release is built from."""

    def documents(self) -> dict[str, str]:
        """What is found, where the task finds documents: texts by their ids."""

    def stream(self) -> dict[str, list[Rated]]:
        """For each other domain what its users would ask, and say of the answers."""
