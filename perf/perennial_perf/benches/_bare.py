"""What the machine does without a server: the release's own engine session, and its network in torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from perennial.jobs.workshop import codec_of, cores, engine_in, trainable
from perennial.protocols import Codec, Session
from perennial.speed import alone_ms, texts_per_s
from perennial.types import Bundle, Tensors, text_tensor

BATCHES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Way:
    """One way to run texts through a session; `by_length` sorts them first, so that batches pad little."""

    threads: int
    batch: int
    by_length: bool = False

    @property
    def name(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{threads}, batch {self.batch}" + (", by length" if self.by_length else "")


def ways() -> list[Way]:
    """Every number of threads up to the cores, and every batch in both orders."""
    batched = [(batch, by_length) for batch in BATCHES[1:] for by_length in (False, True)]
    return [
        Way(threads, batch, by_length)
        for threads in range(1, cores() + 1)
        for batch, by_length in ((1, False), *batched)
    ]


class Bare:
    """Texts are tokenised beforehand: only the sessions' own time counts."""

    def __init__(self, bundle: Bundle, texts: Sequence[str]) -> None:
        manifest = bundle.manifest
        engine, task = engine_in(bundle), trainable(manifest["task"])
        self._sessions = {
            threads: engine.open(bundle.folder / manifest["file"], threads)
            for threads in range(1, cores() + 1)
        }
        self._torch = task.session(task.load(bundle.folder / "checkpoint", manifest["labels"]))
        self._codec = codec_of(manifest["task"], bundle.folder)
        self._texts = list(texts)

    def best_ways(self, texts: int, most: int = 3) -> list[Way]:
        """The quickest of all, by a look at so many texts; a look is short, so the best may be second."""
        return sorted(ways(), key=lambda way: -self.rate(way, texts))[:most]

    def rate(self, way: Way, texts: int | None = None) -> float:
        """Texts a second, one run after the other."""
        return _rate(self._sessions[way.threads], self._batches(way, texts))

    def torch_rate(self, way: Way, texts: int) -> float:
        """The same of the network in float32, as transformers runs it."""
        return _rate(self._torch, self._batches(way, texts))

    def callers_rate(self) -> float:
        """Texts a second of a session of one thread that every core calls, each with one text at a time."""
        return texts_per_s(self._sessions[1], self._batches(Way(1, 1)), cores())

    def single_ms(self, threads: int) -> float:
        """The median of single texts."""
        return alone_ms(self._sessions[threads], self._batches(Way(threads, 1)))

    def _batches(self, way: Way, most: int | None = None) -> list[Tensors]:
        texts = self._texts[:most]
        if way.by_length:
            texts.sort(key=len)
        return [
            _encoded(self._codec, texts[start : start + way.batch])
            for start in range(0, len(texts), way.batch)
        ]


def _encoded(codec: Codec, texts: Sequence[str]) -> Tensors:
    """One batch, padded to its longest text."""
    asked = {codec.signature.request[0].name: text_tensor(list(texts))}
    (tensors,) = codec.encode([asked])
    return {spec.name: tensors[spec.name] for spec in codec.signature.engine_in}


def _rate(session: Session, batches: Sequence[Tensors]) -> float:
    rows = sum(len(next(iter(batch.values()))) for batch in batches)
    return rows / sum(_seconds(session, batches))


def _seconds(session: Session, batches: Sequence[Tensors]) -> list[float]:
    """What each run takes, after one that does not count."""
    session.run(batches[0])
    took = []
    for batch in batches:
        began = time.perf_counter()
        session.run(batch)
        took.append(time.perf_counter() - began)
    return took
