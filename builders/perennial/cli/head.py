"""`head`, `why`, `forget`: what feedback moved between releases, and how it is looked at and taken back."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime
from typing import Annotated, Any

import typer

from perennial.cli.output import Json, console, print_json, say, settings_of, table
from perennial.errors import BadRequest
from perennial.jobs import forget as forgetting
from perennial.jobs import shadow
from perennial.jobs.due import NEWEST_ROWS
from perennial.jobs.learn import why as causes_of
from perennial.jobs.workshop import Workshop, known_service, open_workshop
from perennial.plugins import labels_of
from perennial.types import NO_END, Bundle

Service = Annotated[str, typer.Argument(help="The service's name.")]
head = typer.Typer(
    help="Look at, freeze or reset what feedback moved since the release.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    app.add_typer(head, name="head")
    app.command()(why)
    app.command()(forget)


@head.command()
def show(context: typer.Context, service: Service, as_json: Json = False) -> None:
    """Say what the head is made of, and what it costs or gains on the golden set."""
    shop = open_workshop(settings_of(context))
    found = _described(shop, service)
    if as_json:
        print_json(found)
        return
    if found["changed_at"]:
        found["changed_at"] = datetime.fromtimestamp(found["changed_at"]).isoformat(" ", "seconds")
    cells = [(name.replace("_", " "), _shown(value)) for name, value in found.items()]
    console.print(table(f"head of {service}", ("", ""), cells))


@head.command()
def freeze(
    context: typer.Context,
    service: Service,
    undo: Annotated[
        bool, typer.Option("--undo", help="Let it learn again, also what came meanwhile.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let the head learn nothing newer, over promotions too: feedback is kept for later."""
    shop = open_workshop(settings_of(context))
    known_service(shop, service)
    shop.store.order_head(service, until_row=NO_END if undo else shop.store.newest_row(service))
    _tell(shop, service, as_json, "learns again" if undo else "stands still")


@head.command()
def reset(context: typer.Context, service: Service, as_json: Json = False) -> None:
    """Answer as the release does, until the next feedback (a frozen head until it may learn again). Rebuilds
    learn what there was all the same."""
    shop = open_workshop(settings_of(context))
    known_service(shop, service)
    since = shop.store.newest_row(service)
    shop.store.order_head(service, since_row=since)
    _tell(shop, service, as_json, f"begins anew after row {since}, within a second where a worker runs")


def why(
    context: typer.Context,
    service: Service,
    text: Annotated[str, typer.Argument(help="The text whose answer is to be explained.")],
    most: Annotated[int, typer.Option(help="How many rows to show.", min=1)] = 8,
    as_json: Json = False,
) -> None:
    """Show the corrections and the taught rows that push an answer most, either way."""
    found = causes_of(open_workshop(settings_of(context)), service, text, most)
    if as_json:
        print_json(found)
        return
    say(
        f"{found['label']} over {found['over']}; "
        f"release {found['release']} alone says {found['release_alone']}"
    )
    for kind, place in (("corrections", "row"), ("taught", "line")):
        rows = [
            (f"{cause['push']:+.4f}", *map(cause.get, (place, "label", "source", "text")))
            for cause in found[kind]
        ]
        if rows:
            console.print(table(kind, ("push", place, "label", "source", "text"), rows))


def forget(
    context: typer.Context,
    service: Service,
    row: Annotated[list[int] | None, typer.Option(help="A row's number, as `why` shows it.")] = None,
    source: Annotated[str | None, typer.Option(help="All rows of this source.")] = None,
    older: Annotated[
        float | None, typer.Option("--older-than", min=0.0, metavar="DAYS", help="All rows older than that.")
    ] = None,
    requests: Annotated[
        bool, typer.Option("--requests", help="All texts that were kept of requests (they name no source).")
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete feedback: its rows, what heads learned of them, and what releases remember of them."""
    if not row and source is None and older is None and not requests:
        raise BadRequest(
            "name what to forget: --row N (again and again), --source ID, --older-than DAYS, or --requests"
        )
    shop = open_workshop(settings_of(context))
    known_service(shop, service)
    before = None if older is None else time.time() - older * forgetting.DAY_S
    found = forgetting.forget(shop, service, row, source, before)
    found["requests"] = shadow.forget(shop, service) if requests else 0
    if as_json:
        print_json(found)
        return
    if requests:
        say(f"{found['requests']} texts that {service} was asked are gone, and what reports showed of them")
    if row or source is not None or older is not None:
        say(f"{len(found['rows'])} rows of {service} are gone")
    if trained := found["releases_trained_on_them"]:
        named = ", ".join(map(str, trained))
        say(f"releases trained on them: {named}; `perennial rebuild {service}` makes one without them")


def _described(shop: Workshop, service: str) -> dict[str, Any]:
    bundle, orders = known_service(shop, service), shop.store.head_orders(service)
    known = shop.store.head(service, bundle.release)
    made_of = shop.store.numbered(
        service, [kept.row for kept in shop.store.head_rows(service, bundle.release)]
    )
    counted = [row for row in made_of if row.row > orders.since_row]
    figures, kind = known.figures if known else {}, labels_of(bundle.manifest["task"]).kind
    return {
        "release": bundle.release,
        "version": known.version if known else 0,
        "rows": figures.get("rows", 0),
        "hold": figures.get("hold"),
        "golden": figures.get("golden"),
        "right_before_learned": _prequential(shop, bundle),
        "by_label": dict(Counter(kind(row.label) for row in counted).most_common()),
        "by_source": dict(Counter(row.source or "(anonymous)" for row in counted).most_common(10)),
        "frozen": orders.frozen,
        "since_row": orders.since_row,
        "changed_at": known.created_at if known else None,
        "lag_s": figures.get("lag_s"),
    }


def _prequential(shop: Workshop, bundle: Bundle) -> dict[str, Any] | None:
    """How often the newest feedback was answered as it says before it was learned."""
    right = shop.store.prequential(bundle.service, bundle.release, NEWEST_ROWS)
    return {"rows": len(right), "accuracy": round(sum(right) / len(right), 4)} if right else None


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_shown(inner)}" for key, inner in value.items())
    return "" if value is None else str(value)


def _tell(shop: Workshop, service: str, as_json: bool, what: str) -> None:
    if as_json:
        print_json(_described(shop, service))
    else:
        say(f"the head of {service} {what}")
