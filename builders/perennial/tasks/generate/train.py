"""The torch half of `generate`: answers become likelier that somebody wanted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from perennial.encoders.any_task import multiplies_in_bfloat16
from perennial.encoders.moving import freeze, merge
from perennial.errors import ConfigError
from perennial.protocols import Session
from perennial.types import DECODER, Example, Moving, Precision, Scores
from perennial.writing.grammar import Grammars
from perennial.writing.meaning import MEANING, word_vectors
from perennial.writing.network import CausalModel, TorchDecoder, load, save, written
from perennial.writing.request import Options, Request
from perennial.writing.session import WritingSession
from perennial.writing.wanted import Wanted
from perennial.writing.writer import Writer

__all__ = ["GenerateTask"]

MADE_UP_TEXTS, ASKED_TOKENS, ANSWERED_TOKENS = 96, 24, 24
ITSELF = "itself"
"""The source of what a model made up, which unlike words without a sense is worth being kept up."""
TRAINING = MappingProxyType(
    {"trainable": "lora", "learning_rate": 2e-3, "batch_size": 8, "epochs": 4, "balance": 0.0, "threads": 0}
)
NO_LOGITS = "what generates tells no labels apart; choose the learner finetune or replay"


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
        return [
            Example(request.text, decode(answer), source=ITSELF)
            for request, answer in zip(requests, answers, strict=True)
            if answer
        ]

    def save(self, model: CausalModel, folder: Path) -> None:
        save(model, folder)

    def loss(self, model: CausalModel, batch: Sequence[Example]) -> Tensor:
        """Minus the log of the probability of what is wanted: of each example the mean over its tokens,
        weighted; averaged over those that want something."""
        said = [Wanted.read(example.label) for example in batch]
        wanted = [
            (example, one.wanted) for example, one in zip(batch, said, strict=True) if one.wanted is not None
        ]
        shares = model.log_shares([(example.text, text) for example, text in wanted])
        return _loss(shares, [example.weight for example, _ in wanted])

    def compared(self, model: CausalModel, batch: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """Both of one run of the network."""
        said = [(example, Wanted.read(example.label)) for example in batch]
        wanted = [(example, one) for example, one in said if one.wanted is not None]
        both = [place for place, (_, one) in enumerate(wanted) if one.rejected is not None]
        rejected = [(example.text, str(one.rejected)) for example, one in (wanted[place] for place in both)]
        shares = model.log_shares([(example.text, str(one.wanted)) for example, one in wanted] + rejected)
        sums = [share.sum() for share in shares]
        margins = [sums[place] - lost for place, lost in zip(both, sums[len(wanted) :], strict=True)]
        own = _loss(shares[: len(wanted)], [example.weight for example, _ in wanted])
        return own, torch.stack(margins) if margins else torch.zeros(0)

    def logits(self, model: CausalModel, batch: Sequence[Example]) -> NoReturn:  # noqa: ARG002
        raise ConfigError(NO_LOGITS)

    def pieces(self, model: CausalModel, batch: Sequence[Example]) -> NoReturn:
        self.logits(model, batch)

    def columns(self, model: CausalModel, batch: Sequence[Example]) -> NoReturn:
        self.logits(model, batch)

    def freeze(self, model: CausalModel, but: Moving, last_layers: int) -> None:
        freeze(model, but, last_layers)

    def precision(self, model: CausalModel) -> Precision:  # noqa: ARG002
        return "bf16" if multiplies_in_bfloat16() else "fp32"

    def merge(self, model: CausalModel) -> None:
        merge(model)

    def score(self, model: CausalModel, examples: Sequence[Example]) -> Scores:
        """How likely what is wanted is, by the geometric mean over the tokens of each, or how unlikely what
        is rejected: to write the answers would take longer than to learn. And the share of those that
        compare two answers of which the wanted one is likelier."""
        likely, preferred, training = list[float](), list[bool](), model.training
        model.eval()
        with torch.inference_mode():
            for example in examples:
                said = Wanted.read(example.label)
                answers = [said.text, *([said.rejected] if said.wanted and said.rejected else [])]
                share, *rejected = model.log_shares([(example.text, answer) for answer in answers])
                likely.append(said.score(float(share.mean().exp())))
                preferred += [bool(share.sum() > other.sum()) for other in rejected]
        model.train(training)
        correct = np.array(likely)
        metrics = {"likelihood": float(correct.mean()) if likely else 0.0}
        return Scores(metrics | ({"preferred": float(np.mean(preferred))} if preferred else {}), correct)

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


def _loss(shares: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    if not shares:
        return torch.zeros((), requires_grad=True)
    means = torch.stack([share.mean() for share in shares])
    return -(means * torch.tensor(weights, device=means.device)).mean()


def _asking(text: str) -> Request:
    return Request(({"role": "user", "content": text},), "", Options())


def _going_on(text: str) -> Request:
    return Request((), text, Options())


MARK = "\N{OBJECT REPLACEMENT CHARACTER}"
"""Stands where the template puts what a user says."""
