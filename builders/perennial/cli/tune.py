"""`tune`: finds out by measuring how a service runs best on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perennial.cli.output import Json, settings_of
from perennial.cli.prove import perf
from perennial.cli.times import milliseconds
from perennial.config import FILE


def register(app: typer.Typer) -> None:
    app.command()(tune)


def tune(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="The service's name.")],
    p99: Annotated[
        float | None,
        typer.Option(
            parser=milliseconds,
            metavar="TIME",
            help="The longest p99 that will do, with the most clients, such as 20ms.",
            show_default="any",
        ),
    ] = None,
    clients: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Clients at once; give it several times.", show_default="1, 8 and 32"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure, and write no settings.")] = False,
    as_json: Json = False,
) -> None:
    """Search how a service runs best here, and write it to the settings with what was measured.

    The serving release is tried in servers of its own, under perf_analyzer and with its own texts, one
    setting after the other, each beside the best so far. Better is 3 % more requests/s with the most
    clients, or a 3 % shorter p50 with the fewest, that costs the other less than 3 %; a p99 within --p99
    comes first. What is better is measured once more beside the present settings. It takes some minutes of
    an idle machine.
    """
    file = (context.parent.params["config"] if context.parent else None) or FILE
    counts = sorted(set(clients or (1, 8, 32)))
    run = perf("tune").main
    run(settings_of(context), Path(file), service, counts, p99, dry_run=dry_run, as_json=as_json)
