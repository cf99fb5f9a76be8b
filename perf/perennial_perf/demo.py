"""`perennial demo`: new domains' users against the first release of a sample, and what it learns of them.

The order of events, and the report. The sandbox knows where it runs, `replay` what users do, `plots` how it
looks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

from rich.console import Console

from perennial.config import Settings
from perennial.errors import Unavailable
from perennial.jobs import data
from perennial.jobs.up import Up
from perennial.jobs.workshop import Workshop, codec_of, open_workshop
from perennial.plugins import labels_of
from perennial.server import embedded
from perennial.types import Bundle, Example, Rated
from perennial_client import Client
from perennial_perf import payloads, plots, sandbox
from perennial_perf.findings import report_of
from perennial_perf.load import Plan, background
from perennial_perf.replay import Domain, Stopped, Users
from perennial_perf.report import Draft
from perennial_perf.screen import Screen
from perennial_perf.story import Replay, Story

HOME = "built from"
SEED = 0
CLIENTS, RATE, SHARE = 8, 20.0, 0.2
"""The background load: requests a second that arrive at random, whatever else goes on; fewer where a lone
client is asked for more than this share of its time, as by long texts."""
PROBED = 30
"""Texts that a lone client asks to find out."""
ASKED = 500
"""Different texts of the background load."""
SPARE = 50
"""Corrections above a rebuild's trigger, for those that it does not count."""
FOR_S = 4 * 3600.0
"""Longer than any demo: the load, and what waits for a trigger by age."""


@dataclass(frozen=True)
class Size:
    """`trigger` is the service's trigger_count; `most` corrections are sent in a domain; `judged` texts of
    each are never sent, nor `home` ones of what the first release was built from. The worker watches a
    promotion for `watch_s`; the load runs `at_rest_s` alone first. A rebuild's training ends after `train_s`,
    wherever it is.
    """

    domains: int
    judged: int
    home: int
    trigger: int
    most: int
    watch_s: float
    at_rest_s: float
    train_s: float


FULL = Size(
    domains=3, judged=500, home=500, trigger=1800, most=3000, watch_s=20.0, at_rest_s=15.0, train_s=300.0
)
WRITTEN = Size(
    domains=1, judged=60, home=400, trigger=200, most=260, watch_s=20.0, at_rest_s=15.0, train_s=900.0
)
"""Of answers that are written, which takes a second or so each; those of home are a token each."""
QUICK = Size(domains=1, judged=120, home=120, trigger=240, most=480, watch_s=6.0, at_rest_s=2.0, train_s=15.0)


def main(settings: Settings, name: str, *, quick: bool, as_json: bool) -> int:
    """Play it, keep demo.json and demo.png in the state's `reports`, print; 1 where a goal is missed."""
    if reason := embedded.unavailable():
        raise Unavailable(reason)
    screen = Screen(Console(stderr=as_json))
    reports = settings.folder.folder("reports")
    draft = Draft("demo")
    try:
        with sandbox.alone(settings):
            full = WRITTEN if labels_of(sandbox.member(name).task).writes else FULL
            story = play(settings, name, QUICK if quick else full, screen, quick=quick, quiet=as_json)
    except Stopped:
        screen.say("stopped; nothing runs any more")
        return 130
    report = report_of(draft, story)
    report.write(reports)
    plots.draw(story, reports / "demo.png")
    if as_json:
        print(json.dumps(report.as_dict()))
    else:
        report.show(Console())
        _say_where(screen, settings, reports, name)
    return report.exit_code


def play(settings: Settings, name: str, size: Size, screen: Screen, *, quick: bool, quiet: bool) -> Story:
    """Have the sample's service in the sandbox, run it, and let the users come."""
    service = sandbox.member(name).service
    shop = sandbox.emptied(_settings(settings, service, size), settings)
    first = sandbox.serve_sample(shop, open_workshop(settings), name, quick=quick, quiet=quiet)
    stream = sandbox.sample_of(shop, name).stream()
    if not stream:
        raise Unavailable(f"the sample {name!r} has nothing to learn from yet, so there is no demo of it")
    in_turn = labels_of(first.manifest["task"]).of_users
    domains = _domains(stream, size, in_turn)
    screen.say("starting tritonserver and the worker in a sandbox of the demo's own …")
    with Up(shop) as running, ThreadPoolExecutor(1) as pool, screen:
        told = pool.submit(_tell, shop, first, domains, size, screen, running)
        told.add_done_callback(lambda _: running.stopping.set())
        try:
            running.keep_up(lambda: None)
        finally:
            running.stopping.set()
        return told.result()


