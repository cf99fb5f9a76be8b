"""What a workshop finds on disk."""

from __future__ import annotations

import shutil

from bundles import fake_bundle
from perennial.jobs.workshop import Workshop


def test_what_a_kill_left_of_a_bundle_is_no_release(shop: Workshop) -> None:
    for release in (1, 2):
        fake_bundle(shop.state.bundle("mood", release), release)
    (shop.state.bundle("mood", 1) / "manifest.json").unlink()
    assert [bundle.release for bundle in shop.bundles("mood")] == [2]
    assert shop.bundles("nothing") == []


def test_an_unused_number_is_above_all_that_is_on_disk(shop: Workshop) -> None:
    assert shop.unused_release("mood") == 1
    shop.state.bundle("mood", 7).mkdir(parents=True)
    assert shop.unused_release("mood") == 8
    shop.publisher.publish(fake_bundle(shop.state.bundle("mood", 9), 9), "embedded")
    shutil.rmtree(shop.state.bundle("mood", 9))
    assert shop.unused_release("mood") == 10
