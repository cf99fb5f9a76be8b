"""Avalanche: its replay strategies on a linear classifier, in batches of 10 fresh rows and 10 of memory, as
its examples of online learning have them. What is told together is an experience."""

import numpy as np
import torch

try:
    import torchvision  # noqa: F401
except (
    RuntimeError
):  # beside torch's CPU wheel its operators do not load; only their names are asked for here
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor boxes, Tensor scores, float most) -> Tensor")

from avalanche.benchmarks.scenarios.dataset_scenario import benchmark_from_datasets
from avalanche.benchmarks.scenarios.task_aware import with_task_labels
from avalanche.benchmarks.utils import DataAttribute, make_avalanche_dataset
from avalanche.training.plugins import ReplayPlugin
from avalanche.training.storage_policy import ReservoirSamplingBuffer
from avalanche.training.supervised import DER, ER_ACE, Naive
from torch.utils.data import TensorDataset

BATCH = 10
RATES = {"ER": 0.003, "ER-ACE": 0.01, "DER++": 0.01}


def replay(memory: int, **given: object) -> Naive:
    plugin = ReplayPlugin(
        memory, batch_size=BATCH, batch_size_mem=BATCH, storage_policy=ReservoirSamplingBuffer(memory)
    )
    return Naive(**given, plugins=[plugin])


STRATEGIES = {
    "ER": replay,
    "ER-ACE": lambda memory, **given: ER_ACE(mem_size=memory, batch_size_mem=BATCH, **given),
    "DER++": lambda memory, **given: DER(mem_size=memory, batch_size_mem=BATCH, alpha=0.3, beta=0.5, **given),
}


class Learner:
    def __init__(self, variant: str, shape: dict[str, int]) -> None:
        torch.manual_seed(shape["seed"])
        self._model = torch.nn.Linear(shape["size"], shape["labels"])
        self._strategy = STRATEGIES[variant](
            shape["memory"],
            model=self._model,
            optimizer=torch.optim.SGD(self._model.parameters(), lr=RATES[variant]),
            criterion=torch.nn.CrossEntropyLoss(),
            train_mb_size=BATCH,
            evaluator=None,
        )
        self._experiences = 0
        self._memory = shape["memory"] * (shape["size"] + 1) * 4  # of float32

    def learn(self, features: np.ndarray, labels: np.ndarray) -> None:
        rows = TensorDataset(torch.from_numpy(features).float(), torch.from_numpy(labels))
        targets = DataAttribute(labels.tolist(), "targets")
        tasks = DataAttribute([0] * len(labels), "targets_task_labels", use_in_getitem=True)
        dataset = make_avalanche_dataset(rows, data_attributes=[targets, tasks])
        [experience] = with_task_labels(benchmark_from_datasets(train=[dataset])).train_stream
        experience.current_experience = self._experiences
        self._strategy.train(experience)
        self._experiences += 1

    def answer(self, features: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self._model(torch.from_numpy(features).float()).softmax(1).numpy()

    def kept(self) -> int:
        return self._memory + sum(weight.nbytes for weight in self._model.parameters())
