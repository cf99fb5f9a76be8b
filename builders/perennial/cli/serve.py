"""`up`, `down`, `status`, `worker`, `openai`: running it."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.text import Text

from perennial import plugins
from perennial.cli.build import enqueue_build
from perennial.cli.follow import progress_of
from perennial.cli.learn import run_here_or_follow
from perennial.cli.output import Json, console, print_json, say, settings_of, table, teller
from perennial.errors import Unavailable
from perennial.jobs import data
from perennial.jobs.front import answer, models
from perennial.jobs.up import Up, mend, running_pid, watched
from perennial.jobs.worker import Worker
from perennial.jobs.workshop import Workshop, known_service, open_workshop
from perennial.protocols import Sample
from perennial.repository.layout import WARMUP
from perennial.server import embedded, memory
from perennial.server.ports import listen
from perennial.server.runinfo import RunInfo, find_running
from perennial.store_protocol import WORKER
from perennial.types import Job

STOP_S = 30.0


def register(app: typer.Typer) -> None:
    for command in (up, down, status, worker, openai):
        app.command()(command)


def up(
    context: typer.Context,
    sample: Annotated[
        list[str] | None,
        typer.Option(
            help="Build this one's service first, unless it is here: sentiment (also where none is here), "
            "chat, conll, movies, newsgroups or topics. May be given more than once.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Start the server and the worker here, and show how they are until Ctrl-C."""
    if reason := embedded.unavailable():
        raise Unavailable(reason)
    shop = open_workshop(settings_of(context))
    refuse_second(shop)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for name in sample or ([] if shop.released() else ["sentiment"]):
        if plugins.get("samples", name).service not in shop.released():
            build_sample(shop, name, quiet=as_json)
    tell = teller(quiet=as_json)
    tell("starting tritonserver and the worker …")
    with Up(shop) as running:
        server = running.server.run
        if as_json:
            urls = {"http": server.http_url, "grpc": server.grpc_url, "metrics": server.metrics_url}
            print_json({**urls, "openai": running.openai_url})
            running.keep_up(lambda: None)
        else:
            greet(server, shop)
            if running.openai_url:
                say(f"{'as OpenAI':>12}:  OpenAI(base_url={running.openai_url!r}, api_key='none')")
            _show_until_stopped(running, shop)
        tell("stopping …")
    tell(f"stopped; everything is kept in {shop.settings.state}")


def refuse_second(shop: Workshop) -> None:
    running = find_running(shop.state.folder("run"))
    if running:
        raise Unavailable(
            f"a server already runs on {shop.settings.state} ({running.http_url}); "
            "use it, stop it with `perennial down`, or give another --state and --repository"
        )


def build_sample(shop: Workshop, name: str, quiet: bool) -> None:
    """The default service, from public packages, on the same path as a user's own."""
    sample: Sample = plugins.get("samples", name)(shop.state.folder("samples"))
    tell = teller(quiet)
    tell(f"{sample.service!r} is not here yet: building it")
    sample.fetch(tell)
    start, file, documents = sample.encoder(), _data(shop, sample), _documents(shop, sample)
    job = enqueue_build(shop, sample.service, sample.task, start, file, documents=documents)
    run_here_or_follow(shop, job, quiet)
    done = shop.store.job(job.id)
    if done.state != "kept":
        raise Unavailable(f"the build of {name!r} ended as {done.state}: {done.detail}")


def _data(shop: Workshop, sample: Sample) -> Path | None:
    """None of a model that begins as it is."""
    rows = sample.data()
    if not rows:
        return None
    file = shop.state.folder("samples") / f"{sample.service}.jsonl"
    data.write(file, rows)
    return file


def _documents(shop: Workshop, sample: Sample) -> Path | None:
    found = sample.documents()
    if not found:
        return None
    file = shop.state.folder("samples") / f"{sample.service}-documents.jsonl"
    lines = (json.dumps({"id": name, "text": text}, ensure_ascii=False) for name, text in found.items())
    file.write_text("\n".join(lines), "utf-8")
    return file


def greet(server: RunInfo, shop: Workshop) -> None:
    """What to type next."""
    bundle, names = known_service(shop, shop.released()[0]), ", ".join(shop.released())
    service, labels = bundle.service, plugins.labels_of(bundle.manifest["task"])
    texts = json.loads((bundle.folder / WARMUP).read_text())
    text = min((text for text in texts if len(text.split()) > 2), key=len, default=texts[0])
    label = labels.some(text, bundle.manifest["labels"])
    asked: dict[str, Any] = {
        "inputs": [{"name": "TEXT", "datatype": "BYTES", "shape": [1, 1], "data": [text]}]
    }
    way = "infer"
    if labels.writes:  # Triton's way to ask for what may come in pieces
        asked, way = {"TEXT": text}, "generate"
    arguments = ", ".join(map(repr, labels.arguments(text)))
    python = f'Client("{server.grpc_url}").{labels.verb}("{service}", {arguments})'
    console.print(f"serving {names} at {server.http_url} and {server.grpc_url}", style="bold green")
    for what, line in (
        ("ask it", f"perennial {labels.verb} {service} {quote(text)}"),
        ("over HTTP", f"curl -s {server.http_url}/v2/models/{service}/{way} -d {quote(json.dumps(asked))}"),
        ("from Python", f"from perennial_client import Client; print({python})"),
        ("correct it", f"perennial feedback {service} {quote(text)} {quote(label)}"),
        ("stop", "Ctrl-C, or `perennial down`"),
    ):
        say(f"{what:>12}:  {line}")


