"""implicit: who took what until now, and where what each wants next stands among what he has not taken.

    python ranks.py VARIANT INPUT OUTPUT

INPUT is a JSON file of numbers, {items, taken: [[user, item], …], asked: [[item, …], …], wanted: [item, …]};
OUTPUT gets the places, from 0. A user is what he took last, so that new ones have a taste as well.
"""

import json
import sys
from pathlib import Path

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import CosineRecommender
from scipy.sparse import csr_matrix

FACTORS, SEED = 64, 0


def main(variant: str, source: str, target: str) -> None:
    told = json.loads(Path(source).read_text())
    taken = np.array(told["taken"])
    table = matrix(taken[:, 0], taken[:, 1], int(taken[:, 0].max()) + 1, told["items"])
    rows = np.repeat(np.arange(len(told["asked"])), [len(items) for items in told["asked"]])
    asked = matrix(
        rows,
        np.array([item for items in told["asked"] for item in items], int),
        len(told["asked"]),
        told["items"],
    )
    scores = SCORES[variant](table, asked)
    scores[asked.nonzero()] = -np.inf
    wanted = scores[np.arange(len(scores)), told["wanted"]]
    Path(target).write_text(json.dumps((scores > wanted[:, None]).sum(axis=1).tolist()))


def matrix(users: np.ndarray, items: np.ndarray, height: int, width: int) -> csr_matrix:
    return csr_matrix((np.ones(len(users), np.float32), (users, items)), shape=(height, width))


def als(table: csr_matrix, asked: csr_matrix) -> np.ndarray:
    """Users are folded in."""
    model = AlternatingLeastSquares(factors=FACTORS, random_state=SEED, num_threads=1)
    model.fit(table, show_progress=False)
    return model.recalculate_user(np.arange(asked.shape[0]), asked) @ model.item_factors.T


def bpr(table: csr_matrix, asked: csr_matrix) -> np.ndarray:
    """It folds nobody in, so a user is the mean of his items."""
    model = BayesianPersonalizedRanking(factors=FACTORS, random_state=SEED, num_threads=1)
    model.fit(table, show_progress=False)
    users = asked @ model.item_factors / np.maximum(asked.sum(axis=1).A1, 1)[:, None]
    return users @ model.item_factors.T


def cosine(table: csr_matrix, asked: csr_matrix) -> np.ndarray:
    model = CosineRecommender(K=200, num_threads=1)
    model.fit(table, show_progress=False)
    return (asked @ model.similarity).toarray()


SCORES = {"ALS": als, "BPR": bpr, "item-item cosine": cosine}

if __name__ == "__main__":
    main(*sys.argv[1:])
