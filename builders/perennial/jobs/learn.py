"""The fast loop, top to bottom: from a row of feedback to a head that answers, within a second.

Each turn is idempotent and can be killed at any point: what an engine said of a row is kept before the head
that follows from it, and both are what the rows make them, whoever asks and in whatever order.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from threadpoolctl import threadpool_limits

from perennial.errors import Fenced, PerennialError, Unavailable
from perennial.heads import LOOK_EVERY_S
from perennial.jobs.live_head import LiveHead, Wish, has_head, in_force
from perennial.jobs.run import Run
from perennial.jobs.why import explain
from perennial.jobs.workshop import Workshop, known_service
from perennial.pipeline import request_of
from perennial.plugins import labels_of
from perennial.repository.layout import services, stage_model
from perennial.server.control import Control
from perennial.task_protocol import Placing
from perennial.types import Bundle, FeedbackRow, Head, HeadOrders, Inquiry, Lease, Tensors

POLL_S = 0.05
REST, SOON_S = 4, 0.5
"""Times the processor time that a turn took, so that a fifth of a core goes to heads; but no longer than
this or than the turn itself, since who corrects on and on should see it soon: so half a core at most."""
LOOK_S = 0.5
"""How often it is asked what serves, which takes longer than to ask for new rows."""
PAUSE_S = 1.0
"""After a fault: a server or a store that is away is not asked ten times a second."""
A_PAGE = 1000
A_QUESTION = 32
"""Rows that the engine is asked at once: the users' own wait beside them."""

_log = logging.getLogger(__name__)


class Learner:
    """Keeps the head of one release up to its feedback."""

    def __init__(self, shop: Workshop, bundle: Bundle, orders: HeadOrders) -> None:
        self._shop, self._bundle, self._orders = shop, bundle, orders
        self.live = open_head(shop, bundle)
        self._kept = {kept.row: kept for kept in shop.store.head_rows(bundle.service, bundle.release)}
        self._learned = {*bundle.manifest["lineage"]["feedback_rows"]} - self.live.standing
        self._next = orders.since_row
        self._began = False
        self._weights = in_force(shop, bundle, self.live.codec)
        self._documents_until, self._placed = bundle.manifest.get("documents_until", 0), 0
        self.finds = labels_of(bundle.manifest["task"]).of_documents
        if self.finds:
            self._see_placed()

    def place(self, lease: Lease) -> bool:
        """Tell where the engine places some documents that changed since the release was built; whether there
        were any."""
        service, release, store = self._bundle.service, self._bundle.release, self._shop.store
        changes = store.unplaced(service, release, self._documents_until, A_QUESTION)
        if changes:
            vectors = cast(Placing, self.live.codec).place(changes, self.asked)
            numbers = (one.number for one in changes)
            store.place(release, dict(zip(numbers, vectors, strict=True)), lease)
            self._see_placed()
        return bool(changes)

    def _see_placed(self) -> None:
        service, release = self._bundle.service, self._bundle.release
        if found := self._shop.store.placed(service, release, self._placed):
            cast(Placing, self.live.codec).take_documents(found)
            self._placed = found[-1].version

    def turn(self, lease: Lease) -> None:
        """Learn what is new, and put the head that follows into force."""
        fresh = list(self._fresh())
        if not fresh and self._began:
            return
        for start in range(0, len(fresh), A_PAGE):
            self._learn(fresh[start : start + A_PAGE], lease)
        judged = self.live.judged()
        now = time.time()
        lag_s = now - max((row.created_at for row in fresh), default=now)
        figures = {**judged.figures, "lag_s": round(lag_s, 3)}
        self._shop.store.put_head(
            Head(self._bundle.service, self._bundle.release, judged.weights.tobytes(), figures), lease
        )
        self._began, self._weights = True, judged.weights

    def recall(self) -> None:
        """Learn what an engine was asked of before, without asking it now."""
        known = [row for row in self._fresh() if row.row in self._kept]
        self.live.take(known, [self._kept[row.row] for row in known])

    def why(self, text: str, most: int) -> dict[str, Any]:
        """Why the head of what was learned answers a text as it does: see `why.explain`."""
        (said,) = self.asked([text])
        return explain(self.live, said, most)

    def _fresh(self) -> Iterator[FeedbackRow]:
        """Rows that are not in the head yet and may be: those that the release has not learned, and at first
        those that it was only judged by."""
        service, store, orders = self._bundle.service, self._shop.store, self._orders
        if not self._began:
            standing = sorted(row for row in self.live.standing if row > orders.since_row)
            yield from (row for row in store.numbered(service, standing) if row.row <= orders.until_row)
        known = self._learned | self.live.standing
        while rows := store.unlearned(service, self._next, A_PAGE):
            self._next = rows[-1].row
            yield from (row for row in rows if row.row not in known and row.row <= orders.until_row)

    def _learn(self, rows: Sequence[FeedbackRow], lease: Lease) -> None:
        unknown = [row for row in rows if row.row not in self._kept]
        if unknown:
            described = self.live.described(unknown, self.asked([row.text for row in unknown]), self._weights)
            self._shop.store.add_head_rows(self._bundle.release, described, lease)
            self._kept |= {kept.row: kept for kept in described}
        self.live.take(rows, [self._kept.pop(row.row) for row in rows])

    def asked(self, texts: Sequence[str]) -> list[Tensors]:
        """What the live engine says of each text, and what the tokenizer carries past it; in company of like
        length."""
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        said: dict[int, Tensors] = {}
        with self._shop.control() as control:
            if control is None:
                raise Unavailable("no server runs, so no engine says what it makes of the feedback")
            for start in range(0, len(order), A_QUESTION):
                places = order[start : start + A_QUESTION]
                answered = self._ask(control, [texts[place] for place in places])
                for number, place in enumerate(places):
                    said[place] = {name: array[number : number + 1] for name, array in answered.items()}
        return [said[place] for place in range(len(texts))]

    def _ask(self, control: Control, texts: Sequence[str]) -> Tensors:
        codec, service = self.live.codec, self._bundle.service
        (encoded,) = codec.encode([request_of(texts)])
        asked = {spec.name: encoded.pop(spec.name) for spec in codec.signature.engine_in}
        return {**control.ask(stage_model(service, "engine"), self._bundle.release, asked), **encoded}


