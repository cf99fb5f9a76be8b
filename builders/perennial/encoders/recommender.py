"""A network that makes one vector of a user and what he took last, and one of each item: how well they go
together is how alike they are.

Two towers, of which one reads a sequence: items by weights that hang on how long ago they were taken
(a learned kind of decay), and the user; then one feed-forward block. An item is its own vector and what an
encoder makes of its text, so one that nobody took yet has a place (as in Covington, Adams and Sargin, RecSys
2016, and Hidasi et al., arXiv:1511.06939, with the item vectors of both sides in one table).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from perennial.encoders import graph, vectors
from perennial.encoders.network import readable
from perennial.encoders.vectors import Vectors, unheard
from perennial.errors import ConfigError
from perennial.ranking.context import (
    MOST_ITEMS,
    PADDING,
    STRANGERS,
    USERS,
    Context,
    Numbers,
    parsed,
    rectangle,
)
from perennial.types import Telling

SIZE = 64
OWN, OF_TEXT, OF_USER = 1.0, 0.25, 0.1
"""How long an item's own vector, what its text says of it, and a user's vector are at first."""
STRANGE = 0.02
"""How often an item is taken for a strange one while training, so that those have a meaning."""
_DROPOUT = 0.2
_SCALE, _OFFSET = 12.0, -12.0
"""Of cosines, as they become logits: at first next to nothing is wanted, which is how it is."""
WEIGHTS, DOCUMENTS, ENCODER = "recommender.safetensors", "documents.json", "encoder"


class Tower(nn.Module):  # type: ignore[misc]  # torch is Any to mypy here
    """What an engine runs: numbers as `ranking.context.Numbers` has them to vectors of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.age = nn.Parameter(torch.zeros(MOST_ITEMS + 1))
        self.dropout = nn.Dropout(_DROPOUT)
        self.mixed = nn.Sequential(
            nn.LayerNorm(SIZE), nn.Linear(SIZE, 4 * SIZE), nn.GELU(), nn.Linear(4 * SIZE, SIZE)
        )

    def forward(self, table: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(rows, size) of ids and mask (rows, 1 + items), and of the `table` that they stand in."""
        read = table[input_ids]
        before = (attention_mask.cumsum(1) - 1).clamp(min=0)
        age = (attention_mask.sum(1, keepdim=True) - 1 - before).clamp(min=0)
        weights = self.age[age].exp() * attention_mask * (before > 0)
        items = (weights.unsqueeze(-1) * read).sum(1) / (1 + weights.sum(1, keepdim=True))
        both = read[:, 0] + items
        return normalize(both + self.mixed(self.dropout(both)), dim=-1)


class Fixed(nn.Module):  # type: ignore[misc]  # torch is Any to mypy here
    """A tower whose table nothing changes any more."""

    def __init__(self, tower: Tower, table: Tensor) -> None:
        super().__init__()
        self.tower = tower
        self.table = nn.Parameter(table, requires_grad=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.tower(self.table, input_ids, attention_mask)


class Recommender(nn.Module):  # type: ignore[misc]  # torch is Any to mypy here
    """`items` are texts by their ids, `texts` (items, size of the encoder) what `encoder` makes of them."""

    def __init__(self, encoder: Vectors) -> None:
        super().__init__()
        self._encoder = [encoder]  # in a list it is no part of what learns
        self.items: Mapping[str, str] = {}
        self.numbers = Numbers([])
        self._rows: dict[str, list[int]] = {}  # to read a context takes as long as to learn it
        self.tower = Tower()
        generator = torch.Generator().manual_seed(0)
        self.users = nn.Parameter(_drawn(USERS, OF_USER, generator))
        self.strangers = nn.Parameter(_drawn(STRANGERS, OWN, generator))
        self.own = nn.Parameter(torch.zeros(0, SIZE))
        self.read = nn.Parameter(_drawn(encoder.feature_size, OF_TEXT, generator))
        self.scale = nn.Parameter(torch.tensor(math.log(_SCALE)))
        self.offset = nn.Parameter(torch.tensor(_OFFSET))
        self.texts: Tensor
        self.register_buffer("texts", torch.zeros(0, encoder.feature_size))

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"vector": SIZE}

    @property
    def encoder(self) -> Vectors:
        return self._encoder[0]

    @property
    def device(self) -> torch.device:
        return self.own.device

    def know(self, items: Mapping[str, str], tell: Telling = unheard) -> None:
        """Have these items and no others; what is known of one by its id stays. Not while it learns."""
        places = {name: place for place, name in enumerate(self.items)}
        own = _drawn(len(items), OWN, torch.Generator().manual_seed(len(places)))
        texts = torch.zeros(len(items), self.texts.shape[1])
        unread = []
        for place, (name, text) in enumerate(items.items()):
            former = places.get(name)
            if former is not None:
                own[place] = self.own.data[former]
            if former is not None and self.items[name] == text:
                texts[place] = self.texts[former]
            else:
                unread.append((place, text))
        if unread:
            texts[[place for place, _ in unread]] = self.encoder.known([text for _, text in unread], tell)
        self._have(items)
        self.own, self.texts = nn.Parameter(own), texts

    def _have(self, items: Mapping[str, str]) -> None:
        self.items = dict(items)
        self.numbers = Numbers([*items], len(self.users), len(self.strangers))
        self._rows.clear()

    def all_items(self) -> Tensor:
        """(items, size), before they are made of length 1."""
        return self.own + self.texts @ self.read

    def table(self, items: Tensor) -> Tensor:
        """What every number stands for: (1 + users + strangers + items, size)."""
        return torch.cat([self.users.new_zeros(1, SIZE), self.users, self.strangers, items])

    def of(self, texts: Sequence[str], items: Tensor) -> Tensor:
        """Of contexts as texts; differentiable, (texts, size)."""
        ids, mask = padded([self._row(text) for text in texts])
        if self.training:
            users, strangers = len(self.users), len(self.strangers)
            strange = (torch.rand(ids.shape) < STRANGE) & (ids > users)
            ids = torch.where(strange, 1 + users + ids % strangers, ids)
        return self.tower(self.table(items), ids.to(self.device), mask.to(self.device)).float()

    def logits(self, texts: Sequence[str]) -> Tensor:
        """Of contexts as texts, (texts, items): how likely each is wanted."""
        items = self.all_items()
        likeness = self.of(texts, items) @ normalize(items, dim=-1).T
        return self.scale.exp() * likeness + self.offset

    def _row(self, text: str) -> list[int]:
        if text not in self._rows:
            self._rows[text] = self.numbers.row(parsed(text))
        return self._rows[text]

    def fixed(self) -> Fixed:
        found: Fixed = Fixed(self.tower, self.table(self.all_items()).detach()).eval()
        return found


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids and mask (rows, numbers of the longest)."""
    ids = torch.from_numpy(rectangle(rows))
    return ids, (ids != PADDING).long()


def load(checkpoint: Path) -> Recommender:
    """One that `save` wrote, or a new one over the encoder in this folder, or of this name."""
    if not (checkpoint / WEIGHTS).is_file():
        return Recommender(vectors.load(checkpoint))
    with readable(checkpoint):
        weights = load_file(checkpoint / WEIGHTS)
        model = Recommender(vectors.load(checkpoint / ENCODER))
        for name in ("own", "users", "strangers"):  # as many as there were
            setattr(model, name, nn.Parameter(weights[name]))
        model.texts = weights["texts"]
        model.load_state_dict(weights)
        model._have(json.loads((checkpoint / DOCUMENTS).read_text("utf-8")))
    return model


def save(model: Recommender, folder: Path) -> None:
    (folder / ENCODER).mkdir(parents=True, exist_ok=True)
    vectors.save(model.encoder, folder / ENCODER)
    save_file({name: part.contiguous() for name, part in model.state_dict().items()}, folder / WEIGHTS)
    (folder / DOCUMENTS).write_text(json.dumps(dict(model.items), ensure_ascii=False), "utf-8")


def export(model: Recommender, folder: Path) -> None:
    require_items(model)
    some = [*model.items][: MOST_ITEMS + 2]
    contexts = (
        [Context("a", tuple(some[:2])), Context("b", tuple(some[:5]))],
        [Context("a"), Context("b", ("unknown", some[0])), Context("c", tuple(some[:1]))],
        [Context("alone")],
        [Context("long", tuple(some))],
    )
    asked = [padded([model.numbers.row(one) for one in several]) for several in contexts]
    graph.export(model.fixed(), asked, model.outputs, of_tokens=False, folder=folder)


def require_items(model: Recommender) -> None:
    if not model.items:
        raise ConfigError("there are no items to recommend; give --documents with their ids and texts")


def _drawn(rows: int, length: float, generator: torch.Generator) -> Tensor:
    """(rows, size), each about so long."""
    return torch.randn(rows, SIZE, generator=generator) * (length / math.sqrt(SIZE))
