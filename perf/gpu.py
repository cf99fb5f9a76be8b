"""Builds every engine that a GPU has here, times it beside the limits of the chip, and writes a table.

    python perf/gpu.py [--out FOLDER] [--quick] [--device cpu]

MiniLM-L6 and an encoder of BERT-base's size with random weights, 1 to 128 rows of 32 to 384 tokens, from
arrays to arrays through the engines' own sessions, as the engine stage calls them. Knows which engines and
options stand on which device; leaves the limits to `roofline` and `peaks`.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from perennial import machine, plugins
from perennial.cli.output import Json, fail, print_json
from perennial.config import Settings, load
from perennial.errors import PerennialError, Unavailable
from perennial.jobs.engines import unusable
from perennial.jobs.workshop import codec_of, cores, engine_of, trainable
from perennial.pipeline import engine_inputs
from perennial.protocols import Engine, Sample, Session
from perennial.shapes import MAX_BATCH_SIZE
from perennial.types import Exported, Tensors
from perennial_perf.report import Draft, Report
from perennial_perf.roofline import Chip, Encoder, number_format

ENGINES: Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]] = {
    "gpu": (
        ("tensorrt", {}),
        ("tensorrt_rtx", {}),
        ("torch", {}),
        ("torch", {"cuda_graphs": True}),
        ("onnxruntime", {"device": "cuda"}),
    ),
    "cpu": (("onnxruntime", {}), ("openvino", {}), ("torch", {})),
}
MINILM, BERT_BASE = Encoder("MiniLM-L6", 6, 384, 1536), Encoder("BERT-base", 12, 768, 3072)
ROWS, TOKENS = (1, 8, 32, 128), (32, 128, 384)
QUICK_ROWS, QUICK_TOKENS = (1, 8), (32, 128)
LABELS, TEXTS = ("no", "yes"), 100
RUNS, SECONDS = 50, 1.0
"""What is timed of a shape: so many runs, or those of so long and three at least."""
MOST_MS = 10_000.0
"""A shape whose limit is above this is left out: it is a processor's, and would take minutes."""

Device = Literal["gpu", "cpu"]
Row = dict[str, float]
stderr = Console(stderr=True)


def main(
    out: Annotated[
        Path | None, typer.Option(help="Where the table goes, as .md and .json.", show_default="var/reports")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="MiniLM and few shapes, for a first look.")] = False,
    device: Annotated[Device, typer.Option(help="What is timed; cpu: the processor's engines.")] = "gpu",
    as_json: Json = False,
) -> None:
    """Time every engine that is here beside the arithmetic and bandwidth limits of the chip."""
    try:
        settings = load()
        report = run(settings, device, quick)
        folder = out or settings.folder.folder("reports")
        folder.mkdir(parents=True, exist_ok=True)
        report.write(folder)
        (folder / f"{report.bench}.md").write_text(markdown(report))
    except PerennialError as error:
        fail(error, code=2)
    if as_json:
        print_json(report.as_dict())
    else:
        report.show(Console())


def run(settings: Settings, device: Device, quick: bool) -> Report:
    """Raises `Unavailable` where there is no GPU and one is asked for."""
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # torch's engine takes a GPU where it sees one
    elif reason := machine.gpu_missing():
        raise Unavailable(f"{reason}; `--device cpu` measures the processor instead")
    from perennial_perf import peaks  # torch: after the GPU is hidden

    draft, left_out = Draft(device), list[str]()
    here = list(usable(ENGINES[device], left_out))
    choices = [(label, engine, name) for label, engine in here for name in engine.precisions()]
    chip = peaks.measure(device, sorted({number_format(precision) for *_, precision in choices}))
    rows: dict[str, Row] = {f"peak, {name}": {"Tera/s": peak / 1e12} for name, peak in chip.peaks.items()}
    rows["peak, copy"] = {"GB/s": chip.bandwidth / 1e9}
    with TemporaryDirectory() as scratch:
        for encoder in (MINILM,) if quick else (MINILM, BERT_BASE):
            exported = export(settings, encoder, Path(scratch, encoder.name))
            for label, engine, precision in track(choices, encoder.name, console=stderr):
                name = f"{encoder.name} {label} {precision}"
                try:
                    session = opened(engine, exported, precision)
                    rows |= timed_shapes(session, name, chip, encoder, precision, quick)
                except PerennialError as error:
                    left_out.append(f"{name}: {error}")
    return draft.report(rows, [], [peaks.describe(device), *left_out])


