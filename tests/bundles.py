"""Releases small enough to publish by the dozen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from perennial import plugins
from perennial.pipeline import engine_inputs
from perennial.repository.layout import WARMUP, write_manifest
from perennial.tasks.classify.codec import ClassifyCodec
from perennial.types import Bundle, Exported
from tiny import LABELS, tiny_chat, tiny_codec, tiny_examples


def fake_bundle(
    folder: Path, release: int, service: str = "mood", labels: tuple[str, ...] = LABELS
) -> Bundle:
    """A release whose engine file no engine opens, for those who only move it about."""
    tiny_codec(folder, labels)
    (folder / "model.onnx").write_bytes(f"engine of release {release}".encode() * 100)
    return _described(folder, release, service)


def fake_writer(folder: Path, release: int) -> Bundle:
    """As `fake_bundle`, of a service that writes."""
    tiny_chat(folder)
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint/config.json").write_text("{}")
    (folder / "model.onnx").write_bytes(f"engine of release {release}".encode() * 100)
    (folder / WARMUP).write_text(json.dumps(["hello"]))
    told = {"task": "generate", "engine": "genai", "file": "model.onnx", "lineage": {"feedback_rows": []}}
    return write_manifest(folder, {"service": "mood", "release": release, "labels": [], **told})


def real_bundle(
    made: Path, folder: Path, release: int, service: str = "mood", engine: str = "onnxruntime"
) -> Bundle:
    """A release that serves, of what `tiny.tiny_release` made."""
    folder.mkdir(parents=True)
    for name in ClassifyCodec.FILES:
        shutil.copy2(made / name, folder)
    texts = [example.text for example in tiny_examples(7)]
    codec = ClassifyCodec(made)
    exported = Exported(made, engine_inputs(codec, texts), codec.longest)
    built = plugins.get("engines", engine)().build(exported, folder, "fp32")
    return _described(folder, release, service, engine=engine, file=built.name)


def _described(folder: Path, release: int, service: str, **engine: str) -> Bundle:
    (folder / WARMUP).write_text(json.dumps([example.text for example in tiny_examples(7)]))
    fields = {
        "service": service,
        "release": release,
        "task": "classify",
        "engine": "onnxruntime",
        "file": "model.onnx",
        "precision": "fp32",
        "lineage": {"feedback_rows": []},
        "labels": json.loads((folder / "labels.json").read_text())["labels"],
        **engine,
    }
    return write_manifest(folder, fields)
