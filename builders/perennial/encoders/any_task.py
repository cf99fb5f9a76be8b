"""The torch half of any task whose network reads texts: which weights learn, in what numbers, and how it is
exported. Knows no loss, and not what the network says."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from perennial.encoders import graph, moving
from perennial.encoders.network import Served
from perennial.encoders.windows import served
from perennial.types import Moving, Precision, Tensors

_TEXTS = ["a text of a few words", "and another one, which has a few more words than the first"]
_LONGEST = 64
"""Words of the longest text that is made up."""


class NetworkTask:
    building: Mapping[str, Any] = MappingProxyType({})
    training: Mapping[str, Any] = MappingProxyType({})

    def freeze(self, model: Served, but: Moving, last_layers: int) -> None:
        moving.freeze(model, but, last_layers)

    def precision(self, model: Served) -> Precision:
        return "bf16" if multiplies_in_bfloat16() and _bears_bfloat16(model) else "fp32"

    def merge(self, model: Served) -> None:
        moving.merge(model)

    def export(self, model: Served, folder: Path) -> None:
        plain = copy.deepcopy(model).eval()
        # Plain attention: scaled_dot_product_attention exports NaN guards that cost a tenth of the run time.
        plain.network.set_attn_implementation("eager")
        long = ["at length " * model.tokens.max_tokens]
        asked = [_asked(model, texts) for texts in (_TEXTS, [*_TEXTS, "one more"], ["alone"], long)]
        graph.export(served(plain), asked, model.outputs, not model.whole, folder)

    def session(self, model: Served) -> TorchSession:
        return TorchSession(served(model), [*model.outputs])


def multiplies_in_bfloat16() -> bool:
    """Whether this machine does so by itself: AVX512-BF16 trained 1.5 times the rows a second of float32, and
    twice those of a language model; without it bfloat16 is emulated."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


class TorchSession:
    """The network itself, in float32."""

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        self._network, self._names = network.eval(), names

    def run(self, tensors: Tensors) -> Tensors:
        asked = (torch.from_numpy(tensors[name]) for name in ("input_ids", "attention_mask"))
        with torch.inference_mode():
            outputs = self._network(*asked)
        given = (outputs,) if isinstance(outputs, Tensor) else outputs
        return {name: tensor.numpy() for name, tensor in zip(self._names, given, strict=True)}

    def close(self) -> None:
        pass


def without_sense(model: Served, count: int, seed: int) -> list[str]:
    """So many texts of its vocabulary's words, in many lengths; fewer where some are alike."""
    random, tokenizer = Random(seed), model.tokenizer.backend_tokenizer
    vocabulary = sorted(tokenizer.get_vocab().items())
    words = [number for word, number in vocabulary if word.strip("▁Ġ").isalpha()]
    longest = math.log2(min(_LONGEST, model.tokens.max_tokens))
    texts = (
        tokenizer.decode(random.choices(words, k=round(2 ** random.uniform(1, longest))))
        for _ in range(count)
    )
    return list(dict.fromkeys(texts))


def _asked(model: Served, texts: list[str]) -> graph.Asked:
    """What an engine is asked for them: a row for each, all its windows in it."""
    rows = [[number for window in of_text for number in window] for of_text in rows_of(model, texts)]
    return padded(model, [[row] for row in rows])


def write_tokenizer(model: Served, folder: Path) -> None:
    """`folder`/tokenizer.json, which neither cuts nor pads."""
    tokenizer = Tokenizer.from_str(model.tokenizer.backend_tokenizer.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(folder / "tokenizer.json"))


def rows_of(model: Served, texts: list[str]) -> list[list[list[int]]]:
    """For each text the ids of the rows that the network runs of it: its windows, where tokens are read."""
    if model.whole:
        return [[encoding.ids] for encoding in model.tokens.encode(texts)]
    return [[window.ids for window in placed.windows] for placed in model.tokens.placed(texts)]


def padded(model: Served, rows: list[list[list[int]]]) -> tuple[Tensor, Tensor]:
    """Ids and mask (rows of all texts, tokens), where the network is."""
    ids, mask = model.tokens.pad([ids for of_text in rows for ids in of_text])
    return torch.from_numpy(ids).to(model.device), torch.from_numpy(mask).to(model.device)


def _bears_bfloat16(model: Served) -> bool:
    """Some networks mask with numbers that only float32 has, such as DeBERTa's first version."""
    try:
        with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16):
            model(*padded(model, rows_of(model, ["a text"])))
    except RuntimeError:
        return False
    return True
