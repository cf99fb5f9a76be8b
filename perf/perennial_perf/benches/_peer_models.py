"""The release as its peers load it: folders made once from its checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from perennial.jobs.workshop import codec_of, engine_of, trainable
from perennial.repository.layout import MANIFEST
from perennial.types import Bundle, Exported
from perennial_perf.benches._peers import Graph
from perennial_perf.benches._sandbox import say

_CODEC = ("tokenizer.json", "labels.json")


def folders(home: Path, bundle: Bundle) -> Mapping[Graph, Path]:
    """Each graph's folder below `home`, whole or not at all."""
    digest = sha256((bundle.folder / MANIFEST).read_bytes()).hexdigest()[:8]
    made = home / f"models-{digest}"
    if not made.exists():
        say("writing the release's network as its peers load it")
        with TemporaryDirectory(dir=home) as scratch:
            staged = Path(scratch, "staged")
            shutil.copytree(bundle.folder / "checkpoint", staged / "checkpoint")
            _write_graphs(bundle, staged)
            _write_stock(staged / "checkpoint", staged / "stock")
            staged.rename(made)
    return {
        "checkpoint": made / "checkpoint",
        "fp32": made / "fp32",
        "int8": made / "int8",
        "stock": made / "stock",
    }


def _write_graphs(bundle: Bundle, folder: Path) -> None:
    """Both precisions, by our own export and quantiser: the int8 graph is the release's, byte for byte."""
    manifest = bundle.manifest
    task, engine = trainable(manifest["task"]), engine_of("onnxruntime")
    with TemporaryDirectory(dir=folder) as scratch:
        task.export(task.load(folder / "checkpoint", manifest["labels"]), Path(scratch))
        exported = Exported(Path(scratch), (), codec_of(manifest["task"], bundle.folder).longest)
        for precision in ("fp32", "int8"):
            engine.build(exported, folder / precision, precision)
            for name in _CODEC:
                shutil.copy(bundle.folder / name, folder / precision / name)


def _write_stock(checkpoint: Path, folder: Path) -> None:
    """A classifier of transformers' own on the same encoder: the same work, with a head of random weights."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    AutoModelForSequenceClassification.from_pretrained(checkpoint).save_pretrained(folder)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(folder)
