"""How well documents were found: see `judge`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perennial.ranking.judgements import BELOW, Judgement, parsed
from perennial.types import Array, Scores


def judge(found: Sequence[Sequence[str]], gold: Sequence[str], top: int) -> Scores:
    """Of the documents that were found for texts, best first, and of labels in their one form.

    `correct` of a text is its nDCG at so many: what it is said to want is worth 1 where it stands first and
    less below (Järvelin and Kekäläinen, ACM TOIS 20, 2002), what is not wanted takes away as much. Of a text
    that wants nothing it is 1 unless that is found. Recall is the share of the wanted that stands there, of a
    folder of documents that of `top`; `accuracy` the share of texts of which all is as it is said.
    """
    gains = 1 / np.log2(np.arange(2, top + 2))
    judged = [_judge(one, parsed(label), gains) for one, label in zip(found, gold, strict=True)]
    correct = np.array([gain for gain, _ in judged])
    metrics = {
        f"ndcg@{top}": float(correct.mean()),
        f"recall@{top}": float(np.mean([recall for _, recall in judged])),
        "accuracy": float(np.mean(correct == 1.0)),
    }
    return Scores(metrics, correct)


def in_top(found: Sequence[str], judgement: Judgement, top: int) -> Array:
    """(top,) of bool: at which places something stands that it names."""
    here = np.zeros(top, bool)
    here[: len(found)] = [judgement.names(name) for name in found[:top]]
    return here


def _judge(found: Sequence[str], judgements: Sequence[Judgement], gains: Array) -> tuple[float, float]:
    top = len(gains)
    wanted, unwanted, most = np.zeros(top, bool), np.zeros(top, bool), 0
    for one in judgements:
        if one.wanted:
            wanted |= in_top(found, one, top)
            most += top if one.document.endswith(BELOW) else 1
        elif one.weight:
            unwanted |= in_top(found, one, top)
    most = min(most, top)
    lost = float(gains @ unwanted)
    if not most:
        return max(0.0, 1.0 - lost), float(not unwanted.any())
    ideal = float(gains[:most].sum())
    return min(1.0, max(0.0, (float(gains @ wanted) - lost) / ideal)), min(1.0, wanted.sum() / most)
