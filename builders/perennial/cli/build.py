"""`build`: how a service comes to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from perennial import plugins
from perennial.cli.learn import enqueue_as_asked, finish
from perennial.cli.output import Json, settings_of, teller
from perennial.engine_options import AUTO
from perennial.errors import BadRequest, NotFound
from perennial.jobs.data import file_digest, read_documents, read_users_file
from perennial.jobs.workshop import Workshop, open_workshop
from perennial.names import service_name
from perennial.protocols import Sample
from perennial.types import Job


def register(app: typer.Typer) -> None:
    app.command()(build)


def build(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="Name of the service, such as 'sentiment'.")],
    start: Annotated[
        str,
        typer.Option(
            "--from",
            help="Hugging Face folder or hub id: a classifier, an encoder or a language model (safetensors).",
            show_default="of the task generate: SmolLM2-135M-Instruct, which a package has",
        ),
    ] = "",
    data: Annotated[
        Path | None,
        typer.Option(
            help='JSONL file of {"text", "label"}.',
            show_default="a classifier begins as it is, and feedback moves it",
        ),
    ] = None,
    task: Annotated[
        str, typer.Option(help="Kind of work: classify, embed, generate, recommend or tag.")
    ] = "classify",
    documents: Annotated[
        Path | None,
        typer.Option(
            help='JSONL file of {"id", "text"}: what a service of the task embed finds.',
            show_default="those of the serving release, if any",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="What serves it: a name, or 'auto', which builds and measures every engine that is here and "
            "keeps the quickest that passes the gates.",
            show_default="the settings', else the serving release's, else onnxruntime",
        ),
    ] = "",
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="A label that no text of the data has: users' feedback will teach it. May be given again."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build release 1 (or the next) of a service from your own model and data, and promote it. Without --data
    your classifier is release 1 as it is."""
    try:
        service_name(service)
    except ValueError as error:
        raise BadRequest(f"{service!r} cannot be built: {error}") from None
    known = plugins.labels_of(task)
    if engine not in ("", AUTO):
        plugins.get("engines", engine)
    if not all(one.strip() for one in label or ()):
        raise BadRequest("a --label must not be empty; name it, or leave it out")
    if data:
        read_users_file(data, known)
    if label and known.of_documents:
        raise BadRequest(f"a service of the task {task} tells no labels apart; leave --label out")
    if documents:
        if not known.of_documents:
            raise BadRequest(f"a service of the task {task} finds no --documents; leave them out")
        read_documents(documents)
    if not (start or known.writes):
        raise BadRequest(
            f"a service of the task {task} begins with a model of yours; give its folder as --from"
        )
    shop = open_workshop(settings_of(context))
    folder = checkpoint_folder(start) if start else _model_of_the_sample(shop, task, teller(as_json))
    job = enqueue_build(shop, service, task, folder, data, engine, label or (), documents=documents)
    finish(shop, job, as_json)


def _model_of_the_sample(shop: Workshop, task: str, tell: Callable[[str], None]) -> Path:
    """Of this task, for who has none of his own."""
    samples = (
        plugins.get("samples", name)(shop.state.folder("samples")) for name in plugins.names("samples")
    )
    sample: Sample = next(one for one in samples if one.task == task)
    sample.fetch(tell)
    return sample.encoder()


def checkpoint_folder(start: str) -> Path:
    """A Hugging Face folder as it is, or the folder that a hub id was downloaded to."""
    if Path(start).is_dir():
        return Path(start)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(start, allow_patterns=["*.json", "*.txt", "*.safetensors"]))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise NotFound(f"{start!r} is neither a folder nor a model that the hub gives: {reason}") from None


def enqueue_build(
    shop: Workshop,
    service: str,
    task: str,
    start: Path,
    data: Path | None,
    engine: str = "",
    labels: Sequence[str] = (),
    documents: Path | None = None,
) -> Job:
    """The build that is asked for, begun already where it is; an open one of anything else is cancelled."""
    payload = {
        "task": task,
        "from": str(start.resolve()),
        "data": str(data.resolve()) if data else "",
        "documents": str(documents.resolve()) if documents else "",
        # a person who mends a file wants another build
        "sha256": file_digest([file for file in (data, documents) if file]),
        "engine": engine,
        "labels": sorted(labels),
    }
    return enqueue_as_asked(shop, service, "build", f"asked: {start}", payload)
