"""The command line: `perennial --help`. One module for each of a user's occasions; `main` is the entry."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from perennial.cli import ask, build, compress, head, learn, prove, serve, tune
from perennial.cli.output import fail
from perennial.config import load
from perennial.errors import ConfigError, PerennialError
from perennial_client import PerennialClientError

app = typer.Typer(
    name="perennial",
    help="A Triton Inference Server model repository that keeps learning.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (serve, ask, build, learn, head, compress, tune, prove):
    module.register(app)


@app.callback()
def configure(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="Settings file.", show_default="perennial.toml")] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="Folder of store, bundles, jobs, logs and reports.", show_default="var"),
    ] = None,
    repository: Annotated[
        Path | None, typer.Option(help="Folder that Triton serves.", show_default="model_repository")
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(help="What loads releases: embedded or container.", show_default="embedded"),
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option(help="In the container, what writes: vllm or trtllm.", show_default="the engine"),
    ] = None,
) -> None:
    """Settings come from perennial.toml, then PERENNIAL_… variables, then these options."""
    context.obj = load(config, state=state, repository=repository, runtime=runtime, llm=llm)


def main() -> None:
    """Run the command line: exit code 1 for what failed, 2 for what was asked wrongly."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app()
    except ConfigError as error:
        fail(error, code=2)
    except (PerennialError, PerennialClientError) as error:
        fail(error, code=1)
    except BrokenPipeError:
        sys.exit(1)
