"""What the machine does without a server: the release's own engine session, and its network in torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Semaphore

from perennial.jobs.workshop import codec_of, cores, engine_in, trainable
from perennial.protocols import Session
from perennial.serve.batching import MASK, Layout
from perennial.serve.crew import Crew
from perennial.speed import alone_ms, texts_per_s
from perennial.task_protocol import Codec
from perennial.types import Array, Bundle, Tensors, text_tensor

BATCHES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Way:
    """One way to run texts: so many `callers` at once of a session with `threads` each, as processes would
    be. `by_length` sorts the texts first, so that batches pad little."""

    callers: int
    threads: int
    batch: int
    by_length: bool = False

    @property
    def name(self) -> str:
        threads = f"{self.callers} x {self.threads} threads"
        return f"{threads}, batch {self.batch}" + (", by length" if self.by_length else "")


def ways() -> list[Way]:
    """Every number of callers and threads that fills the cores, and every batch in both orders."""
    spread = [(callers, cores() // callers) for callers in range(1, cores() + 1) if cores() % callers == 0]
    batched = [(batch, by_length) for batch in BATCHES[1:] for by_length in (False, True)]
    return [Way(*spent, *batch) for spent in spread for batch in ((1, False), *batched)]


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
        """Texts a second."""
        return _rate(self._sessions[way.threads], self._batches(way, texts), way.callers)

    def torch_rate(self, way: Way, texts: int) -> float:
        """The same of the network in float32, as transformers runs it."""
        return _rate(self._torch, self._batches(way, texts), way.callers)

    def line(self, clients: int) -> dict[str, float]:
        """The engine stage without Triton: texts a second through its line for so many clients, each of which
        asks again once it is answered, and the percentage of tokens that are padding."""
        masks: list[Array] = []

        def run(tensors: Tensors) -> Tensors:
            masks.append(tensors[MASK])
            return self._sessions[1].run(tensors)

        crew = Crew(Layout(self._codec.signature), run, cores())
        texts = self._batches(Way(1, 1, 1))
        began = time.perf_counter()
        _ask(crew, texts, clients)
        seconds = time.perf_counter() - began
        crew.close()
        tokens, padded = sum(int(mask.sum()) for mask in masks), sum(mask.size for mask in masks)
        return {"texts/s": len(texts) / seconds, "padding, %": 100 * (1 - tokens / padded)}

    def single_ms(self, threads: int) -> float:
        """The median of single texts."""
        return alone_ms(self._sessions[threads], self._batches(Way(1, threads, 1)))

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


def _rate(session: Session, batches: Sequence[Tensors], callers: int) -> float:
    rows = sum(len(next(iter(batch.values()))) for batch in batches)
    return rows / len(batches) * texts_per_s(session, batches, callers)


def _ask(crew: Crew, texts: Sequence[Tensors], clients: int) -> None:
    """All texts, so many of them at a time; raises what one of them is answered with, if that is an error."""
    places = Semaphore(clients)
    failed: list[Exception] = []

    def answered(result: Tensors | Exception) -> None:
        if isinstance(result, Exception):
            failed.append(result)
        places.release()

    for tensors in texts:
        places.acquire()
        crew.submit(tensors, answered)
    for _ in range(clients):
        places.acquire()
    if failed:
        raise failed[0]
