"""Claims about what is where in a bundle and in a repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perennial.errors import Broken, NotFound
from perennial.repository.layout import (
    MANIFEST,
    Release,
    fault_in,
    is_version,
    is_whole,
    read_bundle,
    read_release,
    services,
    stage_models,
    verify_bundle,
    write_manifest,
    write_release,
)
from perennial.types import Bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/golden.jsonl").write_text("{}\n")
    (tmp_path / "model.onnx").write_bytes(b"weights")
    return write_manifest(tmp_path, {"service": "mood", "release": 3})


def test_a_manifest_hashes_every_file_and_reads_back(bundle: Bundle) -> None:
    assert set(bundle.manifest["files"]) == {"data/golden.jsonl", "model.onnx"}
    assert bundle == read_bundle(bundle.folder)
    assert (bundle.service, bundle.release) == ("mood", 3)
    verify_bundle(bundle)


def test_writing_a_manifest_again_changes_nothing(bundle: Bundle) -> None:
    before = (bundle.folder / MANIFEST).read_bytes()
    write_manifest(bundle.folder, {"service": "mood", "release": 3})
    assert (bundle.folder / MANIFEST).read_bytes() == before


@pytest.mark.parametrize(
    ("name", "fault"), [("model.onnx", "is not the file"), ("data/golden.jsonl", "is missing")]
)
def test_a_bundle_that_changed_is_broken(bundle: Bundle, name: str, fault: str) -> None:
    file = bundle.folder / name
    if fault == "is missing":
        file.unlink()
    else:
        file.write_bytes(b"Weights")
    with pytest.raises(Broken, match=f"release 3 of mood is not as it was built: {name} {fault}"):
        verify_bundle(bundle)
    verify_bundle(bundle, {"model.onnx", "data/golden.jsonl"} - {name})


def test_a_file_that_the_manifest_does_not_know_is_missed(bundle: Bundle) -> None:
    with pytest.raises(Broken, match=r"has no file 'labels\.json'"):
        verify_bundle(bundle, ["labels.json"])


def test_a_folder_without_a_manifest_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="holds no release"):
        read_bundle(tmp_path)
    (tmp_path / MANIFEST).write_text('{"service": "mood"')
    with pytest.raises(Broken, match="is no manifest"):
        read_bundle(tmp_path)


def test_a_version_folder_is_whole_with_all_files_and_sound_with_the_right_ones(tmp_path: Path) -> None:
    folder = tmp_path / "3"
    folder.mkdir()
    assert not is_whole(folder)
    digest = "82d58dd4f2a4c3d7ddbcaf7ea1b2ee9ea85ba0ae2b1b6b2ee2c1c1a2d2a2d2a2"
    release = Release("mood", 3, "classify", "onnxruntime", "model.onnx", 2, 1, {"model.onnx": digest})
    write_release(folder, release)
    assert read_release(folder) == release
    assert (is_whole(folder), fault_in(folder)) == (False, "model.onnx is missing")
    (folder / "model.onnx").write_bytes(b"other weights")
    assert (is_whole(folder), fault_in(folder)) == (True, "model.onnx is not the file that was hashed")


def test_a_version_folder_of_another_number_is_at_fault(tmp_path: Path) -> None:
    folder = tmp_path / "4"
    folder.mkdir()
    write_release(folder, Release("mood", 3, "classify", "onnxruntime", "model.onnx", 2, 1, {}))
    assert fault_in(folder) == "release.json is of release 3"


def test_a_release_file_of_another_shape_is_broken(tmp_path: Path) -> None:
    (tmp_path / "release.json").write_text(json.dumps({"service": "mood"}))
    with pytest.raises(Broken, match="publish the release again"):
        read_release(tmp_path)


def test_services_are_those_with_a_stage(tmp_path: Path) -> None:
    for name in (
        *stage_models(tmp_path, "mood"),
        "tale_writer",
        "tone_engine",
        "feedback",
        "my_model",
        "Bad_engine",
        "two_words_engine",
    ):
        (tmp_path / name).mkdir()
    assert services(tmp_path) == ["mood", "tale", "tone"]


@pytest.mark.parametrize(
    ("name", "said"), [("1", True), ("120", True), ("0", False), ("01", False), ("1a", False), ("²", False)]
)
def test_versions_are_the_numbers_that_triton_takes(name: str, said: bool) -> None:
    assert is_version(name) is said
