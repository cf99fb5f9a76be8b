"""`predict` and `feedback`: what an application does, from a terminal, through the client."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from perennial.cli.output import Json, print_json, say, settings_of
from perennial.config import Settings
from perennial.errors import BadRequest, Unavailable
from perennial.jobs.data import read_documents
from perennial.ranking.context import parsed as context_of
from perennial.server.runinfo import find_running
from perennial_client import Client, Feedback, Options

WRITE_S = 120.0
INDEX_S = 600.0
"""For a file of any length."""
Url = Annotated[
    str | None,
    typer.Option(help="http://… or grpc://… of a server.", show_default="the one of `perennial up`"),
]


def register(app: typer.Typer) -> None:
    app.command()(predict)
    app.command()(tag)
    app.command()(search)
    app.command()(embed)
    app.command()(recommend)
    app.command()(generate)
    app.command()(index)
    app.command()(feedback)


def predict(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="The service to ask.")],
    texts: Annotated[list[str], typer.Argument(help="One or more texts.")],
    top_k: Annotated[int | None, typer.Option(help="How many labels to show.")] = None,
    timings: Annotated[bool, typer.Option("--timings", help="Show where the time went.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Ask a service."""
    with Client(url or _running(settings_of(context))) as client:
        answers = client.predict(service, texts, top_k=top_k, timings=timings)
    if as_json:
        print_json([asdict(answer) for answer in answers])
        return
    for answer in answers:
        top = ", ".join(f"{label} {score:.3f}" for label, score in answer.top)
        say(f"{answer.label or '(abstained)'} {answer.score:.3f}  {answer.text!r}")
        say(f"    {top if top_k else ''}  id {answer.prediction_id}".replace("      id", "    id"))
        if answer.timings:
            parts = asdict(answer.timings).items()
            say("    " + ", ".join(f"{part} {ms:.2f} ms" for part, ms in parts))


def tag(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="The service to ask, of the task tag.")],
    texts: Annotated[list[str], typer.Argument(help="One or more texts.")],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Ask a service that tags for the spans of texts."""
    with Client(url or _running(settings_of(context))) as client:
        answers = client.tag(service, texts)
    if as_json:
        print_json([asdict(answer) for answer in answers])
        return
    for answer in answers:
        say(repr(answer.text))
        for span in answer.spans:
            words = answer.text[span.start : span.end]
            say(f"    {span.label} {span.score:.3f}  {words!r} at {span.start}-{span.end}")
        say(f"    id {answer.prediction_id}")


def search(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="The service to ask, of the task embed.")],
    texts: Annotated[list[str], typer.Argument(help="One or more texts.")],
    top_k: Annotated[int, typer.Option(help="How many documents to show.")] = 10,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Ask a service that embeds for the documents that are nearest to texts."""
    with Client(url or _running(settings_of(context))) as client:
        answers = client.search(service, texts, top_k)
    if as_json:
        print_json([asdict(answer) for answer in answers])
        return
    for answer in answers:
        say(repr(answer.text))
        for hit in answer.hits:
            say(f"    {hit.score:.3f}  {hit.document}")
        say(f"    id {answer.prediction_id}")


