"""The torch half of `generate`: answers become likelier that somebody wanted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perennial.encoders.any_task import multiplies_in_bfloat16
from perennial.encoders.moving import freeze, merge
from perennial.protocols import Session
from perennial.types import DECODER, Array, Example, Moving, Precision, Scores
from perennial.writing.grammar import Grammars
from perennial.writing.meaning import MEANING, word_vectors
from perennial.writing.network import CausalModel, Said, TorchDecoder, load, log_shares, save, written
from perennial.writing.request import Options, Request
from perennial.writing.session import WritingSession
from perennial.writing.wanted import Wanted
from perennial.writing.writer import Writer

__all__ = ["GenerateTask"]

MADE_UP_TEXTS, ASKED_TOKENS, ANSWERED_TOKENS = 192, 24, 48
ITSELF = "itself"
"""The source of what a model made up, which unlike words without a sense is worth being kept up."""
TRAINING = MappingProxyType(
    {"trainable": "lora", "learning_rate": 2e-3, "batch_size": 8, "epochs": 4, "balance": 0.0, "threads": 0}
)


class GenerateTask:
    metric = "likelihood"
    building: Mapping[str, Any] = TRAINING
    training: Mapping[str, Any] = MappingProxyType({**TRAINING, "learner": "dpo"})

    def load(self, checkpoint: Path, labels: Sequence[str], further: Collection[str] = ()) -> CausalModel:  # noqa: ARG002
        return load(checkpoint)

    def labels(self, checkpoint: Path) -> list[str]:  # noqa: ARG002
        """None: a model that writes answers with any text."""
        return []

    def made_up(self, model: CausalModel, count: int, seed: int) -> list[Example]:
        """Conversations that the model makes up itself, the user's part as well: what it writes where the
        template has a question is one (Xu et al., Magpie, arXiv:2406.08464). Without a template it makes up a
        text."""
        count = min(count, MADE_UP_TEXTS)
        encode, decode = model.chat.tokenizer.encode, model.chat.tokenizer.decode
        asking, ids = bool(model.chat.template), [model.ends[0]]
        if asking:
            began, _, _ = model.chat.prompt(_asking(MARK)).partition(MARK)
            ids = encode(began, add_special_tokens=False).ids
        texts = [decode(row) for row in written(model, [ids] * count, ASKED_TOKENS, seed)]
        requests = [_asking(text) if asking else _going_on(text) for text in texts if text.strip()]
        answers = written(model, [model.chat.tokens(request) for request in requests], ANSWERED_TOKENS, seed)
        said = [Wanted(decode(answer), goes_on=len(answer) == ANSWERED_TOKENS) for answer in answers]
        return [
            Example(request.text, one.label, source=ITSELF)
            for request, one in zip(requests, said, strict=True)
            if one.text.strip()
        ]

    def save(self, model: CausalModel, folder: Path) -> None:
        save(model, folder)

    def loss(self, model: CausalModel, batch: Sequence[Example]) -> Tensor:
        """Minus the log of the probability of what is wanted: of each example the mean over its tokens,
        weighted; averaged over those that want something."""
        lessons = _lessons(batch)
        return _loss(model.log_shares([one.wanted for one in lessons]), lessons)

    def compared(self, model: CausalModel, batch: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """Both of one run of the network."""
        lessons = _lessons(batch)
        both = [(place, one.rejected) for place, one in enumerate(lessons) if one.rejected]
        shares = model.log_shares([*(one.wanted for one in lessons), *(rejected for _, rejected in both)])
        sums = [share.sum() for share in shares]
        margins = [sums[place] - lost for (place, _), lost in zip(both, sums[len(lessons) :], strict=True)]
        own = _loss(shares[: len(lessons)], lessons)
        return own, torch.stack(margins) if margins else torch.zeros(0)

    def logits(self, model: CausalModel, batch: Sequence[Example]) -> Tensor:
        """Of every token of what is wanted, over the vocabulary."""
        return torch.cat([logits for logits, _ in model.places([one.wanted for one in _lessons(batch)])])

    def pieces(self, model: CausalModel, batch: Sequence[Example]) -> list[int]:
        return [sum(len(model.tokens(one.wanted)) for one in _lessons([row])) for row in batch]

    def columns(self, model: CausalModel, batch: Sequence[Example]) -> Tensor:
        tokens = [token for one in _lessons(batch) for token in model.tokens(one.wanted)]
        return torch.tensor(tokens, device=model.device)

    def freeze(self, model: CausalModel, but: Moving, last_layers: int) -> None:
        freeze(model, but, last_layers)

    def precision(self, model: CausalModel) -> Precision:  # noqa: ARG002
        return "bf16" if multiplies_in_bfloat16() else "fp32"

    def merge(self, model: CausalModel) -> None:
        merge(model)

    def score(self, model: CausalModel, examples: Sequence[Example]) -> Scores:
        """How likely what is wanted is, by the geometric mean over the tokens of each, or how unlikely what
        is rejected: to write the answers would take longer than to learn."""
        correct = self.recite(model, examples)[0]
        return Scores({"likelihood": float(correct.mean()) if examples else 0.0}, correct)

    def recite(self, model: CausalModel, examples: Sequence[Example]) -> tuple[Array, Array]:
        likely, right, training = np.zeros(len(examples)), np.zeros(len(examples)), model.training
        model.eval()
        with torch.inference_mode():
            for place, example in enumerate(examples):
                wanted = Wanted.read(example.label)
                said = Said(example.text, wanted.text, not wanted.goes_on)
                ((logits, tokens),) = model.places([said])
                likely[place] = wanted.score(float(log_shares(logits, tokens).mean().exp()))
                right[place] = float((logits.argmax(-1) == tokens).float().mean())
        model.train(training)
        return likely, right

    def margins(self, model: CausalModel, examples: Sequence[Example]) -> Array:
        model.eval()
        with torch.inference_mode():
            found = [self.compared(model, [example])[1] for example in examples]
        return np.array([float(margin) for margins in found for margin in margins])

    def export(self, model: CausalModel, folder: Path) -> None:
        save(model, folder / DECODER)

    def session(self, model: CausalModel) -> Session:
        tokenizer = model.chat.tokenizer
        grammars = Grammars(tokenizer.to_str(), model.ends)
        return WritingSession(Writer(TorchDecoder(model), tokenizer.decode, grammars))

    def write_codec(
        self,
        model: CausalModel,
        validation: Sequence[Example],  # noqa: ARG002
        folder: Path,
        abstain_below: float,  # noqa: ARG002
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        model.chat.write(folder)
        embeddings = model.network.get_input_embeddings().weight.detach().float().numpy()
        np.save(folder / MEANING, word_vectors(embeddings, model.tokenizer.added_tokens_decoder))


@dataclass(frozen=True)
class _Lesson:
    weight: float
    wanted: Said
    rejected: Said | None


def _lessons(batch: Sequence[Example]) -> list[_Lesson]:
    """Of those that want something."""
    said = [(row, Wanted.read(row.label)) for row in batch]
    return [
        _Lesson(
            row.weight,
            Said(row.text, one.wanted, not one.goes_on),
            None if one.rejected is None else Said(row.text, one.rejected),
        )
        for row, one in said
        if one.wanted is not None
    ]


def _loss(shares: Sequence[Tensor], lessons: Sequence[_Lesson]) -> Tensor:
    if not shares:
        return torch.zeros((), requires_grad=True)
    means = torch.stack([share.mean() for share in shares])
    return -(means * torch.tensor([one.weight for one in lessons], device=means.device)).mean()


def _asking(text: str) -> Request:
    return Request(({"role": "user", "content": text},), "", Options())


def _going_on(text: str) -> Request:
    return Request((), text, Options())


MARK = "\N{OBJECT REPLACEMENT CHARACTER}"
"""Stands where the template puts what a user says."""
