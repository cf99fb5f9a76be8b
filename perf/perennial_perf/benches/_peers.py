"""What users would pick instead: each peer's server in perf/peers, what it serves and how it is asked.

Knows their protocols and the settings worth trying. Leaves their processes to `_peer_processes`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from perennial.jobs.workshop import cores
from perennial_perf import payloads

FOLDER = Path(__file__).parents[2] / "peers"
"""A folder for each server: `server.py`, as small as its documentation has it, and `requirements.txt`."""

Graph: TypeAlias = Literal["checkpoint", "fp32", "int8", "stock"]
"""The release's network as transformers loads it or exported; or a classifier of transformers' own, of the
same size, for those that serve nothing else."""

Kind: TypeAlias = Literal["ours", "fp32", "graph"]
"""Whom a goal compares: those that run the network in float32, and those on an int8 or openvino graph."""


@dataclass(frozen=True)
class Way:
    """How a server is set up; `batch` is the most texts that it runs together, 1 for one at a time."""

    workers: int
    threads: int
    batch: int

    @property
    def name(self) -> str:
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{workers} of {threads}, batches of {self.batch}"

    @property
    def options(self) -> list[str]:
        return [f"--workers={self.workers}", f"--threads={self.threads}", f"--batch={self.batch}"]


@dataclass(frozen=True)
class Peer:
    """`label` reads a reply; None where the peer's classifier is not ours, so that answers say nothing."""

    name: str
    folder: str
    graph: Graph
    kind: Kind
    path: str
    body: Callable[[str], Any]
    label: Callable[[Any], str] | None
    one_worker: bool = False

    @property
    def requirements(self) -> Path:
        return FOLDER / self.folder / "requirements.txt"

    @property
    def server(self) -> Path:
        return FOLDER / self.folder / "server.py"

    def requests(self, texts: Sequence[str]) -> list[bytes]:
        return [payloads.http_json(self.path, self.body(text)) for text in texts]

    def ways(self) -> list[Way]:
        """What its documentation leaves to try: one worker on every core or one a core, batches or none."""
        spread = [(1, cores())] if self.one_worker or cores() == 1 else [(cores(), 1), (1, cores())]
        return [Way(workers, threads, batch) for workers, threads in spread for batch in (1, 8)]


def peers() -> list[Peer]:
    simple: dict[str, Any] = {"body": _text, "label": _label}
    mosec = {"path": "/inference", **simple}
    return [
        Peer("LitServe, transformers", "litserve", "checkpoint", "fp32", "/predict", **simple),
        Peer("mosec, transformers", "mosec_transformers", "checkpoint", "fp32", **mosec),
        Peer("infinity", "infinity", "stock", "fp32", "/classify", _infinity, None, one_worker=True),
        Peer("MLServer", "mlserver", "stock", "fp32", "/v2/models/model/infer", _v2, None),
        Peer("mosec, onnxruntime fp32", "mosec_onnxruntime", "fp32", "fp32", **mosec),
        Peer("mosec, onnxruntime int8", "mosec_onnxruntime", "int8", "graph", **mosec),
        Peer("mosec, openvino", "mosec_openvino", "fp32", "graph", **mosec),
    ]


def quick_peers() -> list[Peer]:
    """Those that need no torch: installed within a minute."""
    return [peer for peer in peers() if peer.folder == "mosec_onnxruntime"]


def _text(text: str) -> Any:
    return {"text": text}


def _label(reply: Any) -> str:
    return str(reply["label"])


def _infinity(text: str) -> Any:
    return {"model": "model", "input": [text]}


def _v2(text: str) -> Any:
    # The runtime batches `array_inputs`; a batch of `args` it takes for one text with many arguments.
    return {"inputs": [{"name": "array_inputs", "shape": [1], "datatype": "BYTES", "data": [text]}]}
