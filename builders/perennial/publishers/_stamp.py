"""What a release is in a repository: the files of its version folders, and the configs of its models."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from perennial import plugins
from perennial.protocols import Engine
from perennial.repository.durable import sync_tree
from perennial.repository.layout import (
    ENSEMBLE,
    TIMED,
    WARMUP,
    Release,
    Stage,
    stage_model,
    verify_bundle,
    write_release,
)
from perennial.repository.llm import BACKENDS, CHECKPOINT
from perennial.repository.pbtxt import EnginePlan, ensemble_config, llm_config, stage_configs
from perennial.shapes import buckets
from perennial.task_protocol import Codec
from perennial.types import Bundle, Placement, text_tensor

_TOLD = ("service", "release", "task", "engine", "file")
_PLACED = (
    *("instances", "threads", "alone_threads", "shadow_share", "shadow_texts", "explore", "recall", "llm"),
    "llm_options",
)

BLOCKER = "__pycache__"
"""An empty file where Python would make a folder for bytecode. Triton initialises a serving version again at
the next load once anything in its folder is newer, and the stub writes bytecode whatever it is told; to
compile beforehand would satisfy this machine's Python only, not the container's."""


@dataclass(frozen=True)
class VersionFolder:
    """What a version folder of a stage holds: copies of the bundle's files, texts, and release.json.

    Copies, not hard links: Triton takes a file for changed when a link to it comes or goes (ctime), and would
    initialise a release that serves when its bundle, or a job's folder, is tidied up.
    """

    bundle: Bundle
    copied: tuple[str, ...]
    texts: Mapping[str, str]
    release: Release

    def is_of_bundle(self, release: Release) -> bool:
        """Whether `release` was made from the same files, if perhaps from fewer, or by another version of
        Perennial."""
        own = self.release.files
        return all(release.files.get(name, own[name]) == own[name] for name in self.copied)

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        for name in self.copied:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.bundle.folder / name, folder / name)
        for name, text in self.texts.items():
            (folder / name).write_text(text)
        (folder / BLOCKER).touch()
        write_release(folder, self.release)
        sync_tree(folder)


@dataclass(frozen=True)
class Stamp:
    """A bundle as it is loaded in one place: each stage's config and version folder."""

    configs: Mapping[Stage, str]
    versions: Mapping[Stage, VersionFolder]


def stamp(bundle: Bundle, placement: Placement, repository: Path) -> Stamp:
    """Raises `Broken` where a file that is served is not the one that the bundle's manifest hashed."""
    manifest = bundle.manifest
    codec_class: type[Codec] = plugins.get(f"tasks/{manifest['task']}", "codec")
    verify_bundle(bundle, [*codec_class.FILES, WARMUP, manifest["file"]])
    codec = codec_class(bundle.folder)
    if not codec.signature.streams:
        placement = replace(placement, llm="", llm_options={})
    plan = _plan(bundle, codec, placement)
    processes: dict[Stage, int] = {
        "tokenizer": placement.tokenizers,
        "postprocess": placement.postprocesses,
    }
    ensemble = partial(ensemble_config, bundle.service, bundle.release, codec.signature, plan)
    ensembles = {ENSEMBLE: ensemble(), TIMED: ensemble(timed=True)}
    version = partial(_version, bundle, placement)
    configs = stage_configs(bundle.service, codec.signature, plan, processes)
    everything = (*codec.FILES, WARMUP, manifest["file"])
    if placement.llm:
        checkpoint = tuple(name for name in manifest["files"] if name.startswith(f"{CHECKPOINT}/"))
        verify_bundle(bundle, checkpoint)
        model = repository / stage_model(bundle.service, "llm")
        told = BACKENDS[placement.llm].texts(model / str(bundle.release), placement.llm_options)
        return Stamp(
            {"llm": llm_config(bundle.service, placement.llm), **configs},
            {
                "llm": version(checkpoint, told),
                "writer": version((*codec.FILES, WARMUP), {**_runs("Writer"), **ensembles}),
            },
        )
    if codec.signature.streams:
        return Stamp(configs, {"writer": version(everything, {**_runs("Writer"), **ensembles})})
    return Stamp(
        configs,
        {
            "tokenizer": version((*codec.FILES, WARMUP), _runs("Tokenizer")),
            "engine": version(everything, _runs("Engine")),
            "postprocess": version(codec.FILES, {**_runs("Postprocess"), **ensembles}),
        },
    )


def _runs(stage_class: str) -> dict[str, str]:
    return {"model.py": f"from perennial.serve import {stage_class} as TritonPythonModel\n"}


def _plan(bundle: Bundle, codec: Codec, placement: Placement) -> EnginePlan:
    manifest = bundle.manifest
    engine: Engine = plugins.get("engines", manifest["engine"])(**manifest.get("engine_options", {}))
    texts = json.loads((bundle.folder / WARMUP).read_text())
    asked = codec.signature.request[0].name
    (encoded,) = codec.encode([{asked: text_tensor(texts)}])
    longest = max(encoded[spec.name].shape[-1] for spec in codec.signature.engine_in)
    backend = engine.triton(placement.runtime, placement.threads)
    return EnginePlan(backend, placement.instances, buckets(longest))


def _version(
    bundle: Bundle, placement: Placement, copied: tuple[str, ...], texts: Mapping[str, str]
) -> VersionFolder:
    manifest = bundle.manifest
    hashes = {name: manifest["files"][name] for name in copied}
    hashes.update({name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()})
    told = {key: manifest[key] for key in _TOLD} | {key: getattr(placement, key) for key in _PLACED}
    options, learned = manifest.get("engine_options", {}), manifest["lineage"]["feedback_rows"]
    release = Release(**told, files=hashes, engine_options=options, learned=learned)
    return VersionFolder(bundle, copied, texts, release)
