"""The torch half of `classify`: trains, judges, exports and calibrates one network.

Knows the loss and the calibration. Leaves the choice of rows to learners, the loop to jobs, and what users
are answered to the codec.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import cross_entropy, one_hot

from perennial.errors import TrainingFailed
from perennial.tasks.classify import _train_anatomy, _train_graph, _train_moving, _train_network
from perennial.tasks.classify._scores import judge
from perennial.tasks.classify._train_network import Classifier
from perennial.types import MADE_UP, Array, Example, Moving, Precision, Scores, Tensors

__all__ = ["ClassifyTask"]

_AT_ONCE = 64
"""Texts scored together, of like length."""
_CALIBRATED_ON = 500
"""Rows, at most: it is two numbers that they fit."""
_LONGEST = 64
"""Words of the longest text that is made up."""
_SLOPE = 0.25
"""Of logits that no row judged: that of the logistic function at its middle."""


class ClassifyTask:
    """Cross entropy over a `Classifier`."""

    def load(self, checkpoint: Path, labels: Sequence[str], further: Collection[str] = ()) -> Classifier:
        return _train_network.load(checkpoint, labels, further)

    def labels(self, checkpoint: Path) -> list[str]:
        return _train_network.labels_of(checkpoint)

    def made_up(self, model: Classifier, count: int, seed: int) -> list[Example]:
        random, tokenizer = Random(seed), model.tokenizer.backend_tokenizer
        vocabulary = sorted(tokenizer.get_vocab().items())
        words = [number for word, number in vocabulary if word.strip("▁Ġ").isalpha()]
        longest = math.log2(min(_LONGEST, model.tokens.max_tokens))
        texts = (
            tokenizer.decode(random.choices(words, k=round(2 ** random.uniform(1, longest))))
            for _ in range(count)
        )
        unlabelled = [Example(text, model.labels[0], source=MADE_UP) for text in dict.fromkeys(texts)]
        columns = self._logits(model, unlabelled).argmax(1).tolist()
        return [
            replace(row, label=model.labels[column]) for row, column in zip(unlabelled, columns, strict=True)
        ]

    def save(self, model: Classifier, folder: Path) -> None:
        _train_network.save(model, folder)

    def freeze(self, model: Classifier, but: Moving, last_layers: int) -> None:
        _train_moving.freeze(model, but, last_layers)

    def precision(self, model: Classifier) -> Precision:
        # AVX512-BF16 trained 1.5 times the rows a second of float32; without it bfloat16 is emulated.
        able = torch.cpu.get_capabilities()
        native = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
        if torch.cuda.is_available():
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if native and _bears_bfloat16(model) else "fp32"

    def merge(self, model: Classifier) -> None:
        _train_moving.merge(model)

    def loss(self, model: Classifier, batch: Sequence[Example]) -> Tensor:
        """The cross entropy of each example times its weight, averaged over the batch."""
        costs = cross_entropy(self.logits(model, batch), self.columns(model, batch), reduction="none")
        weights = torch.tensor([example.weight for example in batch], device=costs.device)
        return (costs * weights).mean()

    def logits(self, model: Classifier, batch: Sequence[Example]) -> Tensor:
        logits: Tensor = model(*_ids(model, [example.text for example in batch]))[0]
        return logits.float()

    def columns(self, model: Classifier, batch: Sequence[Example]) -> Tensor:
        known = {label: column for column, label in enumerate(model.labels)}
        for example in batch:
            if example.label not in known:
                raise TrainingFailed(
                    f"label {example.label!r} of {example.text[:60]!r} is not one of {list(known)}; "
                    "mend the row, or build the service anew with the label"
                )
        return torch.tensor([known[example.label] for example in batch], device=model.device)

    def score(self, model: Classifier, examples: Sequence[Example]) -> Scores:
        columns = self._logits(model, examples).argmax(1)
        said = [model.labels[column] for column in columns.tolist()]
        return judge(said, [example.label for example in examples], model.labels)

    def states(self, model: Classifier, texts: Sequence[str]) -> tuple[Tensor, Tensor, list[int]]:
        ids, mask = _ids(model, list(texts))
        logits, hidden = model.states(ids, mask)
        return logits.float(), hidden[mask.bool()].float(), mask.sum(1).tolist()

    def depth(self, model: Classifier) -> int:
        return len(_train_anatomy.layers(model))

    def shallower(self, model: Classifier, layers: Sequence[int]) -> Classifier:
        return _train_anatomy.shallower(model, layers)

    def importance(self, model: Classifier, examples: Sequence[Example]) -> tuple[list[Array], list[Array]]:
        def losses() -> Iterator[Tensor]:
            rows = sorted(examples, key=lambda row: len(row.text))
            for start in range(0, len(rows), _AT_ONCE):
                yield self.loss(model, rows[start : start + _AT_ONCE])

        return _train_anatomy.importance(model, losses)

    def narrower(
        self, model: Classifier, heads: Sequence[Sequence[int]], neurons: Sequence[Sequence[int]]
    ) -> Classifier:
        return _train_anatomy.narrower(model, heads, neurons)

    def matrices(self, model: Classifier) -> list[Parameter]:
        return _train_anatomy.matrices(model)

    def export(self, model: Classifier, folder: Path) -> None:
        _train_graph.export(model, folder)

    def session(self, model: Classifier) -> TorchSession:
        return TorchSession(model)

    def write_codec(
        self, model: Classifier, validation: Sequence[Example], folder: Path, abstain_below: float
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer = Tokenizer.from_str(model.tokenizer.backend_tokenizer.to_str())
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.save(str(folder / "tokenizer.json"))
        known = {
            "max_tokens": model.tokens.max_tokens,
            "pad_id": model.tokens.pad_id,
            "features": model.feature_size,
        }
        _write(folder / "labels.json", {"labels": list(model.labels), **known})
        judged = validation[:_CALIBRATED_ON]
        calibration = {"temperature": 1.0, "threshold": abstain_below, "slope": _SLOPE}
        if judged:
            logits, targets = self._logits(model, judged), self.columns(model, judged)
            calibration |= {"temperature": _temperature(logits, targets), "slope": _slope(logits, targets)}
        _write(folder / "calibration.json", calibration)

    def _logits(self, model: Classifier, examples: Sequence[Example]) -> Tensor:
        """(examples, labels), float64, on the CPU; batched by length. The model stays in its mode."""
        training = model.training
        model.eval()
        order = sorted(range(len(examples)), key=lambda index: len(examples[index].text))
        logits = torch.empty(len(examples), len(model.labels), dtype=torch.float64)
        with torch.inference_mode():
            for start in range(0, len(order), _AT_ONCE):
                some = order[start : start + _AT_ONCE]
                logits[some] = model(*_ids(model, [examples[index].text for index in some]))[0].double().cpu()
        model.train(training)
        return logits


class TorchSession:
    """The network itself, in float32."""

    def __init__(self, model: Classifier) -> None:
        self._model = model.eval()

    def run(self, tensors: Tensors) -> Tensors:
        asked = (torch.from_numpy(tensors[name]) for name in ("input_ids", "attention_mask"))
        with torch.inference_mode():
            logits, features = self._model(*asked)
        return {"logits": logits.numpy(), "features": features.numpy()}

    def close(self) -> None:
        pass


def _temperature(logits: Tensor, targets: Tensor) -> float:
    """What to divide logits by for the least negative log likelihood, within [0.05, 20].

    Guo et al., "On calibration of modern neural networks", arXiv:1706.04599.
    """

    def cost(log_temperature: float) -> float:
        return float(cross_entropy(logits / math.exp(log_temperature), targets))

    return round(math.exp(_lowest(cost, math.log(0.05), math.log(20.0))), 6)


def _slope(logits: Tensor, targets: Tensor) -> float:
    """How much of a label one unit of logits is worth: least squares of labels on logits, both centred.

    Of labels that some target has: training has pushed any other's logits as far down as it could, and they
    would make a unit look worth little.
    """
    known, places = targets.unique(return_inverse=True)
    centred = logits[:, known] - logits[:, known].mean(1, keepdim=True)
    wanted = one_hot(places, len(known)) - 1 / len(known)
    slope = float((wanted * centred).sum() / centred.square().sum().clamp(min=1e-12))
    return round(min(max(slope, 0.01), 10.0), 6)


def _ids(model: Classifier, texts: list[str]) -> tuple[Tensor, Tensor]:
    ids, mask = model.tokens.pad(model.tokens.encode(texts))
    return torch.from_numpy(ids).to(model.device), torch.from_numpy(mask).to(model.device)


def _bears_bfloat16(model: Classifier) -> bool:
    """Some networks mask with numbers that only float32 has, such as DeBERTa's first version."""
    try:
        with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16):
            model(*_ids(model, ["a text"]))
    except RuntimeError:
        return False
    return True


def _lowest(cost: Callable[[float], float], low: float, high: float) -> float:
    """Where `cost`, which falls and then rises, is lowest: golden section search, to 1e-6."""
    ratio = (math.sqrt(5) - 1) / 2
    while high - low > 1e-6:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if cost(left) <= cost(right) else (left, high)
    return (low + high) / 2


def _write(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
