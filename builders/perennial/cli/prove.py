"""`demo`, `bench`, `config check`: what shows that it works, on this machine."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer

from perennial.cli.output import Json, console, print_json, settings_of
from perennial.errors import Unavailable

config_app = typer.Typer(help="Look at the settings.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.command()(demo)
    app.command()(bench)
    app.add_typer(config_app, name="config")


def demo(
    context: typer.Context,
    sample: Annotated[
        str,
        typer.Argument(
            help="Whose users: of sentiment (three new domains), conll (later news), topics (later posts), "
            "movies (later clicks) or chat (entries of a log)."
        ),
    ] = "sentiment",
    quick: Annotated[bool, typer.Option("--quick", help="The tests' short form.")] = False,
    as_json: Json = False,
) -> None:
    """Replay a sample's users against its first release, and draw what it learns."""
    raise typer.Exit(perf("demo").main(settings_of(context), sample, quick=quick, as_json=as_json))


def bench(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            help="engines, compress, gates, serve, curves, peers, swap, feedback, head, learn, encoder, "
            "rebuild, tag, embed, recommend, generate, taught or mixed."
        ),
    ],
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer requests, for a first look; goals stay.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure a promise and compare it with its goals; exit code 1 where one is not met."""
    raise typer.Exit(perf("benches").main(name, settings_of(context), quick=quick, as_json=as_json))


@config_app.command()
def check(context: typer.Context, as_json: Json = False) -> None:
    """Read the settings as every command would, and print them."""
    settings = settings_of(context)
    if as_json:
        print_json(settings.model_dump(mode="json"))
    else:
        console.print_json(settings.model_dump_json())


def perf(module: str) -> Any:
    """A module of the perf package, which comes with the extra `perf`."""
    try:
        return import_module(f"perennial_perf.{module}")
    except ModuleNotFoundError as error:
        raise Unavailable(f"{error.name} is not installed; pip install 'perennial[perf]'") from None
