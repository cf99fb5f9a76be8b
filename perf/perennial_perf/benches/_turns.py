"""Releases that come and go: a schedule of promotions, roll-backs and candidates that do not load, gone
through on a running server as the product does it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from rich.console import Console
from rich.progress import track

from perennial.errors import Broken, Unavailable
from perennial.jobs.release import LOCK, deploy, roll_back, switch
from perennial.jobs.worker import NICE
from perennial.jobs.workshop import Workshop
from perennial.server.process import Server
from perennial.types import Bundle
from perennial_perf.benches._releases import BREAKS, copy_release
from perennial_perf.benches._sandbox import SERVICE, processes_of

Kind: TypeAlias = Literal["promotion", "roll-back", "failing candidate"]
T = TypeVar("T")


@dataclass(frozen=True)
class Turn:
    """What happens to `release` while `before` serves. `variant` says which of the two releases it is."""

    kind: Kind
    release: int
    before: int
    variant: int


@dataclass(frozen=True)
class Event:
    """A turn that was done, in seconds of the monotonic clock. `restarted` counts the processes of the
    release that served before which ended or came anew meanwhile."""

    kind: Kind
    began: float
    published: float
    ended: float
    swap_ms: float
    restarted: int


def schedule(promotions: int, roll_backs: int, failing: int) -> list[Turn]:
    """From release 2 on, with roll-backs and failing candidates evenly between the promotions."""
    turns: list[Turn] = []
    serving, newest, variants = 2, 2, {1: 0, 2: 1}

    def candidate(kind: Kind) -> None:
        nonlocal newest
        newest += 1
        variants[newest] = 1 - variants[serving]
        turns.append(Turn(kind, newest, serving, variants[newest]))

    for number in range(1, promotions + 1):
        candidate("promotion")
        before, serving = serving, newest
        if _due(number, roll_backs, promotions):
            turns.append(Turn("roll-back", before, serving, variants[before]))
            serving = before
        if _due(number, failing, promotions):
            candidate("failing candidate")
    return turns


def _due(number: int, times: int, of: int) -> bool:
    """Whether `number`, from 1 to `of`, is one of `times` numbers that lie evenly there."""
    return number * times // of > (number - 1) * times // of


def make_candidates(shop: Workshop, pair: tuple[Bundle, Bundle], turns: Sequence[Turn]) -> None:
    """The bundles of all candidates, on disk before the load begins."""
    breaks = iter(BREAKS)
    for turn in turns:
        if turn.kind != "roll-back":
            folder = shop.state.bundle(SERVICE, turn.release)
            broken = next(breaks) if turn.kind == "failing candidate" else None
            copy_release(pair[turn.variant], folder, turn.release, turn.before, broken)


def go_through(shop: Workshop, server: Server, turns: Sequence[Turn], pause_s: float) -> list[Event]:
    events = []
    for turn in track(turns, "releases come and go under load", console=Console(stderr=True)):
        events.append(_do(shop, server, turn))
        time.sleep(pause_s)
    return events


def _do(shop: Workshop, server: Server, turn: Turn) -> Event:
    """A person rolls back; a job publishes and promotes, at the low priority that it has."""
    processes = processes_of(shop, server, turn.before)
    began = published = time.monotonic()
    swap_ms = 0.0
    if turn.kind == "roll-back":
        swap_ms = roll_back(shop, SERVICE)["swap_ms"]
    elif turn.kind == "promotion":
        published, swap_ms = _politely(lambda: _publish_and_promote(shop, turn.release))
    else:
        _politely(lambda: _fail_to_publish(shop, turn.release))
    ended = time.monotonic()
    restarted = len(processes ^ processes_of(shop, server, turn.before))
    return Event(turn.kind, began, published, ended, swap_ms, restarted)


def _publish_and_promote(shop: Workshop, release: int) -> tuple[float, float]:
    """When it was published, and the milliseconds of the swap."""
    with shop.state.lock(LOCK):
        deploy(shop, shop.bundle(SERVICE, release))
    published = time.monotonic()
    return published, switch(shop, SERVICE, release)["swap_ms"]


def _fail_to_publish(shop: Workshop, release: int) -> None:
    try:
        with shop.state.lock(LOCK):
            deploy(shop, shop.bundle(SERVICE, release))
    except Broken:
        return
    raise Unavailable(f"release {release} loads, although its engine file is broken; look at what it answers")


def _politely(work: Callable[[], T]) -> T:
    def be_nice() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)

    with ThreadPoolExecutor(1, initializer=be_nice) as pool:
        return pool.submit(work).result()
