"""Claims about model repositories as a whole: the committed one, and what publishing makes of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from bundles import fake_bundle
from perennial.names import OWN_MODELS
from perennial.publishers.local import LocalPublisher
from perennial.types import Placement, Runtime

ROOT = Path(__file__).parents[2]


def published(folder: Path, runtime: Runtime) -> dict[str, bytes]:
    """Every file of a repository that holds one release for this runtime."""
    publisher = LocalPublisher(folder / "models", folder / "staging", folder / "quarantine")
    publisher.publish(fake_bundle(folder / "bundle", 1), Placement(runtime))
    publisher.point("mood", 1)
    models = folder / "models"
    return {str(path.relative_to(models)): path.read_bytes() for path in models.rglob("*") if path.is_file()}


def test_embedded_and_container_differ_in_what_the_engine_tells_only(tmp_path: Path) -> None:
    embedded, container = published(tmp_path / "one", "embedded"), published(tmp_path / "two", "container")
    assert set(embedded) == set(container)
    assert {name for name in embedded if embedded[name] != container[name]} == {
        "mood_engine/config.pbtxt",
        "mood_timed/config.pbtxt",
        "mood_postprocess/1/timed.pbtxt",
        "mood_postprocess/1/release.json",  # which hashes it
    }
    told, untold = (files["mood_timed/config.pbtxt"].decode() for files in (embedded, container))
    assert "RUN_MS" in told and "RUN_MS" not in untold


@pytest.mark.parametrize("runtime", ["embedded", "container"])
def test_every_config_is_of_the_model_whose_folder_it_is_in(tmp_path: Path, runtime: Runtime) -> None:
    configs = {
        name: text for name, text in published(tmp_path, runtime).items() if name.endswith("config.pbtxt")
    }
    assert len(configs) == 5
    for name, text in configs.items():
        config = text_format.Parse(text.decode(), ModelConfig())
        assert config.name == Path(name).parent.name
        assert config.max_batch_size > 0
        assert config.input and config.output
        assert config.platform == "ensemble" or (config.backend and config.default_model_filename)


def test_a_model_file_is_one_import(tmp_path: Path) -> None:
    files = published(tmp_path, "embedded")
    found = {name: text.decode() for name, text in files.items() if name.endswith("model.py")}
    assert found == {
        f"mood_{stage}/1/model.py": f"from perennial.serve import {stage.title()} as TritonPythonModel\n"
        for stage in ("tokenizer", "engine", "postprocess")
    }


def test_a_stage_that_starts_changes_nothing_in_its_version_folder(tmp_path: Path) -> None:
    """Else Triton would initialise the serving release again at the next load."""
    published(tmp_path, "embedded")
    folder = tmp_path / "models/mood_engine/1"
    before = (folder.stat().st_mtime_ns, sorted(folder.rglob("*")))
    import_model(folder)
    assert (folder.stat().st_mtime_ns, sorted(folder.rglob("*"))) == before
    (folder / "__pycache__").unlink()
    import_model(folder)
    assert list(folder.rglob("*.pyc")), "Python writes no bytecode here, so this test shows nothing"


def import_model(folder: Path) -> None:
    """As Triton's stub does: what matters is that Python compiles it, not that Triton's module is missing."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run(
        [sys.executable, "-c", "import model"], cwd=folder, env=environment, capture_output=True, check=False
    )


@pytest.mark.parametrize("model", OWN_MODELS)
def test_a_committed_models_config_is_complete(model: str) -> None:
    config = text_format.Parse((ROOT / f"model_repository/{model}/config.pbtxt").read_text(), ModelConfig())
    assert config.name == model
    assert {tensor.name for tensor in config.input if not tensor.optional} == {*OWN_MODELS[model]}
    assert config.input and config.output and config.max_batch_size and config.instance_group
