"""Which weights of a network learn: those behind the stack of layers always; of the stack none, low-rank
additions to it, its last layers, or all of it, and then what is below it as well."""

from __future__ import annotations

from typing import Any

from perennial.encoders.anatomy import layers
from perennial.encoders.network import Encoder
from perennial.errors import ConfigError
from perennial.types import Moving

RANK, ALPHA = 8, 16
"""Hu et al., "LoRA", arXiv:2106.09685, on the matrices that it adapts: query and value."""
_ADAPTED = (
    *("query", "value", "query_proj", "value_proj", "q_lin", "v_lin", "q", "v", "in_proj", "Wqkv"),
    *("q_proj", "v_proj"),
)
"""Their names in BERT and its kin, DeBERTa, DistilBERT and MPNet; with the key in one matrix in DeBERTa's
first version and ModernBERT; and in Llama and its kin. peft's own list lacks half of these."""


def freeze(model: Encoder, but: Moving, last_layers: int) -> None:
    if but == "lora":
        model.network = _adapted(model.network)
    stack = layers(model)
    last = {"last-k": last_layers, "full": len(stack)}.get(but, 0)
    stacked = {id(weight) for weight in stack.parameters()}
    moving = {id(weight) for weight in stack[max(0, len(stack) - last) :].parameters()}
    moving |= {id(weight) for name, weight in stack.named_parameters() if ".lora_" in name}
    below = but != "full"
    for weight in model.parameters():
        below = below and id(weight) not in stacked
        weight.requires_grad = id(weight) in moving or not (below or id(weight) in stacked)


def merge(model: Encoder) -> None:
    if hasattr(model.network, "merge_and_unload"):
        model.network = model.network.merge_and_unload()


def _adapted(network: Any) -> Any:
    from peft import LoraConfig, LoraModel  # takes seconds, which few trainings need

    how = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(_ADAPTED))
    try:
        return LoraModel(network, how, "default")
    except ValueError:
        raise ConfigError(
            f"LoRA finds no query and value in a {type(network).__name__}; choose another trainable: head, "
            "last-k or full"
        ) from None
