"""Vowpal Wabbit: one against all, with its adaptive, normalised updates."""

import tempfile
from pathlib import Path

import numpy as np
from vowpalwabbit import Workspace

RATE = 0.1


class Learner:
    def __init__(self, variant: str, shape: dict[str, int]) -> None:
        how = f"--{variant} {shape['labels']} --loss_function logistic --probabilities --learning_rate {RATE}"
        self._model = Workspace(f"{how} --random_seed {shape['seed']} --quiet")

    def learn(self, features: np.ndarray, labels: np.ndarray) -> None:
        for row, label in zip(features, labels, strict=True):
            self._model.learn(f"{label + 1} {line(row)}")

    def answer(self, features: np.ndarray) -> np.ndarray:
        return np.array([self._model.predict(line(row)) for row in features])

    def kept(self) -> int:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "model")
            self._model.save(str(file))
            return file.stat().st_size


def line(row: np.ndarray) -> str:
    return "| " + " ".join(f"{place}:{value:.6g}" for place, value in enumerate(row.tolist()))
