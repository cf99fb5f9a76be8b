"""Which column of a checkpoint's head is which label, and columns for labels that it lacks.

Knows names and linear layers. Leaves reading the checkpoint to `network`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from perennial.errors import ConfigError

_log = logging.getLogger(__name__)


def columns_of(
    config: Any, checkpoint: Path, labels: Sequence[str], further: Collection[str]
) -> list[int] | None:
    """Where a checkpoint's head has each of `labels`, or will have it once it is `widened`; None where it
    knows none of them. `ConfigError` where it knows some, and the others are not all `further` ones."""
    known = {name.casefold(): column for column, name in config.id2label.items()}
    unknown = [label for label in labels if label.casefold() not in known]
    if len(unknown) == len(labels):
        _log.warning(
            "%s tells %s apart, not %s: training a fresh head", checkpoint, sorted(known), list(labels)
        )
        return None
    if misspelt := [label for label in unknown if label not in further]:
        raise ConfigError(
            f"labels {misspelt} are not among {sorted(known)}, which {str(checkpoint)!r} tells apart, while "
            "others are; mend them in the data, name them as further ones (--label), or rename all of "
            "id2label in config.json for a fresh head"
        )
    known |= {label.casefold(): len(config.id2label) + number for number, label in enumerate(unknown)}
    return [known[label.casefold()] for label in labels]


def name_labels(config: Any, labels: Sequence[str]) -> None:
    """Have the config say that the head tells these labels apart."""
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: column for column, label in enumerate(labels)}


def widened(network: Any, head: nn.Linear | None, labels: Sequence[str], columns: Sequence[int]) -> Any:
    """The head with a row for each of `labels` whose column it lacks; of a network that classifies by itself
    its own last layer is exchanged, and None comes back."""
    names = network.config.id2label
    new = [label for label, column in zip(labels, columns, strict=True) if column not in names]
    if not new:
        return head
    name_labels(network.config, [*(names[column] for column in sorted(names)), *new])
    if head is not None:
        return _with_rows(head, len(new))
    place, last = _classifying(network, len(names))
    network.set_submodule(place, _with_rows(last, len(new)))
    return None


def _classifying(network: Any, labels: int) -> tuple[str, nn.Linear]:
    """The last linear layer that gives a logit for each label."""
    found = [
        (place, module)
        for place, module in network.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == labels
    ]
    if not found:
        raise ValueError(f"no layer of a {type(network).__name__} can be given further labels")
    return found[-1]


def _with_rows(layer: nn.Linear, count: int) -> nn.Linear:
    """So many further rows, each the mean of the others: its logit is never above all of theirs. (Logits that
    are all shifted alike say the same, so a row of zeros might be.)"""
    wide = nn.Linear(layer.in_features, layer.out_features + count, bias=layer.bias is not None)
    for theirs, ours in zip(layer.parameters(), wide.parameters(), strict=True):
        mean = theirs.data.mean(0, keepdim=True)
        ours.data = torch.cat([theirs.data, *[mean] * count])
    return wide
