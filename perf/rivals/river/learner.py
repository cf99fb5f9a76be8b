"""river: softmax regression, one row at a time, as its documentation has it."""

import pickle

import numpy as np
from river import linear_model, optim

RATE = 0.0003


class Learner:
    def __init__(self, variant: str, shape: dict[str, int]) -> None:
        assert variant == "softmax regression"
        self._model = linear_model.SoftmaxRegression(optim.SGD(RATE))
        self._size, self._labels = shape["size"], shape["labels"]

    def learn(self, features: np.ndarray, labels: np.ndarray) -> None:
        for row, label in zip(features.tolist(), labels.tolist(), strict=True):
            self._model.learn_one(dict(enumerate(row)), label)

    def answer(self, features: np.ndarray) -> np.ndarray:
        """What `predict_proba_one` says of each row, at once; of labels that it never met, nothing."""
        logits = np.full((len(features), self._labels), -np.inf)
        for label, weights in self._model.weights.items():
            logits[:, label] = features @ [weights[place] for place in range(self._size)]
        if not self._model.weights:
            return np.full_like(logits, 1 / self._labels)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def kept(self) -> int:
        return len(pickle.dumps(self._model))
