"""What a network is made of, and smaller ones made of its parts: layers of any stack, and heads and neurons
where BERT and its kin (RoBERTa, ELECTRA, CamemBERT, …) keep them. Which parts matter enough is a recipe's to
say.

Transformers 5 prunes no heads any more, but its attention takes as many as its matrices have.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from perennial.encoders.network import NARROWED, Encoder
from perennial.errors import ConfigError
from perennial.types import Array

_SPLIT = ("attention.self.query", "attention.self.key", "attention.self.value")
_HEADS, _WIDEN, _NEURONS = "attention.output.dense", "intermediate.dense", "output.dense"
"""The products into heads; of what the heads gave; into neurons; and of what the neurons gave."""


def layers(model: Encoder) -> nn.ModuleList:
    """The stack of layers: the longest list of modules."""
    return max((module for module in model.modules() if isinstance(module, nn.ModuleList)), key=len)


def matrices(model: Encoder) -> list[nn.Parameter]:
    return [module.weight for module in layers(model).modules() if isinstance(module, nn.Linear)]


def shallower(model: Encoder, kept: Sequence[int]) -> Encoder:
    smaller = copy.deepcopy(model)
    stack = layers(smaller)
    for place in reversed(range(len(stack))):
        if place not in kept:
            del stack[place]
    smaller.network.config.num_hidden_layers = len(stack)
    return smaller


def narrower(model: Encoder, heads: Sequence[Sequence[int]], neurons: Sequence[Sequence[int]]) -> Encoder:
    smaller = copy.deepcopy(model)
    for layer, kept_heads, kept_neurons in zip(_known(smaller), heads, neurons, strict=True):
        wide = layer.get_submodule("attention.self").attention_head_size
        columns = [head * wide + column for head in kept_heads for column in range(wide)]
        for name in _SPLIT:
            _cut(layer.get_submodule(name), columns, dim=0)
        _cut(layer.get_submodule(_HEADS), columns, dim=1)
        _cut(layer.get_submodule(_WIDEN), kept_neurons, dim=0)
        _cut(layer.get_submodule(_NEURONS), kept_neurons, dim=1)
    setattr(smaller.network.config, NARROWED, True)
    return smaller


def importance(model: Encoder, losses: Callable[[], Iterator[Tensor]]) -> tuple[list[Array], list[Array]]:
    """The size of value × gradient, added up over tokens: to the first order what the loss changes by where a
    part is gone. Of heads: Michel, Levy and Neubig, arXiv:1905.10650; of neurons: Molchanov et al.,
    arXiv:1906.10771. `losses` runs the model batch by batch."""
    model.eval()
    stack = _known(model)
    wide = stack[0].get_submodule("attention.self").attention_head_size
    with _watched(stack, _HEADS, wide) as heads, _watched(stack, _NEURONS, 1) as neurons:
        for loss in losses():
            loss.backward()
            model.zero_grad(set_to_none=True)
    return [total.numpy() for total in heads], [total.numpy() for total in neurons]


@contextmanager
def _watched(stack: nn.ModuleList, name: str, wide: int) -> Iterator[list[Any]]:
    """For each layer the importance of the parts, `wide` columns each, that go into the module of this name;
    it adds up as the losses run backwards."""
    totals: list[Any] = [0.0 for _ in stack]

    def watch(place: int) -> Callable[..., None]:
        def before(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            value = given[0].detach()

            def add(slope: Tensor) -> None:
                parts = (value * slope).float().unflatten(-1, (-1, wide)).sum(-1)  # (texts, tokens, parts)
                totals[place] = totals[place] + parts.abs().sum((0, 1))

            given[0].register_hook(add)

        return before

    hooks = [
        layer.get_submodule(name).register_forward_pre_hook(watch(place)) for place, layer in enumerate(stack)
    ]
    try:
        yield totals
    finally:
        for hook in hooks:
            hook.remove()


def _known(model: Encoder) -> nn.ModuleList:
    stack = layers(model)
    known = {name for name, _ in stack[0].named_modules()}
    if missing := [name for name in (*_SPLIT, _HEADS, _WIDEN, _NEURONS) if name not in known]:
        raise ConfigError(
            f"a {type(model.network).__name__} has no {missing[0]} in its layers, so its heads and neurons "
            "cannot be told apart; compress it by the recipes distill and sparsity"
        )
    return stack


def _cut(linear: Any, kept: Sequence[int], dim: int) -> None:
    """Leave these of the outputs (`dim` 0) or inputs (1) of a linear module, in place."""
    places = torch.tensor(kept)
    linear.weight = nn.Parameter(linear.weight.detach().index_select(dim, places))
    if dim == 0:
        linear.bias = nn.Parameter(linear.bias.detach().index_select(0, places))
    linear.out_features, linear.in_features = linear.weight.shape
