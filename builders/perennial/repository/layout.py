"""Where a release is, in its bundle and in a model repository, and what its two JSON files say.

Release N of service S is version N of the models S_tokenizer, S_engine and S_postprocess, or of S_writer and
perhaps S_llm, and of their ensembles S and S_timed. Its bundle holds `manifest.json`, which describes and
hashes every file; each of its version folders holds `release.json`, which says what a stage needs and hashes
the files beside it. Leaves Triton's configs to `pbtxt`, and moving releases about to the publishers.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from perennial.errors import Broken, NotFound
from perennial.names import OWN_MODELS, SERVICE_NAME
from perennial.repository import durable
from perennial.types import Bundle, LlmName

Stage = Literal["tokenizer", "engine", "postprocess", "writer", "llm"]
STAGES: tuple[Stage, ...] = ("tokenizer", "engine", "postprocess")
LLM: Stage = "llm"
WRITER: Stage = "writer"
WRITING = (LLM, WRITER)
"""Of a service that answers in pieces: the model that writes for it, if another does, and its only stage."""

MANIFEST = "manifest.json"
RELEASE = "release.json"
WARMUP = "warmup.json"
CONFIG = "config.pbtxt"
ENSEMBLE, TIMED = "ensemble.pbtxt", "timed.pbtxt"
"""In the last stage's version folder: the ensembles' configs for this release, ready to be put in place."""


def stage_model(service: str, stage: Stage) -> str:
    return f"{service}_{stage}"


def stage_models(repository: Path, service: str) -> tuple[str, ...]:
    """Those that the service has there; of a service that is not there, what most have."""
    here = [stage for stage in WRITING if (repository / stage_model(service, stage)).is_dir()]
    stages = WRITING if LLM in here else here or STAGES
    return tuple(stage_model(service, stage) for stage in stages)


def other_stage_models(repository: Path, service: str) -> set[str]:
    """Those of the other kinds of service, which it may have had before."""
    every = {stage_model(service, stage) for stage in (*STAGES, *WRITING)}
    return every - {*stage_models(repository, service)}


def asked_model(repository: Path, service: str) -> str:
    """Of which the server counts every answer: of a service that writes clients may ask the stage itself."""
    *_, last = stage_models(repository, service)
    return last if last == stage_model(service, WRITER) else ensemble_model(service)


def ensemble_model(service: str) -> str:
    return service


def timed_model(service: str) -> str:
    """The ensemble of the same stages whose answers say where their time went."""
    return f"{service}_timed"


def ensemble_models(service: str) -> tuple[str, str]:
    return ensemble_model(service), timed_model(service)


def services(repository: Path) -> list[str]:
    """The services of which any stage's folder is there; models of other names are no concern of ours."""
    suffixes = tuple(f"_{stage}" for stage in get_args(Stage))
    folders = [path.name for path in repository.glob("*_*") if path.name.endswith(suffixes)]
    names = {name.rpartition("_")[0] for name in folders}
    return sorted(name for name in names if SERVICE_NAME.fullmatch(name))


def copy_own_models(repository: Path, target: Path) -> None:
    """The models that speak for the store, without what Python made of them."""
    for model in OWN_MODELS:
        shutil.copytree(repository / model, target / model, ignore=shutil.ignore_patterns("__pycache__"))


def releases_in(model: Path) -> list[int]:
    """The version numbers that a model's folder holds, ascending."""
    if not model.is_dir():
        return []
    return sorted(int(path.name) for path in model.iterdir() if is_version(path.name))


def is_version(name: str) -> bool:
    """Whether Triton takes a folder of this name for a version."""
    return name.isascii() and name.isdigit() and not name.startswith("0")


# --- bundles


def write_manifest(folder: Path, fields: Mapping[str, Any]) -> Bundle:
    """Hash every file of a finished bundle and describe it: the last thing written to it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    hashes = {path.relative_to(folder).as_posix(): durable.sha256(path) for path in paths}
    durable.sync_tree(folder)
    text = json.dumps({**fields, "files": hashes}, indent=2) + "\n"
    durable.replace_text(folder / MANIFEST, text, folder / f"{MANIFEST}.part")
    return read_bundle(folder)


def read_bundle(folder: Path) -> Bundle:
    path = folder / MANIFEST
    if not path.is_file():
        raise NotFound(f"{folder} holds no release: there is no {MANIFEST}")
    try:
        manifest = json.loads(path.read_text())
        return Bundle(manifest["service"], manifest["release"], folder, manifest)
    except (ValueError, KeyError, TypeError) as error:
        raise Broken(
            f"{path} is no manifest ({error!r}); move the folder away, and roll back or rebuild"
        ) from None


def verify_bundle(bundle: Bundle, names: Iterable[str] | None = None) -> None:
    """Raise `Broken` for the first file (of `names`, else of all) that is not what the manifest says."""
    hashes: Mapping[str, str] = bundle.manifest["files"]
    for name in hashes if names is None else names:
        if name not in hashes:
            raise Broken(f"release {bundle.release} of {bundle.service} has no file {name!r}; build it again")
    fault = _fault(bundle.folder, hashes if names is None else {name: hashes[name] for name in names})
    if fault:
        raise Broken(
            f"release {bundle.release} of {bundle.service} is not as it was built: {fault}; rebuild it"
        )


# --- version folders


@dataclass(frozen=True)
class Release:
    """What a stage's version folder says of itself. `file` is the engine's, which was built with
    `engine_options`; `files` maps names to SHA-256; `learned` are the numbers of the feedback rows that it
    learned beyond what its parent knew."""

    service: str
    release: int
    task: str
    engine: str
    file: str
    instances: int
    threads: int
    files: Mapping[str, str]
    alone_threads: int = 0
    shadow_share: float = 0.0
    shadow_texts: int = 500
    explore: float = 0.0
    recall: bool = True
    llm: LlmName = ""
    llm_options: Mapping[str, Any] = field(default_factory=dict)
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    learned: Sequence[int] = field(default_factory=list)


def write_release(folder: Path, release: Release) -> None:
    (folder / RELEASE).write_text(json.dumps(asdict(release), indent=2) + "\n")


def read_release(folder: Path) -> Release:
    try:
        return Release(**json.loads((folder / RELEASE).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise Broken(f"{folder / RELEASE} cannot be read ({error}); publish the release again") from None


def is_whole(version: Path) -> bool:
    """Whether all files of a version folder are there, by name: quick enough to ask at any time."""
    try:
        release = read_release(version)
    except Broken:
        return False
    return all((version / name).is_file() for name in release.files)


def fault_in(version: Path) -> str:
    """What is wrong with a version folder, each file hashed; empty where nothing is."""
    try:
        release = read_release(version)
    except Broken as error:
        return str(error)
    if str(release.release) != version.name:
        return f"{RELEASE} is of release {release.release}"
    return _fault(version, release.files)


def _fault(folder: Path, hashes: Mapping[str, str]) -> str:
    for name, digest in hashes.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if durable.sha256(folder / name) != digest:
            return f"{name} is not the file that was hashed"
    return ""