def _settings(user: Settings, service: str, size: Size) -> Settings:
    """The user's way of learning, at the times that the demo needs."""
    how = user.service(service).rebuild
    return sandbox.settings_for(
        user,
        service,
        trigger_count=size.trigger,
        trigger_age_s=FOR_S,
        schedule="",
        watch_s=size.watch_s,
        rebuild=how.model_copy(update={"max_seconds": min(how.max_seconds, size.train_s)}),
    )


def _tell(
    shop: Workshop, first: Bundle, domains: Sequence[Domain], size: Size, screen: Screen, running: Up
) -> Story:
    """The whole story, in a thread beside the one that keeps the server and the worker up."""
    codec = codec_of(first.manifest["task"], first.folder)
    home = codec.probes(data.read(first.folder / "data/golden.jsonl"))[: size.home]
    judged: dict[str, Sequence[Example]] = {HOME: home, **{one.name: one.judged for one in domains}}
    texts = [example.text for examples in judged.values() for example in examples]
    asked = Random(SEED).sample(texts, min(ASKED, len(texts)))
    server = running.server.run
    with Client(server.grpc_url) as client:
        users = Users(shop, first, client, screen, running.stopping)
        rate = min(RATE, SHARE / users.usual_s(asked[:PROBED]))
        wire, requests = payloads.asked(first.service, asked, labels_of(first.manifest["task"]).writes)
        port = server.grpc_port if wire == "grpc" else server.http_port
        plan = Plan(f"{server.host}:{port}", CLIENTS, rate=rate, seconds=FOR_S, wire=wire)
        with background(plan, requests) as load:
            at_rest = _rest(users, size.at_rest_s)
            replays = _replay_all(users, domains, judged, screen)
            return Story(HOME, tuple(replays), at_rest, users.stored(), load.stop())


def _rest(users: Users, seconds: float) -> tuple[float, float]:
    began = time.monotonic()
    users.wait(seconds)
    return began, time.monotonic()


def _replay_all(
    users: Users, domains: Sequence[Domain], judged: dict[str, Sequence[Example]], screen: Screen
) -> list[Replay]:
    replays: list[Replay] = []
    last = users.judge(judged, None)
    for domain in domains:
        replays.append(users.replay(domain, judged, last))
        last = replays[-1].after
        before, after = (one.metrics[domain.name] for one in (replays[-1].before, last))
        told = ", ".join(f"{name} {before[name]:.3f} before, {after[name]:.3f} after" for name in before)
        screen.say(f"{domain.name}, on held-out texts: {told}")
    return replays


def _domains(stream: Mapping[str, Sequence[Rated]], size: Size, in_turn: bool) -> list[Domain]:
    """Each domain's texts in a random order, the first of them only to judge by. What users do `in_turn` is
    judged by what they do right after enough of it for a rebuild."""
    domains = []
    for name in list(stream)[: size.domains]:
        texts = [*stream[name]][: size.trigger + SPARE + size.judged]
        if in_turn:
            texts = texts[-size.judged :] + texts[: -size.judged]
        else:
            texts = Random(f"{SEED}:{name}").sample(stream[name], len(stream[name]))
        judged = [Example(rated.text, rated.label) for rated in texts[: size.judged]]
        domains.append(Domain(name, texts[size.judged :][: size.most], judged))
    return domains


def _say_where(screen: Screen, settings: Settings, reports: Path, name: str) -> None:
    home, service = settings.state / sandbox.FOLDER, sandbox.member(name).service
    screen.say(f"drawn in {reports / 'demo.png'}, kept in {reports / 'demo.json'}")
    screen.say(
        "look at its releases: "
        f"perennial --state {home} --repository {home / 'model_repository'} releases {service}"
    )
