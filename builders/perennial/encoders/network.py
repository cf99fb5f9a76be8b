"""The network of a task and its checkpoints: whatever transformers loads, under one interface.

Reads safetensors and fast tokenizers only, and never runs code that comes with a checkpoint.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)
from transformers.utils import logging as transformers_logging

from perennial.encoders.labels import columns_of, name_labels, widened
from perennial.encoders.tokens import Tokens
from perennial.errors import ConfigError

MAX_TOKENS = 256
HEAD_FILE = "head.safetensors"
NARROWED = "perennial_narrowed"
"""Stands in the config of a network whose layers lost heads or neurons: its shapes are those of its file."""


_SPREAD = 0.02
"""As transformers begins its own heads."""
_UNNAMED = re.compile(r"LABEL_\d+")
"""What transformers calls a label that nobody named."""


@dataclass(frozen=True)
class Reading:
    """What a task reads of an encoder: `whole` texts, by the mean of their tokens, or each token for itself.
    `theirs` loads checkpoints of transformers that do so by themselves."""

    whole: bool
    theirs: Any

    def does(self, architecture: str) -> bool:
        return architecture.endswith(str(self.theirs.__name__).removeprefix("AutoModel"))


TEXTS = Reading(True, AutoModelForSequenceClassification)
TOKENS = Reading(False, AutoModelForTokenClassification)


class Served(nn.Module):  # type: ignore[misc]  # torch is Any to mypy here
    """What is exported: a transformers network with its tokenizer, and what is made of it for a `whole` text
    or for each token of one."""

    def __init__(self, network: Any, tokenizer: Any, whole: bool) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer
        self.tokens = _tokens(network, tokenizer)
        self.whole = whole
        self._typed = "token_type_ids" in inspect.signature(network.forward).parameters

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def feature_size(self) -> int:
        return int(self.network.config.hidden_size)

    @property
    def outputs(self) -> Mapping[str, int]:
        """By name, with the size of each."""
        raise NotImplementedError

    def types(self, input_ids: Tensor) -> dict[str, Tensor]:
        """What the network wants to be told beside ids and mask."""
        return {"token_type_ids": torch.zeros_like(input_ids)} if self._typed else {}


class Encoder(Served):
    """A transformers network with a linear `head` over what is read of its last hidden states, standardised,
    or, where `head` is None, a network that tells labels apart by itself.

    `columns` says where the head has each of `labels`; it may tell more of them apart.
    """

    def __init__(
        self,
        reading: Reading,
        network: Any,
        head: nn.Linear | None,
        tokenizer: Any,
        labels: Sequence[str],
        columns: Sequence[int],
    ) -> None:
        super().__init__(network, tokenizer, reading.whole)
        self.reading = reading
        self.dropout = nn.Dropout(getattr(network.config, "hidden_dropout_prob", 0.1))
        self.head = head
        self.labels = tuple(labels)
        self._columns = list(columns)

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"logits": len(self.labels), "features": self.feature_size}

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (texts, labels) and features (texts, hidden) of ids and mask (texts, tokens); with an axis
        of tokens before the last where each is read for itself.

        Features are the last hidden states, or their mean, standardised and of length 1: a head that learns
        between releases reads them.
        """
        logits, features, _ = self._run(input_ids, attention_mask)
        return logits, features

    def states(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and the last hidden states (texts, tokens, hidden)."""
        logits, _, hidden = self._run(input_ids, attention_mask)
        return logits, hidden

    def _run(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out = self.network(
            input_ids=input_ids,
            attention_mask=attention_mask,
            output_hidden_states=self.head is None,
            **self.types(input_ids),
        )
        hidden = out.hidden_states[-1] if self.head is None else out.last_hidden_state
        # Encoders differ in their scale (MiniLM: 0.2); at 1 a fresh head keeps up with the body's rate.
        read = mean(hidden, attention_mask) if self.whole else hidden
        read = layer_norm(read, hidden.shape[-1:])
        logits = out.logits if self.head is None else self.head(self.dropout(read))
        if self._columns != list(range(logits.shape[-1])):
            logits = logits[..., self._columns]
        return logits, read / math.sqrt(self.feature_size), hidden


def load(reading: Reading, checkpoint: Path, labels: Sequence[str], further: Collection[str] = ()) -> Encoder:
    """A network that tells `labels` apart, from a folder or a hub id.

    A checkpoint whose `id2label` names all of `labels` keeps its head. One that names none of them, a bare
    encoder above all, gets a fresh head. One that names only some is refused, unless the others are `further`
    ones, which it is given: that is a misspelt label more often than a wish.
    """
    with readable(checkpoint) as source:
        config, tokenizer = _config(source), _tokenizer(source)
        columns = (
            columns_of(config, checkpoint, labels, further) if _tells(reading, config, checkpoint) else None
        )
        if columns is None:
            network = _network(AutoModel, source, config)
            head = _fresh_head(network.config, labels, reading)
            return Encoder(reading, network, head, tokenizer, labels, range(len(labels)))
        if (checkpoint / HEAD_FILE).is_file():
            network, head = _network(AutoModel, source, config), _saved_head(checkpoint / HEAD_FILE)
        else:
            network, head = _network(reading.theirs, source, config), None
        head = widened(network, head, labels, columns)
        return Encoder(reading, network, head, tokenizer, labels, columns)


def labels_of(reading: Reading, checkpoint: Path) -> list[str]:
    """What a checkpoint tells apart, in the order of the names."""
    with readable(checkpoint) as source:
        config = _config(source)
    if not _tells(reading, config, checkpoint):
        raise ConfigError(f"{source!r} classifies nothing yet; give --data that teaches it")
    names = sorted(config.id2label.values())
    if all(_UNNAMED.fullmatch(name) for name in names):
        raise ConfigError(
            f"{source!r} calls its labels {', '.join(names[:3])}; name them in id2label of its config.json"
        )
    return names


@contextmanager
def readable(checkpoint: Path) -> Iterator[str]:
    """Its name, for transformers; `ConfigError` for what does not load while the block runs."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # what it says of missing weights, `_network` checks
    try:
        yield str(checkpoint)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ConfigError(
            f"{str(checkpoint)!r} does not load: {str(error).strip().splitlines()[0]}; give the folder or "
            "hub id of an encoder, or of one that was fine-tuned for the task, with config.json, "
            "tokenizer.json and *.safetensors"
        ) from error


def body(source: str) -> tuple[Any, Any]:
    """The network without a head, and its tokenizer."""
    return _network(AutoModel, source, _config(source)), _tokenizer(source)


def _config(source: str) -> Any:
    return AutoConfig.from_pretrained(source, trust_remote_code=False)


def _tokenizer(source: str) -> Any:
    return AutoTokenizer.from_pretrained(source, trust_remote_code=False)


def save(model: Encoder, folder: Path) -> None:
    """Write what `load` reads; `id2label` names all that the head tells apart."""
    model.network.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    if model.head is not None:
        save_file(model.head.state_dict(), folder / HEAD_FILE)


def _tells(reading: Reading, config: Any, checkpoint: Path) -> bool:
    """Whether the checkpoint has a head, ours or its own."""
    return (checkpoint / HEAD_FILE).is_file() or any(map(reading.does, config.architectures or ()))


def _network(kind: Any, source: str, config: Any) -> Any:
    if getattr(config, NARROWED, False):
        return _narrowed(kind, config, Path(source))
    network, info = kind.from_pretrained(
        source, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    if network.config.is_encoder_decoder:
        raise ValueError("it is an encoder with a decoder")
    if kind is AutoModel and hasattr(network, "pooler"):
        network.pooler = None  # our head reads the mean instead
    missing = sorted(name for name in info["missing_keys"] if name in network.state_dict())
    if missing:
        raise ValueError(f"it has no weights for {missing[0]} and {len(missing) - 1} more")
    return network


def _narrowed(kind: Any, config: Any, checkpoint: Path) -> Any:
    """A network that transformers would not load, since its config says nothing of each layer's width."""
    network, weights = kind.from_config(config), load_file(checkpoint / "model.safetensors")
    if kind is AutoModel and hasattr(network, "pooler"):
        network.pooler = None
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear) and module.weight.shape != weights[f"{name}.weight"].shape:
            shape = weights[f"{name}.weight"].shape
            module.weight, module.bias = nn.Parameter(torch.empty(shape)), nn.Parameter(torch.empty(shape[0]))
            module.out_features, module.in_features = shape
    network.load_state_dict(weights)
    return network.eval()


def _tokens(network: Any, tokenizer: Any) -> Tokens:
    if not tokenizer.is_fast:
        raise ValueError("it has no fast tokenizer")
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    most = min(MAX_TOKENS, tokenizer.model_max_length, _positions(network))
    return Tokens(backend, most, tokenizer.pad_token_id or 0)


def _positions(network: Any) -> int:
    """How many tokens the network has positions for; RoBERTa and its kin count from `padding_idx` + 1."""
    positions = int(getattr(network.config, "max_position_embeddings", None) or MAX_TOKENS)
    for name, module in network.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return positions - int(module.padding_idx) - 1
    return positions


def _fresh_head(config: Any, labels: Sequence[str], reading: Reading) -> nn.Linear:
    """A head that finds all labels equally likely, of tokens nearly so: the same one whatever the seed.

    Most tokens are of no span. From 0 on a head learns that, and for long nothing else: after 100 steps on
    CoNLL-2003 the entity F1 was .26, from small numbers on .71. Of texts 0 was as good.
    """
    name_labels(config, labels)
    head = nn.Linear(config.hidden_size, len(labels))
    spread = 0.0 if reading.whole else _SPREAD
    nn.init.normal_(head.weight, std=spread, generator=torch.Generator().manual_seed(0))
    nn.init.zeros_(head.bias)
    return head


def _saved_head(path: Path) -> nn.Linear:
    weights = load_file(path)
    labels, size = weights["weight"].shape
    head = nn.Linear(size, labels)
    head.load_state_dict(weights)
    return head


def mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """(texts, tokens, hidden) to (texts, hidden), over the tokens that are not padding."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)
