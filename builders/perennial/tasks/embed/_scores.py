"""How well documents were found: see `judge`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perennial.tasks.embed._judgements import BELOW, NOT_RELEVANT, Judgement, parsed
from perennial.types import Array, Scores

TOP = 10
GAINS = 1 / np.log2(np.arange(2, TOP + 2))


def judge(found: Sequence[Sequence[str]], gold: Sequence[str]) -> Scores:
    """Of the documents that were found for texts, best first, and of labels in their one form.

    `correct` of a text is its nDCG@10: what it is said to want is worth 1 where it stands first and less
    below (Järvelin and Kekäläinen, ACM TOIS 20, 2002), what is not relevant takes away as much. Of a text
    that wants nothing it is 1 unless that is found. `recall@10` is the share of the wanted that stands there,
    of a folder of documents that of ten; `accuracy` the share of texts of which all is as it is said.
    """
    judged = [_judge(one, parsed(label)) for one, label in zip(found, gold, strict=True)]
    correct = np.array([gain for gain, _ in judged])
    metrics = {
        "ndcg@10": float(correct.mean()),
        "recall@10": float(np.mean([recall for _, recall in judged])),
        "accuracy": float(np.mean(correct == 1.0)),
    }
    return Scores(metrics, correct)


def in_top(found: Sequence[str], judgement: Judgement) -> Array:
    """(10,) of bool: at which places something stands that it names."""
    here = np.zeros(TOP, bool)
    here[: len(found)] = [judgement.names(name) for name in found[:TOP]]
    return here


def _judge(found: Sequence[str], judgements: Sequence[Judgement]) -> tuple[float, float]:
    wanted, unwanted, most = np.zeros(TOP, bool), np.zeros(TOP, bool), 0
    for one in judgements:
        if one.said == NOT_RELEVANT:
            unwanted |= in_top(found, one)
        else:
            wanted |= in_top(found, one)
            most += TOP if one.document.endswith(BELOW) else 1
    most = min(most, TOP)
    lost = float(GAINS @ unwanted)
    if not most:
        return max(0.0, 1.0 - lost), float(not unwanted.any())
    ideal = float(GAINS[:most].sum())
    return min(1.0, max(0.0, (float(GAINS @ wanted) - lost) / ideal)), min(1.0, wanted.sum() / most)
