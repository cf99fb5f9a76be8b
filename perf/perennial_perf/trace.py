"""What a load saw: one entry a request, as columns, and a file to carry them from one process to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Trace:
    """Columns of shape (requests,), in the order of completion.

    `payload` is the number of the request's bytes; `started` is its start, or in an open loop when it was
    due, in seconds of the machine's monotonic clock, which all processes share; `latency` counts from then,
    in seconds; `code` is a status, 0 for an answer (`connections` says whose). `replies` is empty unless
    kept. `cpu_s` is the processor time that the load itself took.
    """

    payload: npt.NDArray[np.int64]
    started: npt.NDArray[np.float64]
    latency: npt.NDArray[np.float64]
    code: npt.NDArray[np.int64]
    replies: tuple[bytes, ...]
    cpu_s: float

    def __len__(self) -> int:
        return len(self.started)

    @property
    def answered(self) -> npt.NDArray[np.bool_]:
        answered: npt.NDArray[np.bool_] = self.code == 0
        return answered

    @property
    def failed(self) -> int:
        return int((self.code != 0).sum())

    @property
    def ended(self) -> npt.NDArray[np.float64]:
        return self.started + self.latency

    @property
    def rate(self) -> float:
        """Answers a second, from the first start to the last end."""
        if not self.answered.any():
            return 0.0
        return float(self.answered.sum() / (self.ended.max() - self.started.min()))

    @property
    def cpu_us(self) -> float:
        """Microseconds of processor time that the load took for each request."""
        return 1e6 * self.cpu_s / max(len(self), 1)

    @property
    def latency_ms(self) -> npt.NDArray[np.float64]:
        """Of the answered requests."""
        return 1e3 * self.latency[self.answered]

    def between(self, start: float, end: float) -> Trace:
        """The requests that began in [start, end) of the monotonic clock."""
        return self.where((self.started >= start) & (self.started < end))

    def where(self, chosen: npt.NDArray[np.bool_]) -> Trace:
        """The requests that `chosen`, (requests,), names."""
        kept = tuple(reply for reply, one in zip(self.replies, chosen, strict=False) if one)
        return replace(
            self,
            payload=self.payload[chosen],
            started=self.started[chosen],
            latency=self.latency[chosen],
            code=self.code[chosen],
            replies=kept,
            cpu_s=self.cpu_s * float(chosen.mean()) if len(self) else 0.0,
        )

    def save(self, path: Path) -> None:
        data, ends = join(self.replies)
        columns = {
            "payload": self.payload,
            "started": self.started,
            "latency": self.latency,
            "code": self.code,
        }
        np.savez(path, **columns, data=data, ends=ends, cpu_s=np.array(self.cpu_s))

    @classmethod
    def read(cls, path: Path) -> Trace:
        with np.load(path) as file:
            return cls(
                file["payload"],
                file["started"],
                file["latency"],
                file["code"],
                tuple(split(file["data"], file["ends"])),
                float(file["cpu_s"]),
            )


def join(blobs: Sequence[bytes]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Many byte strings as one array, and where each ends in it."""
    ends = np.cumsum([len(blob) for blob in blobs], dtype=np.int64)
    return np.frombuffer(b"".join(blobs), np.uint8), ends


def split(data: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> list[bytes]:
    """The inverse of `join`."""
    raw = data.tobytes()
    return [raw[start:end] for start, end in pairwise([0, *ends])]
