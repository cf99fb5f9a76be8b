"""A network that makes one vector of a text, as sentence-transformers has them: the mean of its tokens, or
the first of them, of length 1."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from perennial.encoders.any_task import padded, rows_of
from perennial.encoders.network import Served, body, mean, readable
from perennial.errors import ConfigError
from perennial.types import Telling

Pooling = Literal["mean", "cls"]
POOLING, MODULES = "1_Pooling/config.json", "modules.json"
"""Where sentence-transformers says how a checkpoint was trained; one without them is read by its mean."""
_KNOWN = {"Transformer", "Pooling", "Normalize"}
_AT_ONCE = 64
"""Texts run together, of like length."""


def unheard(done: int, total: int) -> None:
    """Nobody waits."""


class Vectors(Served):
    """`documents`, texts by their ids, are what its vectors are compared with; `tell` is told while it reads
    them."""

    def __init__(self, network: Any, tokenizer: Any, pooling: Pooling) -> None:
        super().__init__(network, tokenizer, whole=True)
        self.pooling = pooling
        self.documents: Mapping[str, str] = {}
        self.tell: Telling = unheard

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"vector": self.feature_size}

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(texts, hidden), each of length 1, of ids and mask (texts, tokens)."""
        out = self.network(
            input_ids=input_ids, attention_mask=attention_mask, **self.types(input_ids)
        ).last_hidden_state
        return normalize(out[:, 0] if self.pooling == "cls" else mean(out, attention_mask), dim=-1)

    def of(self, texts: Sequence[str]) -> Tensor:
        """Differentiable, (texts, hidden)."""
        return self(*padded(self, rows_of(self, list(texts)))).float()

    def known(self, texts: Sequence[str], tell: Telling = unheard) -> Tensor:
        """As `of`, for any number of texts: batched by length, without a gradient, on the CPU."""
        training = self.training
        self.eval()
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        found = torch.zeros(len(texts), self.feature_size)
        with torch.inference_mode():
            for start in range(0, len(order), _AT_ONCE):
                places = order[start : start + _AT_ONCE]
                found[places] = self.of([texts[place] for place in places]).cpu()
                tell(start + len(places), len(texts))
        self.train(training)
        return found


def load(checkpoint: Path) -> Vectors:
    with readable(checkpoint) as source:
        return Vectors(*body(source), _pooling(checkpoint))


def save(model: Vectors, folder: Path) -> None:
    """What `load` reads."""
    model.network.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    (folder / POOLING).parent.mkdir(exist_ok=True)
    told = {f"pooling_mode_{_NAMES[model.pooling]}": True}
    (folder / POOLING).write_text(json.dumps(told, indent=2) + "\n")


_NAMES: Mapping[Pooling, str] = {"mean": "mean_tokens", "cls": "cls_token"}


def _pooling(checkpoint: Path) -> Pooling:
    if (checkpoint / MODULES).is_file():
        modules = json.loads((checkpoint / MODULES).read_text())
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
        if odd := [kind for kind in kinds if kind not in _KNOWN]:
            raise ConfigError(
                f"{str(checkpoint)!r} has a module {odd[0]}; a service that embeds takes an encoder whose "
                "tokens are pooled and nothing else"
            )
    if not (checkpoint / POOLING).is_file():
        return "mean"
    told = json.loads((checkpoint / POOLING).read_text())
    chosen = [name for name, on in told.items() if name.startswith("pooling_mode_") and on is True]
    for pooling, name in _NAMES.items():
        if chosen == [f"pooling_mode_{name}"]:
            return pooling
    raise ConfigError(
        f"{str(checkpoint)!r} pools by {' and '.join(chosen) or 'nothing'}; a service that embeds takes the "
        "mean of the tokens, or the first one"
    )