def _show_until_stopped(running: Up, shop: Workshop) -> None:
    if not console.is_terminal:
        running.keep_up(lambda: None)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        running.keep_up(lambda: live.update(_look(shop), refresh=True))


def _look(shop: Workshop) -> Any:
    """How everything is; where the store is away, that."""
    try:
        return _drawn(described(shop, {}))  # to ask for memory takes too long to do it all the time
    except Unavailable as error:
        return Text(str(error), style="yellow")


def described(shop: Workshop, taken: Mapping[str, float]) -> dict[str, Any]:
    """How everything is, as `status --json` prints it; `taken` is memory, as `Workshop.memory_mb` has it."""
    return {
        "server": _answering(shop),
        "worker": shop.store.lease(WORKER) is not None,
        "memory_mb": round(sum(taken.values())),
        "services": {name: _service(shop, name, taken) for name in shop.released()},
        "out_of_service": shop.out_of_service(),
    }


def _answering(shop: Workshop) -> str | None:
    """Where the server in use answers, if it does. One that runs here has its guard's word for it."""
    if not shop.settings.server.url:
        return shop.server_url or None
    with shop.control() as control:
        return shop.server_url if control and control.alive() else None


def _service(shop: Workshop, name: str, taken: Mapping[str, float]) -> dict[str, Any]:
    backlog = shop.store.backlog(name, shop.service(name).max_attempts)
    job = next(iter(shop.store.jobs(name, limit=1)), None)
    return {
        "release": shop.publisher.serving(name),
        "published": shop.publisher.versions(name),
        "memory_mb": round(memory.of_service(name, taken)),
        "feedback": {"fresh": backlog.fresh, "waiting": backlog.waiting, "spent": backlog.spent},
        "job": _job(shop, job) if job else None,
    }


def _job(shop: Workshop, job: Job) -> dict[str, Any]:
    progress = progress_of(shop.state.folder("jobs", job.id)) if job.open else {}
    return {
        "id": job.id,
        "release": job.release,
        "state": job.state,
        "step": progress.get("step", ""),
        "message": progress.get("message", "") or job.detail,
    }


def _drawn(found: dict[str, Any]) -> Any:
    server, megabytes, rows = found["server"], found["memory_mb"], []
    for name, service in found["services"].items():
        job, feedback = service["job"], service["feedback"]
        said = f"{job['release']}: {job['state']} {job['step']} {job['message']}" if job else ""
        taken = (f"{service['memory_mb']:,}",) if megabytes else ()
        rows.append((name, service["release"], feedback["fresh"], feedback["waiting"], *taken, said[:80]))
    worker = "up" if found["worker"] else "down"
    title = f"server {server or 'down'}{f', {megabytes:,} MB' if megabytes else ''} · worker {worker}"
    if found["out_of_service"]:
        title += f" · out of service: {', '.join(found['out_of_service'])}"
    columns = ("service", "release", "fresh feedback", "waiting", *(("MB",) if megabytes else ()), "last job")
    return table(title, columns, rows)


def down(context: typer.Context, as_json: Json = False) -> None:
    """Stop the `perennial up` that runs on this state, wherever it was started."""
    shop = open_workshop(settings_of(context))
    pid = running_pid(shop)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        _wait_until_gone(shop, pid)
    if as_json:
        print_json({"stopped": pid is not None})
    else:
        say("stopped" if pid else f"nothing runs on {shop.settings.state}")


def _wait_until_gone(shop: Workshop, pid: int) -> None:
    until = time.monotonic() + STOP_S
    while running_pid(shop) == pid:
        if time.monotonic() > until:
            raise Unavailable(f"process {pid} did not stop within {STOP_S:.0f} s; look at its terminal")
        time.sleep(0.05)


def status(context: typer.Context, as_json: Json = False) -> None:
    """Say what serves, what waits to be learned, and what the worker does. Exit code 1 if no server runs."""
    shop = open_workshop(settings_of(context))
    found = described(shop, shop.memory_mb())
    if as_json:
        print_json(found)
    else:
        console.print(_drawn(found))
    if not found["server"]:
        raise typer.Exit(1)


def worker(context: typer.Context, as_json: Json = False) -> None:
    """Run the worker alone, beside a server that runs elsewhere, until Ctrl-C."""
    shop = open_workshop(settings_of(context))
    elsewhere = bool(shop.settings.server.url)
    if elsewhere:
        mend(shop)  # a server that is not ours to start finds what served, whole
    working = Worker(shop)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: working.stop())
    if as_json:
        print_json({"worker": os.getpid(), "state": str(shop.settings.state)})
    else:
        say(f"worker {os.getpid()} on {shop.settings.state}; Ctrl-C stops it")
    with watched(shop) if elsewhere else nullcontext():
        working.work()


def openai(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to bind.", show_default="server.host")] = None,
    port: Annotated[
        int | None, typer.Option(help="0 takes a free one.", show_default="server.openai_port")
    ] = None,
    as_json: Json = False,
) -> None:
    """Speak OpenAI's API for the services that write, beside a server that runs elsewhere, until Ctrl-C."""
    shop = open_workshop(settings_of(context))
    server = shop.settings.server
    listening = listen(host or server.host, "openai", server.openai_port if port is None else port)
    url = "http://{}:{}/v1".format(*listening.getsockname())
    if as_json:
        print_json({"openai": url})
    else:
        say(
            f"OpenAI's API for {', '.join(model.name for model in models(shop)) or 'no service yet'} at {url}"
        )
    answer(shop, listening)
