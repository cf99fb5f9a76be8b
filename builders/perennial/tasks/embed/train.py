"""The torch half of `embed`: texts that want a document move towards it, and away from others."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from perennial.encoders.any_task import NetworkTask, without_sense, write_tokenizer
from perennial.encoders.vectors import Vectors, load, save, unheard
from perennial.errors import ConfigError
from perennial.ranking.index import Index
from perennial.ranking.judgements import Judgement, parsed
from perennial.ranking.scores import judge
from perennial.tasks.embed._scale import SCALE
from perennial.types import MADE_UP, Example, Precision, Scores, Telling

__all__ = ["EmbedTask"]

TOP = 10
NOTHING = "[]"
"""The label of a text of which nothing is said."""
TRAINING = MappingProxyType({"learning_rate": 1e-4, "balance": 0.0})
BUILDING = MappingProxyType({**TRAINING, "max_steps": 60})
"""The encoder was trained to embed already, and each step runs twice as many texts as it has rows."""


class EmbedTask(NetworkTask):
    metric = "ndcg@10"
    building: Mapping[str, Any] = BUILDING
    training: Mapping[str, Any] = TRAINING

    def precision(self, model: Vectors) -> Precision:  # noqa: ARG002
        # In bfloat16 the gradient of cosines was not finite on a small network (AVX512-BF16).
        return "fp32"

    def load(self, checkpoint: Path, labels: Sequence[str], further: Collection[str] = ()) -> Vectors:  # noqa: ARG002
        return load(checkpoint)

    def labels(self, checkpoint: Path) -> list[str]:
        """None: any encoder makes vectors, if it loads."""
        load(checkpoint)
        return []

    def know(self, model: Vectors, documents: Mapping[str, str], tell: Telling = unheard) -> None:
        model.documents, model.tell = documents, tell

    def made_up(self, model: Vectors, count: int, seed: int) -> list[Example]:
        return [Example(text, NOTHING, source=MADE_UP) for text in without_sense(model, count, seed)]

    def save(self, model: Vectors, folder: Path) -> None:
        save(model, folder)

    def loss(self, model: Vectors, batch: Sequence[Example]) -> Tensor:
        """Of each judgement, among all documents of the batch: minus the log of the share of the one that is
        wanted (van den Oord, Li and Vinyals, arXiv:1807.03748), or of what others have where one is not;
        weighted, averaged. Of a folder of documents one stands for all, and none of them is another's rival.
        """
        told = [
            (row, one, name, example.weight * one.weight)
            for row, example in enumerate(batch)
            for one in parsed(example.label)
            if one.weight and (name := _one_of(model, one, example.text))
        ]
        queries = model.of([example.text for example in batch])
        if not told:
            return queries.sum() * 0.0
        documents = model.of([model.documents[name] for _, _, name, _ in told])
        likeness = SCALE * queries[[row for row, *_ in told]] @ documents.T  # (judgements, documents)
        allies = torch.tensor(
            [[one.names(other) and column != row for column, (_, _, other, _) in enumerate(told)]
             for row, (_, one, _, _) in enumerate(told)]
        )  # fmt: skip
        logs = log_softmax(likeness.masked_fill(allies.to(likeness.device), -torch.inf), dim=1).diagonal()
        against = torch.tensor([not one.wanted for _, one, _, _ in told], device=logs.device)
        costs = -torch.where(against, torch.log1p(-logs.exp().clamp(max=1 - 1e-6)), logs)
        weights = torch.tensor([weight for *_, weight in told], device=logs.device)
        return (costs * weights).sum() / len(told)

    def logits(self, model: Vectors, batch: Sequence[Example]) -> NoReturn:  # noqa: ARG002
        raise ConfigError("what embeds has no logits to learn by; choose the learner finetune or replay")

    def compared(self, model: Vectors, batch: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """No label compares answers."""
        return self.loss(model, batch), torch.zeros(0)

    def pieces(self, model: Vectors, batch: Sequence[Example]) -> list[int]:  # noqa: ARG002
        return [1] * len(batch)

    def columns(self, model: Vectors, batch: Sequence[Example]) -> NoReturn:
        self.logits(model, batch)

    def score(self, model: Vectors, examples: Sequence[Example]) -> Scores:
        """Among the documents that the examples name, of a folder among some: to look through all would take
        longer than to learn."""
        told = [one for example in examples for one in parsed(example.label)]
        documents = sorted({name for one in told for name in _some_of(model, one, one.document)})
        if not documents:
            return judge([[] for _ in examples], [example.label for example in examples], TOP)
        queries = model.known([example.text for example in examples])
        likeness = queries @ model.known([model.documents[name] for name in documents]).T
        order = likeness.argsort(dim=1, descending=True)[:, :TOP].tolist()
        found = [[documents[place] for place in row] for row in order]
        return judge(found, [example.label for example in examples], TOP)

    def write_codec(
        self,
        model: Vectors,
        validation: Sequence[Example],  # noqa: ARG002
        folder: Path,
        abstain_below: float,  # noqa: ARG002
    ) -> None:
        """With the vectors of all documents, in float32."""
        folder.mkdir(parents=True, exist_ok=True)
        write_tokenizer(model, folder)
        known = {
            "size": model.feature_size,
            "max_tokens": model.tokens.max_tokens,
            "pad_id": model.tokens.pad_id,
        }
        (folder / "embed.json").write_text(json.dumps(known, indent=2) + "\n")
        names = [*model.documents]
        vectors = model.known([model.documents[name] for name in names], model.tell)
        Index.of(names, vectors.numpy()).write(folder)


def _some_of(model: Vectors, judgement: Judgement, seed: str) -> list[str]:
    """Of the documents that it names as many as are looked at, for a seed the same ones each time."""
    if judgement.document in model.documents:
        return [judgement.document]
    below = [name for name in model.documents if judgement.names(name)]
    return Random(seed).sample(below, min(TOP, len(below)))


def _one_of(model: Vectors, judgement: Judgement, text: str) -> str:
    """One of the documents that it names, if there is one."""
    return next(iter(_some_of(model, judgement, text)), "")
