"""What students learn: a teacher's answers and last hidden states, computed once and kept on disk.

Knows targets and loss. Leaves the loop to `training`, the order of texts to a learner, and where a student
begins to a recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from perennial.losses import softened
from perennial.protocols import Learner
from perennial.task_protocol import Compressible, Trainable
from perennial.types import Array, Example

AT_ONCE = 64
_LOGITS, _HIDDEN, _STARTS = "logits.npy", "hidden.float16", "starts.npy"


@dataclass(frozen=True)
class Targets:
    """`logits` (pieces of all texts, classes), `hidden` (tokens of all texts, hidden), where text n has the
    tokens from `starts[n]` to `starts[n + 1]`; they are its pieces, or it is one itself."""

    logits: Array
    hidden: Array
    starts: Array

    def of(self, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        whole = len(self.logits) < len(self.hidden)
        logits = self.logits[places] if whole else self._of_tokens(self.logits, places)
        return torch.from_numpy(logits), torch.from_numpy(self._of_tokens(self.hidden, places)).float()

    def _of_tokens(self, values: Array, places: Sequence[int]) -> Array:
        return np.concatenate([values[self.starts[place] : self.starts[place + 1]] for place in places])


def ask(
    task: Compressible,
    teacher: nn.Module,
    texts: Sequence[str],
    folder: Path,
    progress: Callable[[int], None],
) -> None:
    """Write the teacher's targets of `texts` into `folder`, for `targets` to read. Neighbours run together,
    and should be of like length."""
    teacher.eval()
    logits, counts = [], []
    with (folder / _HIDDEN).open("wb") as file, torch.inference_mode():
        for start in range(0, len(texts), AT_ONCE):
            answered, hidden, tokens = task.states(teacher, texts[start : start + AT_ONCE])
            file.write(hidden.half().numpy().tobytes())
            logits.append(answered.numpy())
            counts += tokens
            progress(start)
    np.save(folder / _LOGITS, np.concatenate(logits))
    np.save(folder / _STARTS, np.concatenate([[0], np.cumsum(counts)]))


def targets(folder: Path) -> Targets:
    """What `ask` wrote. The hidden states, 80 MB for 100,000 tokens of 384, stay on disk."""
    starts = np.load(folder / _STARTS)
    flat = np.memmap(folder / _HIDDEN, np.float16, "r")
    return Targets(np.load(folder / _LOGITS), flat.reshape(starts[-1], -1), starts)


class Distillation:
    """A learner whose loss is how far a student is from its teacher: in its answers, softened, and in its
    last hidden states, as a share of their size (TinyBERT: Jiao et al., arXiv:1909.10351). No label is looked
    at."""

    optimizer = "AdamW"

    def __init__(
        self, task: Compressible, order: Learner, texts: Sequence[str], known: Targets, steps: int
    ) -> None:
        self._task, self._order, self._known, self._steps = task, order, known, steps
        self._places = {text: place for place, text in enumerate(texts)}

    def prepare(
        self, task: Trainable, model: nn.Module, fresh: Sequence[Example], old: Sequence[Example]
    ) -> None:
        pass

    def batches(self, fresh: Sequence[Example], old: Sequence[Example]) -> Iterator[list[Example]]:
        """All steps as one epoch, however often they go through the texts: what is kept is the last, the
        nearest to the teacher. By macro-F1 on 400 texts the second of three was, which was chance."""
        rounds = iter(lambda: list(self._order.batches(fresh, old)), [])
        return islice(chain.from_iterable(rounds), self._steps)

    def loss(
        self,
        task: Trainable,  # noqa: ARG002
        model: nn.Module,
        batch: list[Example],
    ) -> Tensor:
        texts = [example.text for example in batch]
        logits, hidden, _ = self._task.states(model, texts)
        wanted_logits, wanted_hidden = (
            wanted.to(logits.device) for wanted in self._known.of([self._places[text] for text in texts])
        )
        apart: Tensor = mse_loss(hidden, wanted_hidden) / wanted_hidden.square().mean()
        return softened(logits, wanted_logits) + apart


def without_dropout(student: nn.Module) -> nn.Module:
    """The same module, in which nothing is left to chance: its targets are exact, and noise only slows it."""
    for module in student.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return student
