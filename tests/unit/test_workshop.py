"""What a workshop finds on disk."""

from __future__ import annotations

import shutil
from dataclasses import replace

from bundles import fake_bundle
from perennial.config import ServiceSettings
from perennial.jobs.up import mend, questions
from perennial.jobs.workshop import Workshop, cores
from perennial.types import Placement


def test_what_a_kill_left_of_a_bundle_is_no_release(shop: Workshop) -> None:
    for release in (1, 2):
        fake_bundle(shop.state.bundle("mood", release), release)
    (shop.state.bundle("mood", 1) / "manifest.json").unlink()
    assert [bundle.release for bundle in shop.bundles("mood")] == [2]
    assert shop.bundles("nothing") == []


def test_how_a_service_runs_is_as_the_settings_say(shop: Workshop) -> None:
    assert shop.placement("mood") == Placement("embedded", cores(), 1, explore=0.01)
    tuned = ServiceSettings(
        instances=1, threads=2, alone_threads=1, tokenizers=3, postprocesses=4, shadow_share=0.5, explore=0.1
    )
    told = replace(shop, settings=shop.settings.model_copy(update={"services": {"mood": tuned}}))
    assert told.placement("mood") == Placement("embedded", 1, 2, 1, 3, 4, 0.5, explore=0.1)


def test_an_unused_number_is_above_all_that_is_on_disk(shop: Workshop) -> None:
    assert shop.unused_release("mood") == 1
    shop.state.bundle("mood", 7).mkdir(parents=True)
    assert shop.unused_release("mood") == 8
    shop.publisher.publish(fake_bundle(shop.state.bundle("mood", 9), 9), Placement())
    shutil.rmtree(shop.state.bundle("mood", 9))
    assert shop.unused_release("mood") == 10


def test_the_watchdog_asks_no_text_twice_which_a_cache_would_answer(shop: Workshop) -> None:
    shop.publisher.publish(fake_bundle(shop.state.bundle("mood", 1), 1), Placement())
    shop.publisher.point("mood", 1)
    asked = [questions(shop)[-1].tensors["TEXT"].item() for _ in range(3)]
    assert len(set(asked)) == 3


def test_a_start_renders_what_serves_as_the_settings_say_now(shop: Workshop) -> None:
    shop.publisher.publish(fake_bundle(shop.state.bundle("mood", 1), 1), Placement(tokenizers=2))
    shop.publisher.point("mood", 1)
    configs = [shop.settings.repository / f"{model}/config.pbtxt" for model in ("mood", "mood_tokenizer")]
    rendered = configs[0].read_text()
    configs[0].write_text(rendered.replace("TRUNCATED", "OLDER"))
    mend(shop)
    assert configs[0].read_text() == rendered
    assert "count: 1" in configs[1].read_text()