def usable(
    engines: Sequence[tuple[str, Mapping[str, Any]]], left_out: list[str]
) -> Iterator[tuple[str, Engine]]:
    for name, options in engines:
        label = " ".join([name, *(f"{key}={value}" for key, value in options.items())])
        if reason := unusable(name, "classify", options):
            left_out.append(f"{label}: {reason}")
        else:
            yield label, engine_of(name, options)


def export(settings: Settings, encoder: Encoder, folder: Path) -> Exported:
    """The encoder with a classifier's head, and real texts to calibrate on."""
    sample: Sample = plugins.get("samples", "sentiment")(settings.folder.folder("samples"))
    sample.fetch(stderr.print)
    task = trainable("classify")
    folder.mkdir(parents=True)
    model = task.load(checkpoint(encoder, sample.encoder(), folder / "checkpoint"), LABELS)
    task.export(model, folder)
    task.write_codec(model, [], folder, 0.0)
    texts = [example.text for example in sample.data()[:TEXTS]]
    return Exported(folder, engine_inputs(codec_of("classify", folder), texts), max(TOKENS))


def checkpoint(encoder: Encoder, minilm: Path, folder: Path) -> Path:
    """MiniLM's folder itself, or one of the encoder's size with its tokenizer and random weights."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(minilm)
    if (config.num_hidden_layers, config.hidden_size) == (encoder.layers, encoder.hidden):
        return minilm
    shutil.copytree(minilm, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    config.update(
        {
            "num_hidden_layers": encoder.layers,
            "hidden_size": encoder.hidden,
            "intermediate_size": encoder.inner,
        }
    )
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


def opened(engine: Engine, exported: Exported, precision: str) -> Session:
    with TemporaryDirectory(dir=exported.folder) as folder:
        return engine.open(engine.build(exported, Path(folder), precision), cores())


def timed_shapes(
    session: Session, name: str, chip: Chip, encoder: Encoder, precision: str, quick: bool
) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for tokens in QUICK_TOKENS if quick else TOKENS:
        for rows in QUICK_ROWS if quick else ROWS:
            arithmetic, moving = chip.limits_ms(encoder, precision, rows, tokens)
            limit = max(arithmetic, moving)
            if limit < MOST_MS:
                took = timed(session, batches(rows, tokens))
                found[f"{name}, {rows} × {tokens}"] = {
                    "ms": took,
                    "rows/s": 1e3 * rows / took,
                    "arithmetic ms": arithmetic,
                    "bandwidth ms": moving,
                    "% of limit": 100 * limit / took,
                }
    session.close()
    return found


def batches(rows: int, tokens: int) -> list[Tensors]:
    """Full rows. More than a service's batch are several batches, one after the other."""
    sizes = [min(MAX_BATCH_SIZE, rows - start) for start in range(0, rows, MAX_BATCH_SIZE)]
    ids = [np.random.default_rng(0).integers(1000, 2000, (size, tokens)) for size in sizes]
    return [{"input_ids": some, "attention_mask": np.ones_like(some)} for some in ids]


def timed(session: Session, asked: Sequence[Tensors]) -> float:
    """The median milliseconds of all batches, after two rounds that do not count: they compile and record."""
    took: list[float] = []
    for _ in range(RUNS + 2):
        began = time.perf_counter()
        for tensors in asked:
            session.run(tensors)
        took.append(time.perf_counter() - began)
        if len(took) > 4 and sum(took[2:]) > SECONDS:
            break
    return 1e3 * median(took[2:])


def markdown(report: Report) -> str:
    """A table for each set of columns, and what was left out."""
    tables: dict[tuple[str, ...], list[str]] = {}
    for name, row in report.figures.items():
        assert isinstance(row, Mapping)
        head = tables.setdefault(tuple(row), [f"| | {' | '.join(row)} |", "| --- " * (len(row) + 1) + "|"])
        head.append(f"| {name} | {' | '.join(f'{value:.4g}' for value in row.values())} |")
    about = ", ".join(f"{key} {value}" for key, value in report.machine.items())
    notes = "".join(f"- {note}\n" for note in (*report.notes, about, f"commit {report.commit}"))
    return "\n\n".join("\n".join(lines) for lines in tables.values()) + f"\n\n{notes}"


if __name__ == "__main__":
    typer.run(main)
