"""`perennial tune`: tries ways of running a service on real servers, and writes the best to the settings.

Each trial has two servers, of the best way so far and of the one that may replace it, which are asked in turn
in short rounds: what else the machine does meets both. Leaves what is better, and what to try, to `tuning`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from rich.console import Console

from perennial.config import Settings
from perennial.errors import Unavailable
from perennial.jobs.workshop import cores, known_service, open_workshop
from perennial.types import Bundle
from perennial_perf import analyzer, tune_report
from perennial_perf.benches._sandbox import copied, say, serving, target, texts_of
from perennial_perf.report import Draft, Report
from perennial_perf.screen import Screen
from perennial_perf.settings_file import set_service
from perennial_perf.tuning import Aim, Rows, Search, Trial, Way, knobs

ROUNDS, CONFIRMING = 3, 6
TEXTS = 600
SECONDS = 1.5
"""What a measurement takes about: long enough for a p99 of 32 clients, short enough that both sides of a
round meet the same neighbours."""
LEAST_REQUESTS = 50
WAYS = ("instances", "threads", "alone_threads", "tokenizers", "postprocesses")


def main(
    settings: Settings,
    file: Path,
    service: str,
    clients: Sequence[int],
    p99_ms: float | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Search, keep the report, and write the settings `file` where a better way was found."""
    draft, bundle = Draft(f"tune-{service}"), _serving(settings, service)
    search = Search(_present(settings, service), Aim(clients, p99_ms or float("inf")))
    best = _searched(settings, bundle, search)
    report = draft.report(tune_report.figures(search), [], tune_report.notes(search))
    tune_report.keep(report, search, best, settings.folder.folder("reports"))
    reached = search.p99_ms(best)
    if reached > search.aim.p99_ms:
        raise Unavailable(
            f"no way of running {service!r} here keeps the p99 of {search.aim.crowd} clients within "
            f"{search.aim.p99_ms:g} ms: the best had {reached:.3g}; give a longer --p99 or fewer --clients"
        )
    changed = {key: value for key, value in best.items() if value != search.start[key]}
    written = bool(changed) and not dry_run
    if written:
        set_service(file, service, changed, tune_report.told(search))
    where = (
        f"written to {file}; in effect from the next `perennial up` or release on, or at once by "
        f"`perennial promote {service} {bundle.release}`"
    )
    _print(report, changed, where, written=written, as_json=as_json)


def _serving(settings: Settings, service: str) -> Bundle:
    shop = open_workshop(settings)
    try:
        return known_service(shop, service)
    finally:
        shop.store.close()


def _present(settings: Settings, service: str) -> Way:
    now = settings.service(service)
    return {**{name: getattr(now, name) for name in WAYS}, "instances": now.instances or cores()}


def _searched(settings: Settings, bundle: Bundle, search: Search) -> Way:
    tools = analyzer.fetch(settings.folder.folder("tools"), say)
    texts = texts_of(bundle, TEXTS)
    Random(0).shuffle(texts)
    tries = knobs(cores())
    with Screen(Console(stderr=True)) as screen:
        rig = _Rig(settings, bundle, texts, tools, search.aim, screen, sum(map(len, tries)))
        return search.run(tries, rig.measure, rig.confirm)


@dataclass
class _Rig:
    """The servers of one trial after the other, and how far they are."""

    settings: Settings
    bundle: Bundle
    texts: Sequence[str]
    tools: Path
    aim: Aim
    screen: Screen
    most: int
    done: int = 0

    def __post_init__(self) -> None:
        self._bar = self.screen.bar("tune")

    def measure(self, base: Way, way: Way) -> Trial:
        return self._trial(base, way, ROUNDS)

    def confirm(self, base: Way, way: Way) -> Trial:
        return self._trial(base, way, CONFIRMING)

    def _trial(self, base: Way, way: Way, rounds: int) -> Trial:
        trial = Trial(base, way, ())
        self._bar.show(self.done, self.most, trial.name)
        self.screen.say(f"trying {trial.name}")
        self.done += 1
        with ExitStack() as stack:
            loads = [stack.enter_context(self._loaded(one)) for one in (base, way)]
            requests = {clients: self._requests(loads[0], clients) for clients in self.aim.clients}
            return Trial(base, way, [_round(loads, requests, number % 2) for number in range(rounds)])

    @contextmanager
    def _loaded(self, way: Way) -> Iterator[analyzer.Analyzer]:
        with (
            copied(self.settings, self.bundle, "tune", way) as shop,
            serving(shop) as server,
            analyzer.analyzer(self.tools, target(server), self.bundle.service, self.texts) as load,
        ):
            for clients in (1, self.aim.crowd):  # what runs alone, and what runs together
                load.measure(clients, LEAST_REQUESTS)
            yield load

    def _requests(self, load: analyzer.Analyzer, clients: int) -> int:
        """As many as take `SECONDS`, by a look; as many for each client."""
        look = load.measure(clients, LEAST_REQUESTS)
        return clients * max(2, round(max(LEAST_REQUESTS, SECONDS * look["requests/s"]) / clients))


def _round(loads: Sequence[analyzer.Analyzer], requests: Mapping[int, int], first: int) -> tuple[Rows, Rows]:
    """Both sides in turn at each number of clients, the other one first each time."""
    rows: tuple[dict[int, dict[str, float]], dict[int, dict[str, float]]] = ({}, {})
    for clients, count in requests.items():
        for side in (first, 1 - first):
            rows[side][clients] = loads[side].measure(clients, count)
    return rows


def _print(report: Report, changed: Way, where: str, *, written: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"changed": dict(changed), "written": written, **report.as_dict()}))
        return
    console = Console()
    report.show(console)
    values = ", ".join(f"{key} = {value}" for key, value in changed.items())
    end = "no other way of running it was better twice; the settings stay as they are"
    if written:
        end = f"{values}: {where}"
    elif changed:
        end = f"{values}: not written (--dry-run)"
    console.print(end, highlight=False, markup=False, soft_wrap=True)