def embed(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="The service to ask, of the task embed.")],
    texts: Annotated[list[str], typer.Argument(help="One or more texts.")],
    dimensions: Annotated[
        int | None, typer.Option(help="How many numbers.", show_default="all that the encoder has")
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Ask a service that embeds for the vectors of texts, a line of JSON each."""
    with Client(url or _running(settings_of(context))) as client:
        answers = client.embed(service, texts, dimensions)
    if as_json:
        print_json([asdict(answer) for answer in answers])
        return
    for answer in answers:
        say(json.dumps([round(number, 6) for number in answer.vector]))


def recommend(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="The service to ask, of the task recommend.")],
    user: Annotated[str, typer.Argument(help="The id of a user, or JSON of user and items.")],
    items: Annotated[
        list[str] | None, typer.Argument(help="Ids of items that he took, the newest last.")
    ] = None,
    top_k: Annotated[int, typer.Option(help="How many items to show.")] = 20,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Ask a service that recommends what a user may want next."""
    if user.lstrip().startswith("{"):
        asked = context_of(user)
        user, items = asked.user, [*asked.items, *(items or ())]
    with Client(url or _running(settings_of(context))) as client:
        answer = client.recommend(service, user, items or (), top_k)
    if as_json:
        print_json(asdict(answer))
        return
    say(repr(answer.text))
    for one in answer.suggestions:
        say(
            f"    {one.score:.3f}  {one.item}"
            + (f"  (shown with {one.propensity:.3g})" if one.propensity < 1 else "")
        )
    say(f"    id {answer.prediction_id}")


def generate(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="The service to ask, of the task generate.")],
    text: Annotated[str, typer.Argument(help="What a user says, or JSON of messages and options.")],
    raw: Annotated[
        bool, typer.Option("--raw", help="Go on with the text as it stands, without a chat template.")
    ] = False,
    system: Annotated[str, typer.Option(help="What the model is told before the user speaks.")] = "",
    max_tokens: Annotated[int | None, typer.Option(help="The most tokens of an answer.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="From 0, the likeliest token each time, to 2.", show_default="0")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same one draws the same tokens.")] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="A string that ends the answer. May be given again.")
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(help="A file of a JSON schema, which the answer keeps to.", exists=True, dir_okay=False),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Ask a service that generates, and read the answer as it is written."""
    told = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "seed": seed,
        "stop": stop,
        "schema": None if schema is None else _json(schema),
    }
    options = cast(Options, {name: value for name, value in told.items() if value is not None})
    asked = [{"role": "system", "content": system}, {"role": "user", "content": text}] if system else text
    with Client(url or _running(settings_of(context)), timeout=WRITE_S) as client:
        if as_json:
            print_json(asdict(client.generate(service, asked, raw=raw, **options)))
            return
        for piece in client.generate(service, asked, stream=True, raw=raw, **options):
            typer.echo(piece.completion, nl=False)
    say("")
    say(
        f"    {piece.finish_reason}, {piece.prompt_tokens} + {piece.completion_tokens} tokens, "
        f"score {piece.score:.3f}, id {piece.prediction_id}"
    )
    if piece.based_on:
        say(f"    based on what was said in feedback: {', '.join(piece.based_on)}")


def index(
    context: typer.Context,
    service: Annotated[
        str, typer.Argument(help="The service that is to find them, of the task embed or recommend.")
    ],
    documents: Annotated[Path | None, typer.Argument(help='JSONL file of {"id", "text"}.')] = None,
    remove: Annotated[list[str] | None, typer.Option(help="The id of one to be found no longer.")] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Have a service find documents from now on, or no longer. They are durable once this returns."""
    changes: dict[str, str | None] = {**(read_documents(documents) if documents else {})}
    changes |= dict.fromkeys(remove or ())
    if not changes:
        raise BadRequest("there is nothing to index; give a file of documents, or --remove an id")
    with Client(url or _running(settings_of(context)), timeout=INDEX_S) as client:
        client.index(service, changes)
    kept = sum(text is not None for text in changes.values())
    if as_json:
        print_json({"indexed": kept, "removed": len(changes) - kept})
    else:
        say(f"{kept} documents kept, {len(changes) - kept} taken out")


def feedback(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="The service that answered.")],
    text: Annotated[str, typer.Argument(help="The text that was asked.")],
    label: Annotated[
        str,
        typer.Argument(
            help="The label that it should have had; of a service that tags JSON of its spans, or of one; of "
            "one that embeds or recommends the id of what is relevant, or JSON of what is said of several."
        ),
    ],
    prediction_id: Annotated[str | None, typer.Option("--id", help="The answer's prediction id.")] = None,
    source: Annotated[str, typer.Option(help="Who says so.")] = "",
    key: Annotated[str | None, typer.Option(help="Idempotency key.", show_default="a new one")] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Send one correction; it is durable once the receipt is printed."""
    with Client(url or _running(settings_of(context))) as client:
        row = Feedback.on(service, label, text=text, source=source, key=key)
        (receipt,) = client.feedback_many([replace(row, prediction_id=prediction_id or "")])
    if as_json:
        print_json({"receipt": receipt})
    else:
        say(receipt)


def _running(settings: Settings) -> str:
    if settings.server.url:
        return settings.server.url
    running = find_running(settings.folder.folder("run"))
    if running is None:
        raise Unavailable(
            f"no server runs on the state {settings.state}; start one with `perennial up`, or give --url"
        )
    return running.grpc_url


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise BadRequest(f"{str(file)!r} is no JSON: {error}") from None
