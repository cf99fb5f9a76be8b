"""The documents of a release, by their vectors: the nearest ones, and the vector of each.

HNSW (Malkov and Yashunin, arXiv:1603.09320) by faiss, over inner products of unit vectors. Of 11,000 vectors
of 384 numbers it answered in 0.08 ms, where to look at each took 2.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from perennial.ranking.judgements import names
from perennial.types import Array

IDS, VECTORS = "documents.json", "documents.faiss"
_AT_ONCE = 256
LINKS, DEPTH = 32, 128
"""Of each vector in the graph; and how many candidates a search keeps, which is what recall hangs on."""


class Index:
    def __init__(self, ids: Sequence[str], graph: Any) -> None:
        self.ids, self._graph = [*ids], graph
        self._places = {name: place for place, name in enumerate(self.ids)}
        self._known: dict[str, Array | None] = {}
        self._all: Array | None = None
        self._gone: set[int] = set()
        self._turn = Lock()  # faiss moves what it has while it grows
        graph.hnsw.efSearch = DEPTH

    @classmethod
    def of(cls, ids: Sequence[str], vectors: Array) -> Index:
        """`vectors` (documents, size), of length 1."""
        faiss = _faiss()
        graph = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        if len(vectors):
            graph.add(np.ascontiguousarray(vectors, np.float32))
        return cls(ids, graph)

    @classmethod
    def read(cls, folder: Path) -> Index:
        return cls(json.loads((folder / IDS).read_text("utf-8")), _faiss().read_index(str(folder / VECTORS)))

    def write(self, folder: Path) -> None:
        (folder / IDS).write_text(json.dumps(self.ids, ensure_ascii=False), "utf-8")
        _faiss().write_index(self._graph, str(folder / VECTORS))

    def __len__(self) -> int:
        return len(self._places)

    def take(self, changes: Iterable[tuple[str, Array | None]]) -> None:
        """Have documents stand there from now on, in place of what had the name; without a vector nowhere."""
        with self._turn:
            for name, vector in changes:
                if name in self._places:
                    self._gone.add(self._places.pop(name))
                if vector is not None:
                    self._places[name] = len(self.ids)
                    self.ids.append(name)
                    self._graph.add(np.ascontiguousarray(vector[None], np.float32))
            self._known.clear()
            self._all = None

    def nearest(self, vectors: Array, count: int) -> tuple[Array, Array]:
        """Scores and places (vectors, count), best first; as many as there are documents at most. Where the
        graph finds fewer the places are -1."""
        count = min(count, len(self))
        if not count:
            return np.zeros((len(vectors), 0), np.float32), np.zeros((len(vectors), 0), int)
        with self._turn:
            asked = min(count + len(self._gone), self._graph.ntotal)
            scores, places = self._graph.search(np.ascontiguousarray(vectors, np.float32), asked)
        if self._gone:
            gone = np.isin(places, [*self._gone])
            first = np.argsort(gone, axis=1, kind="stable")[:, :count]  # those that are there, in their order
            places = np.where(np.take_along_axis(gone, first, 1), -1, np.take_along_axis(places, first, 1))
            scores = np.take_along_axis(scores, first, 1)
        return scores, places

    def expected(self, vectors: Array, scale: float) -> Array:
        """(vectors, size): the mean of all documents, each as likely as softmax says of its likeness to the
        vector times `scale`."""
        if not len(self):
            return np.zeros_like(vectors)
        documents = self._documents()
        found = np.empty((len(vectors), documents.shape[1]), np.float32)
        for start in range(0, len(vectors), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            likely = np.exp(scale * (vectors[some] @ documents.T - 1))  # a cosine is at most 1
            found[some] = likely @ documents / likely.sum(axis=1, keepdims=True)
        return found

    def _documents(self) -> Array:
        if self._all is None:
            with self._turn:
                there = [*self._places.values()]
                self._all = np.stack([self._graph.reconstruct(place) for place in there])
        return self._all

    def vector(self, document: str) -> Array | None:
        """(size,): of all that it names the mean, of length 1; None where it names nothing."""
        if document not in self._known:
            self._known[document] = self._mean(document)
        return self._known[document]

    def _mean(self, document: str) -> Array | None:
        places = [self._places[document]] if document in self._places else self._below(document)
        if not places:
            return None
        with self._turn:
            mean: Array = np.mean([self._graph.reconstruct(place) for place in places], axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12))

    def _below(self, folder: str) -> list[int]:
        return [place for name, place in [*self._places.items()] if names(folder, name)]


def _faiss() -> Any:
    """Imported where it is needed: of the stages the last one alone does."""
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it tells of each way that it does not take
    faiss = import_module("faiss")
    faiss.omp_set_num_threads(1)  # the cores are the engine's, and so the same vectors make the same graph
    return faiss
