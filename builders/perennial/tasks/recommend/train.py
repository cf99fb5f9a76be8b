"""The torch half of `recommend`: users move towards what they want next, and away from all else."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from perennial.encoders.any_task import TorchSession
from perennial.encoders.recommender import SIZE, Recommender, export, load, require_items, save
from perennial.encoders.vectors import unheard
from perennial.errors import ConfigError
from perennial.ranking.context import parsed
from perennial.ranking.index import Index
from perennial.ranking.judgements import BELOW, Judgement
from perennial.ranking.judgements import parsed as judged
from perennial.ranking.scores import judge
from perennial.types import UNTOLD, Example, Moving, Precision, Scores, Telling

__all__ = ["RecommendTask"]

TOP = 20
_AT_ONCE = 500
_TAUGHT = {"max_steps": 4000, "batch_size": 256, "trainable": "full", "balance": 0.0}
BUILDING = MappingProxyType({**_TAUGHT, "learner": "finetune", "epochs": 6, "learning_rate": 1e-2})
TRAINING = MappingProxyType({**_TAUGHT, "learner": "ader", "epochs": 3, "learning_rate": 2e-3})
"""Of 25,000 films that were watched, in the order of time, and five times 5,000 more, each found before it is
learned, recall@20: built at a rate of 2e-3 .234, 5e-3 .257, 1e-2 .269, 3e-2 .258; then taught again at 2e-3
.285, 5e-3 .284, 1e-2 .282, in two epochs .281."""


class RecommendTask:
    metric = f"ndcg@{TOP}"
    building: Mapping[str, Any] = BUILDING
    training: Mapping[str, Any] = TRAINING

    def load(self, checkpoint: Path, labels: Sequence[str], further: Collection[str] = ()) -> Recommender:  # noqa: ARG002
        return load(checkpoint)

    def labels(self, checkpoint: Path) -> NoReturn:
        raise ConfigError(
            f"{str(checkpoint)!r} knows nobody's taste yet; give --data that teaches it, and --documents"
        )

    def made_up(self, model: Recommender, count: int, seed: int) -> NoReturn:  # noqa: ARG002
        raise ConfigError("nobody's taste can be made up; give --data")

    def know(self, model: Recommender, documents: Mapping[str, str], tell: Telling = unheard) -> None:
        model.know(documents, tell)

    def save(self, model: Recommender, folder: Path) -> None:
        save(model, folder)

    def loss(self, model: Recommender, batch: Sequence[Example]) -> Tensor:
        """Binary cross entropy of each item, which is wanted or not, added up over all items and averaged
        over the rows. Of what somebody spoke of it counts as much as that says."""
        require_items(model)
        logits = self.logits(model, batch)
        wanted, weights = torch.zeros(logits.shape), torch.ones(logits.shape)
        for row, example in enumerate(batch):
            for one in judged(example.label):
                for column in _columns(model, one):
                    wanted[row, column], weights[row, column] = float(one.wanted), one.weight
        weights *= torch.tensor([example.weight for example in batch]).unsqueeze(1)
        wanted, weights = wanted.to(logits.device), weights.to(logits.device)
        costs = binary_cross_entropy_with_logits(logits, wanted, weights, reduction="sum")
        return costs / len(batch)

    def logits(self, model: Recommender, batch: Sequence[Example]) -> Tensor:
        return model.logits([example.text for example in batch])

    def pieces(self, model: Recommender, batch: Sequence[Example]) -> list[int]:  # noqa: ARG002
        return [1] * len(batch)

    def columns(self, model: Recommender, batch: Sequence[Example]) -> Tensor:
        """Of each row the first item that is wanted."""
        found = []
        for example in batch:
            wanted = [one for one in judged(example.label) if one.wanted]
            found.append(next((column for one in wanted for column in _columns(model, one)), UNTOLD))
        return torch.tensor(found, device=model.device)

    def compared(self, model: Recommender, batch: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """No label compares answers."""
        return self.loss(model, batch), torch.zeros(0)

    def freeze(self, model: Recommender, but: Moving, last_layers: int) -> None:  # noqa: ARG002
        """The tower is the head; all else is the table, which only "full" moves."""
        if but == "lora":
            raise ConfigError("what recommends has no layers for LoRA; choose the trainable full, or head")
        for weight in model.parameters():
            weight.requires_grad = but == "full"
        for weight in model.tower.parameters():
            weight.requires_grad = True

    def precision(self, model: Recommender) -> Precision:  # noqa: ARG002
        return "fp32"

    def merge(self, model: Recommender) -> None:
        pass

    def score(self, model: Recommender, examples: Sequence[Example]) -> Scores:
        """Among all items that the user has not taken."""
        found = [ids for start in range(0, len(examples), _AT_ONCE)
                 for ids in self._found(model, examples[start : start + _AT_ONCE])]  # fmt: skip
        return judge(found, [example.label for example in examples], TOP)

    def export(self, model: Recommender, folder: Path) -> None:
        export(model, folder)

    def session(self, model: Recommender) -> TorchSession:
        return TorchSession(model.fixed(), [*model.outputs])

    def write_codec(
        self,
        model: Recommender,
        validation: Sequence[Example],  # noqa: ARG002
        folder: Path,
        abstain_below: float,  # noqa: ARG002
    ) -> None:
        """With the vectors of all items, in float32."""
        folder.mkdir(parents=True, exist_ok=True)
        with torch.inference_mode():
            known = {
                "size": SIZE,
                "scale": float(model.scale.exp()),
                "offset": float(model.offset),
                "users": len(model.users),
                "strangers": len(model.strangers),
            }
            vectors = normalize(model.all_items(), dim=-1).numpy()
        (folder / "recommend.json").write_text(json.dumps(known, indent=2) + "\n")
        Index.of([*model.items], vectors).write(folder)

    def _found(self, model: Recommender, examples: Sequence[Example]) -> list[list[str]]:
        training, names = model.training, [*model.items]
        places = {name: place for place, name in enumerate(names)}
        contexts = [parsed(example.text) for example in examples]
        model.eval()
        with torch.no_grad():
            logits = self.logits(model, examples).cpu()
        model.train(training)
        for row, context in zip(logits, contexts, strict=True):
            row[[places[name] for name in context.items if name in places]] = -torch.inf
        best = logits.topk(min(TOP, len(names)), dim=1).indices.tolist()
        return [[names[place] for place in row] for row in best]


def _columns(model: Recommender, judgement: Judgement) -> list[int]:
    """Of the items that it names."""
    if judgement.document.endswith(BELOW):
        return [place for place, name in enumerate(model.items) if judgement.names(name)]
    place = model.numbers.place(judgement.document)
    return [] if place is None else [place]
