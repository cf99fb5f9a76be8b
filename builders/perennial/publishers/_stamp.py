"""What a release is in a repository: the files of its version folders, and the configs of its models."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from perennial import plugins
from perennial.protocols import Engine
from perennial.repository.durable import sync_tree
from perennial.repository.layout import ENSEMBLE, TIMED, WARMUP, Release, Stage, verify_bundle, write_release
from perennial.repository.pbtxt import EnginePlan, ensemble_config, stage_configs
from perennial.shapes import buckets
from perennial.task_protocol import Codec
from perennial.types import Bundle, Placement, text_tensor

_TOLD = ("service", "release", "task", "engine", "file")
_PLACED = ("instances", "threads", "alone_threads", "shadow_share", "shadow_texts", "explore", "recall")

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
        """Whether `release` was made from the same files, if perhaps by another version of Perennial."""
        return all(release.files.get(name) == self.release.files[name] for name in self.copied)

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        for name in self.copied:
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


def stamp(bundle: Bundle, placement: Placement) -> Stamp:
    """Raises `Broken` where a file that is served is not the one that the bundle's manifest hashed."""
    manifest = bundle.manifest
    codec_class: type[Codec] = plugins.get(f"tasks/{manifest['task']}", "codec")
    verify_bundle(bundle, [*codec_class.FILES, WARMUP, manifest["file"]])
    codec = codec_class(bundle.folder)
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
    if codec.signature.streams:
        return Stamp(configs, {"writer": version("Writer", everything, ensembles)})
    return Stamp(
        configs,
        {
            "tokenizer": version("Tokenizer", (*codec.FILES, WARMUP), ensembles),
            "engine": version("Engine", everything, {}),
            "postprocess": version("Postprocess", codec.FILES, {}),
        },
    )


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
    bundle: Bundle, placement: Placement, stage_class: str, copied: tuple[str, ...], texts: Mapping[str, str]
) -> VersionFolder:
    manifest = bundle.manifest
    texts = {"model.py": f"from perennial.serve import {stage_class} as TritonPythonModel\n", **texts}
    hashes = {name: manifest["files"][name] for name in copied}
    hashes.update({name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()})
    told = {key: manifest[key] for key in _TOLD} | {key: getattr(placement, key) for key in _PLACED}
    options, learned = manifest.get("engine_options", {}), manifest["lineage"]["feedback_rows"]
    release = Release(**told, files=hashes, engine_options=options, learned=learned)
    return VersionFolder(bundle, copied, texts, release)
