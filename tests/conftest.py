"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # no test fetches a model, whatever the machine is connected to


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `tiny.tiny_encoder`, made once; copy it to change it."""
    from tiny import tiny_encoder

    return tiny_encoder(tmp_path_factory.mktemp("tiny-encoder"))


@pytest.fixture(scope="session")
def tiny_release(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `tiny.tiny_release`, made once: checkpoint/, model.onnx and the codec's files."""
    from tiny import tiny_release

    return tiny_release(tiny_encoder, tmp_path_factory.mktemp("tiny-release"))


@pytest.fixture(scope="session")
def tiny_tagger_release(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `tiny.tiny_tagger_release`, made once."""
    from tiny import tiny_tagger_release

    return tiny_tagger_release(tiny_encoder, tmp_path_factory.mktemp("tiny-tagger"))


@pytest.fixture(scope="session")
def built(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which release 1 of a tiny service serves, made once by a whole build; copy it."""
    from flow.workshops import build_first

    return build_first(tiny_encoder, tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="session")
def built_tagger(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `built`, of a tiny service that tags."""
    from flow.workshops import build_tagger

    return build_tagger(tiny_encoder, tmp_path_factory.mktemp("built-tagger"))


@pytest.fixture(scope="session")
def built_writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `built`, of a tiny service that generates."""
    from flow.workshops import build_writer

    return build_writer(tmp_path_factory.mktemp("built-writer"))


@pytest.fixture(scope="session")
def built_searcher(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `built`, of a tiny service that embeds."""
    from flow.workshops import build_searcher

    return build_searcher(tiny_encoder, tmp_path_factory.mktemp("built-searcher"))


@pytest.fixture(scope="session")
def built_recommender(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `built`, of a tiny service that recommends."""
    from flow.workshops import build_recommender

    return build_recommender(tiny_encoder, tmp_path_factory.mktemp("built-recommender"))