@dataclass(frozen=True)
class _Known:
    """A service as the loop last saw it; its learner, unless its release has no head."""

    release: int
    orders: HeadOrders
    learner: Learner | None


class FastLoop(threading.Thread):
    """Learns the feedback of every service in turn, beside whatever else the worker does, until `stop`."""

    def __init__(self, shop: Workshop, lease: Lease) -> None:
        super().__init__(name="fast loop", daemon=True)
        self._shop, self._lease = shop, lease
        self._known: dict[str, _Known] = {}
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def run(self) -> None:
        # One thread: others of the same product would wait for each other on cores that answer.
        with threadpool_limits(1, "blas"):
            pause, looked_at, serving = POLL_S, float("-inf"), dict[str, int | None]()
            while not self._stopping.wait(pause):
                try:
                    if time.monotonic() - looked_at > LOOK_S:
                        looked_at = time.monotonic()
                        names = services(self._shop.settings.repository)
                        serving = {name: self._shop.publisher.serving(name) for name in names}
                    began = time.thread_time()
                    for service, release in serving.items():
                        if release:
                            self._turn(service, release)
                    self._explain()
                    pause = max(POLL_S, _rest(time.thread_time() - began))
                except Fenced:
                    return
                except Exception as error:
                    ours = isinstance(error, PerennialError)
                    _log.warning("heads stand still: %s", error, exc_info=not ours)
                    self._known.clear()  # a learner that was cut short has taken rows that it did not learn
                    pause, looked_at = PAUSE_S, float("-inf")

    def _turn(self, service: str, release: int) -> None:
        orders, known = self._shop.store.head_orders(service), self._known.get(service)
        if known is None or (known.release, known.orders) != (release, orders):
            bundle = self._shop.bundle(service, release)
            learner = Learner(self._shop, bundle, orders) if has_head(bundle) else None
            known = self._known[service] = _Known(release, orders, learner)
        if known.learner:
            if known.learner.finds:
                known.learner.place(self._lease)
            known.learner.turn(self._lease)

    def _explain(self) -> None:
        """Tell one who waits why an answer is as it is: one a turn, as others wait for their heads."""
        for inquiry in self._shop.store.inquiries()[:1]:
            try:
                told = _without_words(self._why(inquiry))
            except PerennialError as error:
                told = {"error": str(error)}
            except Exception as error:  # a defect here must not keep heads from learning
                _log.exception("an answer of %s was not explained", inquiry.service)
                told = {"error": f"the worker failed to explain it ({type(error).__name__}); see its log"}
            self._shop.store.tell(inquiry.number, told)

    def _why(self, inquiry: Inquiry) -> dict[str, Any]:
        known = self._known.get(inquiry.service)
        if known is None or known.learner is None:
            raise Unavailable(
                f"service {inquiry.service!r} serves no release that has a head; build it again"
            )
        return known.learner.why(inquiry.text, inquiry.most)


def _without_words(told: dict[str, Any]) -> dict[str, Any]:
    """What may be told to anyone who asks: rows by their numbers, and nothing that others wrote."""
    words = ("text", "source")
    shown = {
        kind: [{name: value for name, value in cause.items() if name not in words} for cause in told[kind]]
        for kind in ("corrections", "taught")
    }
    return {**told, **shown}


def why(shop: Workshop, service: str, text: str, most: int) -> dict[str, Any]:
    """Why what serves answers a text as it does, asked without the worker."""
    bundle = known_service(shop, service)
    if not has_head(bundle):
        raise Unavailable(f"release {bundle.release} of {service!r} has no head; build it again")
    learner = Learner(shop, bundle, shop.store.head_orders(service))
    learner.recall()
    return learner.why(text, most)


def _rest(turn_s: float) -> float:
    return min(REST * turn_s, max(turn_s, SOON_S))


def carry_over(run: Run) -> None:
    """Before a release serves: its head of all feedback that it has not learned is in force, and whoever will
    answer has seen it."""
    bundle, store = run.shop.bundle(run.job.service, run.job.release), run.shop.store
    if run.shop.server_url and has_head(bundle):
        learner = Learner(run.shop, bundle, store.head_orders(bundle.service))
        while learner.finds and learner.place(run.lease):
            run.report("promote", 0, 0, "placing documents that came meanwhile")
        learner.turn(run.lease)
        time.sleep(3 * LOOK_EVERY_S)


def open_head(shop: Workshop, bundle: Bundle) -> LiveHead:
    settings = shop.service(bundle.service)
    how = settings.head
    return LiveHead(bundle, Wish(how.ridge, how.balance, settings.golden_margin, settings.source_trust))
