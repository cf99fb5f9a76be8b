"""What a workshop finds on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bundles import fake_bundle
from perennial.config import Settings
from perennial.jobs.workshop import Workshop, open_workshop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    opened = open_workshop(Settings(state=tmp_path / "var", repository=tmp_path / "repository"))
    yield opened
    opened.store.close()


def test_what_a_kill_left_of_a_bundle_is_no_release(shop: Workshop) -> None:
    for release in (1, 2):
        fake_bundle(shop.state.bundle("mood", release), release)
    (shop.state.bundle("mood", 1) / "manifest.json").unlink()
    assert [bundle.release for bundle in shop.bundles("mood")] == [2]
    assert shop.bundles("nothing") == []
