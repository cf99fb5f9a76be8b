"""`compress`: smaller students of the serving release, what each is worth, and the best one into service."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from perennial import plugins
from perennial.cli.learn import Service, described, enqueue_as_asked, run_here_or_follow
from perennial.cli.output import Json, console, print_json, say, settings_of, table
from perennial.cli.times import milliseconds
from perennial.errors import NotFound
from perennial.jobs.choose import Rows, optimal
from perennial.jobs.data import file_digest, read_texts
from perennial.jobs.workshop import Workshop, known_service, open_workshop
from perennial.types import Job

COLUMNS = ("", "macro-F1", "points [95 %]", "p50 ms", "p99 ms", "texts/s", "MB", "RAM MB", "")


def register(app: typer.Typer) -> None:
    app.command()(compress)


def compress(
    context: typer.Context,
    service: Service,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            help="How to make students: distill, prune or sparsity, or one of its sizes, such as "
            "distill-third; may be given again.",
            show_default="all",
        ),
    ] = None,
    max_drop: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="Points of macro-F1 that a student may be behind, as measured on golden set and validation. "
            "Then the gates judge; that of quality allows so much, or `golden_margin` where it is more.",
        ),
    ] = 1.0,
    p99: Annotated[
        float | None,
        typer.Option(
            parser=milliseconds,
            metavar="TIME",
            help="The most, such as 5ms, that 99 of 100 texts may take, each alone in the engine.",
            show_default="any",
        ),
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(help='More texts to learn from, without labels: one a line, or JSONL of {"text"}.'),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure and draw, and put nothing into service.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Teach smaller networks to answer as the serving release does, and put the quickest that is good enough
    into service. Exit code 1 if none is."""
    shop = open_workshop(settings_of(context))
    known_service(shop, service)
    payload = {
        "recipes": asked_for(recipe or plugins.names("recipes")),
        "max_drop": max_drop,
        "p99_ms": p99,
        "texts": str(texts.resolve()) if texts else "",
        "sha256": file_digest([texts]) if texts and read_texts(texts) else "",
        "dry_run": dry_run,
    }
    job = enqueue_as_asked(shop, service, "compress", "asked", payload)
    run_here_or_follow(shop, job, quiet=as_json)
    tell(shop, shop.store.job(job.id), as_json)


def asked_for(recipes: list[str]) -> list[str]:
    """Recipes and single students, by name, each once; `NotFound` for any other."""
    for name in recipes:
        recipe, _, size = name.partition("-")
        sizes = plugins.get("recipes", recipe).sizes
        if size and size not in sizes:
            raise NotFound(f"{recipe} makes no student {size!r}; its sizes: {', '.join(sizes)}")
    return sorted(set(recipes))


def tell(shop: Workshop, done: Job, as_json: bool) -> None:
    """How the job ended, with what it measured; exit code 1 unless its release, or a dry run's, is good."""
    rows: Rows = done.steps.get("measure", {}).get("rows", {})
    report = {**described(done), "rows": rows, "optimal": optimal(rows)}
    drawn = _keep(shop, report) if rows else ""
    if as_json:
        print_json(report)
    else:
        if rows:
            console.print(pareto(done, rows))
            say(drawn)
        say(f"release {done.release} of {done.service}: {done.state} {done.detail}")
    if done.state != ("cancelled" if done.payload["dry_run"] else "kept"):
        raise typer.Exit(1)


def pareto(done: Job, rows: Rows) -> Table:
    """One row for what serves and for each student."""
    front, chosen = optimal(rows), done.steps.get("choose", {}).get("chosen")
    return table(
        done.service,
        COLUMNS,
        [
            (
                name,
                f"{row['macro_f1']:.3f}",
                f"{row['points']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]",
                *(f"{row[column]:.1f}" for column in ("p50_ms", "p99_ms")),
                *(f"{row[column]:.0f}" for column in ("texts_per_s", "file_mb", "memory_mb")),
                ", ".join(["Pareto"] * (name in front) + ["chosen"] * (name == chosen)),
            )
            for name, row in rows.items()
        ],
    )


def _keep(shop: Workshop, report: dict[str, Any]) -> str:
    """Write the report, and the picture where it can be drawn; a line that says where."""
    path = shop.state.folder("reports") / f"compress-{report['service']}.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    try:
        draw = import_module("perennial_perf.pareto").draw
    except ModuleNotFoundError as error:
        return f"{path}; no picture, for {error.name} is not installed: pip install 'perennial[perf]'"
    draw(
        report["rows"],
        report["optimal"],
        report["steps"].get("choose", {}).get("chosen"),
        path.with_suffix(".png"),
    )
    return f"{path} and {path.with_suffix('.png').name}"
