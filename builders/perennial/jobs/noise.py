"""Finds fresh rows whose label is most likely a mistake, so that they are neither learned nor remembered.

Confident learning: Northcutt, Jiang and Chuang, arXiv:1911.00068, as cleanlab has it. Its probabilities are
those of a logistic regression on the features of the model that training begins with; each row's are of folds
that did not see the row.

It is right less than half of the time. Of 600 single ratings of tweets (of product reviews), 20 (16) % of
which are not what most raters say, it left out 122 (120); 46 (33) % of these were wrong, and 13 (11) % of the
others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.nn import Module

from perennial.jobs.hidden import means
from perennial.task_protocol import Compressible
from perennial.types import Array, Example

FOLDS = 5
STRENGTH = 0.01
"""On those ratings .0003, .1 and 1 told right rows from wrong ones no better."""


def mistaken(
    task: Compressible,
    model: Module,
    fresh: Sequence[Example],
    old: Sequence[Example],
    kind: Callable[[str], str],
    *,
    seed: int,
    threads: int,
) -> list[Example]:
    """Those of `fresh`, in their order, whose label is of the wrong `kind`; `old` helps to tell. Rows of a
    kind that has fewer than `FOLDS` are not judged."""
    torch.set_num_threads(threads)
    counts = Counter(kind(row.label) for row in (*fresh, *old))
    rows = [row for row in (*fresh, *old) if counts[kind(row.label)] >= FOLDS]
    kinds = sorted({kind(row.label) for row in rows})
    if len(kinds) < 2:
        return []
    given = np.array([kinds.index(kind(row.label)) for row in rows])
    with threadpool_limits(threads):  # numpy's and sklearn's, which know nothing of torch's
        issues = _issues(given, _out_of_fold(means(task, model, [row.text for row in rows]), given, seed))
    judged = sum(counts[kind(row.label)] >= FOLDS for row in fresh)
    return [row for row, issue in zip(rows[:judged], issues[:judged], strict=True) if issue]


def _out_of_fold(features: Array, given: Array, seed: int) -> Array:
    """(rows, labels) probabilities."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1000))
    probabilities: Array = cross_val_predict(regression, features, given, cv=folds, method="predict_proba")
    return probabilities


def _issues(given: Array, probabilities: Array) -> Any:
    """(rows,) of bool: the most doubtful of each label, as many as are estimated to be mistaken."""
    from cleanlab.filter import find_label_issues

    return find_label_issues(given, probabilities, filter_by="prune_by_noise_rate", n_jobs=1)
