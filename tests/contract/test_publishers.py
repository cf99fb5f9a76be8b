"""What every publisher promises: a release is there whole or not at all, and what serves is not touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bundles import fake_bundle, fake_writer
from killed import killed_everywhere
from perennial import plugins
from perennial.errors import BadRequest, Broken, ConfigError, NotFound
from perennial.protocols import Publisher
from perennial.publishers.local import LocalPublisher
from perennial.repository.layout import STAGES, fault_in, read_bundle, read_release, releases_in, stage_model
from perennial.types import Bundle, Placement

MAKERS: dict[str, Callable[[Path], Publisher]] = {
    "local": lambda root: LocalPublisher(root / "models", root / "staging", root / "quarantine")
}


@dataclass(frozen=True)
class Shop:
    """A publisher, and the folder that holds its repository and the bundles."""

    publisher: Publisher
    root: Path

    @property
    def repository(self) -> Path:
        return self.root / "models"

    def bundle(self, release: int) -> Bundle:
        folder = self.root / "bundles" / str(release)
        return read_bundle(folder) if folder.exists() else fake_bundle(folder, release)

    def release(self, *releases: int) -> None:
        """Publish these and promote each in turn."""
        for release in releases:
            self.publisher.publish(self.bundle(release), Placement())
            self.publisher.point("mood", release)

    def version(self, stage: str, release: int) -> Path:
        return self.repository / f"mood_{stage}" / str(release)

    def mtimes(self, release: int) -> dict[str, int]:
        """Of every file and folder of a release: Triton initialises a version again when one is newer."""
        folders = [self.version(stage, release) for stage in STAGES]
        paths = [path for folder in folders for path in (folder, *folder.iterdir())]
        return {str(path): path.stat().st_mtime_ns for path in paths}


@pytest.fixture(params=plugins.names("publishers"))
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    return Shop(MAKERS[request.param](tmp_path), tmp_path)


def test_a_new_repository_serves_nothing(shop: Shop) -> None:
    assert shop.publisher.serving("mood") is None
    assert shop.publisher.versions("mood") == []
    assert shop.publisher.quarantine() == []


def test_publishing_serves_nothing_until_it_is_pointed_at(shop: Shop) -> None:
    shop.publisher.publish(shop.bundle(1), Placement())
    assert (shop.publisher.versions("mood"), shop.publisher.serving("mood")) == ([1], None)
    shop.publisher.point("mood", 1)
    assert shop.publisher.serving("mood") == 1


def test_publishing_twice_changes_nothing(shop: Shop) -> None:
    shop.release(1)
    before = shop.mtimes(1)
    shop.publisher.publish(shop.bundle(1), Placement())
    assert shop.mtimes(1) == before


def test_publishing_and_promoting_touch_nothing_of_what_serves(shop: Shop) -> None:
    shop.release(1)
    configs = [shop.repository / stage_model("mood", stage) / "config.pbtxt" for stage in STAGES]
    before = (shop.mtimes(1), [config.read_text() for config in configs])
    shop.release(2)
    assert (shop.mtimes(1), [config.read_text() for config in configs]) == before


def test_nothing_but_configs_and_versions_lies_in_a_models_folder(shop: Shop) -> None:
    shop.release(1, 2)
    for model in shop.repository.iterdir():
        assert {path.name for path in model.iterdir()} == {"config.pbtxt", "1", "2"}


def test_the_last_two_releases_stay(shop: Shop) -> None:
    shop.release(1, 2, 3)
    assert shop.publisher.versions("mood") == [2, 3]


def test_a_candidate_after_a_roll_back_leaves_the_older_release_that_serves(shop: Shop) -> None:
    shop.release(1, 2)
    shop.publisher.point("mood", 1)
    shop.publisher.publish(shop.bundle(3), Placement())
    assert (shop.publisher.serving("mood"), shop.publisher.versions("mood")) == (1, [1, 2, 3])
    shop.publisher.point("mood", 3)
    assert shop.publisher.versions("mood") == [1, 3]


def test_an_older_release_comes_back_from_its_bundle(shop: Shop) -> None:
    shop.release(1, 2, 3)
    with pytest.raises(NotFound, match="release 1 of 'mood' is not published"):
        shop.publisher.point("mood", 1)
    shop.release(1)
    assert (shop.publisher.serving("mood"), shop.publisher.versions("mood")) == (1, [1, 3])


def test_pointing_at_what_serves_keeps_the_one_before(shop: Shop) -> None:
    shop.release(1, 2)
    shop.publisher.point("mood", 2)
    assert shop.publisher.versions("mood") == [1, 2]


def test_a_retired_release_is_gone_and_one_that_serves_is_kept(shop: Shop) -> None:
    shop.release(1, 2)
    with pytest.raises(BadRequest, match="release 2 of 'mood' is serving"):
        shop.publisher.retire("mood", 2)
    shop.publisher.retire("mood", 1)
    shop.publisher.retire("mood", 1)
    assert shop.publisher.versions("mood") == [2]
    assert not list(shop.repository.glob("*/1"))


def test_a_service_is_withdrawn_and_comes_back(shop: Shop) -> None:
    shop.release(1, 2)
    shop.publisher.withdraw("mood")
    shop.publisher.withdraw("mood")
    assert (shop.publisher.serving("mood"), shop.publisher.versions("mood")) == (None, [])
    assert [*shop.repository.iterdir()] == []
    shop.release(2)
    assert shop.publisher.serving("mood") == 2


def test_a_release_never_changes(shop: Shop) -> None:
    shop.release(1)
    other = fake_bundle(shop.root / "other", 1)
    (other.folder / "calibration.json").write_text('{"temperature": 2.0, "threshold": 0.5}')
    with pytest.raises(Broken, match=r"not as it was built: calibration\.json"):
        shop.publisher.publish(other, Placement())
    rebuilt = fake_bundle(shop.root / "rebuilt", 1, labels=("negative", "neutral", "bright"))
    with pytest.raises(Broken, match="a release never changes"):
        shop.publisher.publish(rebuilt, Placement())


def test_other_tensors_than_those_that_serve_are_refused(shop: Shop) -> None:
    shop.release(1)
    with pytest.raises(BadRequest, match="changes the tensors of its engine"):
        shop.publisher.publish(fake_bundle(shop.root / "other", 2, labels=("good", "bad")), Placement())
    assert shop.publisher.versions("mood") == [1]


def test_a_release_that_shall_run_otherwise_is_put_anew(shop: Shop) -> None:
    shop.publisher.publish(shop.bundle(1), Placement(threads=1))
    shop.publisher.publish(shop.bundle(1), Placement(threads=2, alone_threads=1, tokenizers=2))
    release = read_release(shop.version("engine", 1))
    assert (release.threads, release.alone_threads) == (2, 1)
    assert "count: 2" in (shop.repository / "mood_tokenizer/config.pbtxt").read_text()
    assert shop.publisher.versions("mood") == [1]


def test_the_name_of_another_model_is_refused(shop: Shop) -> None:
    (shop.repository / "feedback").mkdir(parents=True)
    (shop.repository / "feedback/config.pbtxt").write_text('name: "feedback" backend: "python"')
    with pytest.raises(BadRequest, match="'feedback' is taken"):
        shop.publisher.publish(fake_bundle(shop.root / "other", 1, service="feedback"), Placement())


def test_services_do_not_touch_each_other(shop: Shop) -> None:
    shop.release(1)
    shop.publisher.publish(fake_bundle(shop.root / "tone", 4, service="tone"), Placement("container"))
    shop.publisher.point("tone", 4)
    assert [shop.publisher.serving(name) for name in ("mood", "tone")] == [1, 4]


def test_whatever_is_not_whole_is_set_aside(shop: Shop) -> None:
    shop.release(1, 2)
    (shop.version("engine", 1) / "model.onnx").unlink()
    (shop.repository / "mood_tokenizer/half.part").touch()
    (shop.version("tokenizer", 3)).mkdir()
    set_aside = {path.name for path in shop.publisher.quarantine()}
    assert set_aside == {
        "mood_tokenizer.half.part.0",
        "mood_tokenizer.3.0",
        *(f"mood_{stage}.1.0" for stage in STAGES),
        "mood.1.0",
        "mood_timed.1.0",
    }
    assert (shop.publisher.versions("mood"), shop.publisher.serving("mood")) == ([2], 2)
    assert shop.publisher.quarantine() == []


def test_a_damaged_release_that_serves_is_told_by_its_absence(shop: Shop) -> None:
    shop.release(1, 2)
    engine = shop.version("engine", 2) / "model.onnx"
    damaged = engine.read_bytes()[:-1]
    engine.unlink()
    engine.write_bytes(damaged)
    shop.publisher.quarantine()
    assert (shop.publisher.serving("mood"), shop.publisher.versions("mood")) == (2, [1])
    shop.publisher.publish(shop.bundle(2), Placement())
    assert shop.publisher.versions("mood") == [1, 2]


def test_folders_on_two_file_systems_are_refused(tmp_path: Path) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    publisher = LocalPublisher(tmp_path / "models", shared, tmp_path / "quarantine")
    with pytest.raises(ConfigError, match="different file systems"):
        publisher.quarantine()
    (shared / "publisher").rmdir()


def publish_3(root: Path) -> None:
    MAKERS["local"](root).publish(read_bundle(root / "bundles/3"), Placement())


def point_at_3(root: Path) -> None:
    MAKERS["local"](root).point("mood", 3)


def withdraw(root: Path) -> None:
    MAKERS["local"](root).withdraw("mood")


def retire_1(root: Path) -> None:
    MAKERS["local"](root).retire("mood", 1)


@dataclass(frozen=True)
class Interrupted:
    """An action, what it does to (serving, versions), and how it starts."""

    action: Callable[[Path], None]
    before: tuple[int, list[int]]
    after: tuple[int, list[int]]


INTERRUPTED = [
    Interrupted(publish_3, (2, [1, 2]), (2, [1, 2, 3])),
    Interrupted(point_at_3, (2, [1, 2, 3]), (3, [2, 3])),
    Interrupted(retire_1, (2, [1, 2]), (2, [2])),
]


@pytest.mark.parametrize("case", INTERRUPTED, ids=lambda case: case.action.__name__)
def test_a_kill_at_any_step_leaves_old_or_new_and_a_rerun_finishes(case: Interrupted, tmp_path: Path) -> None:
    start = Shop(MAKERS["local"](tmp_path / "start"), tmp_path / "start")
    start.release(1, 2)
    start.bundle(3)
    if 3 in case.before[1]:
        publish_3(start.root)
    results = tmp_path / "killed"
    killed = killed_everywhere(f"{__name__}:{case.action.__name__}", start.root, results)
    assert len(killed) > 5
    for number, root in enumerate(killed):
        publisher = MAKERS["local"](root)
        state = (publisher.serving("mood"), publisher.versions("mood"))
        assert state[0] in (case.before[0], case.after[0])
        assert state[0] in state[1]
        assert not any(fault_in(root / "models" / f"mood_{stage}" / str(state[0])) for stage in STAGES)
        if number % 2:  # as after a crash of the machine, where the server starts anew
            publisher.quarantine()
            assert publisher.versions("mood") == state[1]
            assert {
                release for model in (root / "models").glob("mood_*") for release in releases_in(model)
            } == set(state[1])
        case.action(root)
        assert (publisher.serving("mood"), publisher.versions("mood")) == case.after


def test_a_kill_while_a_service_is_withdrawn_leaves_it_serving_or_not_and_a_rerun_finishes(
    tmp_path: Path,
) -> None:
    start = Shop(MAKERS["local"](tmp_path / "start"), tmp_path / "start")
    start.release(1, 2)
    killed = killed_everywhere(f"{__name__}:withdraw", start.root, tmp_path / "killed")
    assert len(killed) > 5
    for root in killed:
        publisher = MAKERS["local"](root)
        if publisher.serving("mood"):
            assert (publisher.serving("mood"), publisher.versions("mood")) == (2, [1, 2])
        withdraw(root)
        assert [*(root / "models").iterdir()] == []


def test_a_service_that_writes_has_one_stage_and_what_writes_for_it(shop: Shop) -> None:
    first, second = (fake_writer(shop.root / f"writers/{number}", number) for number in (1, 2))
    shop.publisher.publish(first, Placement())
    shop.publisher.point("mood", 1)
    models = {"mood", "mood_timed", "mood_writer"}
    assert {path.name for path in shop.repository.iterdir()} == models
    assert (shop.version("writer", 1) / "model.onnx").is_file()
    elsewhere = Placement("container", llm="vllm")
    with pytest.raises(BadRequest, match="has other stages than the serving one"):
        shop.publisher.publish(second, elsewhere)
    shop.publisher.publish(first, elsewhere)
    assert {path.name for path in shop.repository.iterdir()} == models | {"mood_llm"}
    assert not (shop.version("writer", 1) / "model.onnx").exists()
    assert (shop.version("llm", 1) / "checkpoint/config.json").is_file()
    told = json.loads((shop.version("llm", 1) / "model.json").read_text())
    assert Path(told["model"]) == shop.version("llm", 1).resolve() / "checkpoint"
    assert (shop.publisher.serving("mood"), shop.publisher.versions("mood")) == (1, [1])
    shop.publisher.publish(second, elsewhere)
    shop.publisher.point("mood", 2)
    assert shop.publisher.versions("mood") == [1, 2] and shop.publisher.quarantine() == []
    (shop.version("llm", 1) / "checkpoint/config.json").write_text("[]")
    assert {path.name for path in shop.publisher.quarantine()} == {
        "mood_llm.1.0",
        "mood_writer.1.0",
        "mood.1.0",
        "mood_timed.1.0",
    }
    shop.publisher.publish(first, elsewhere)
    assert shop.publisher.versions("mood") == [1, 2]
    shop.publisher.publish(second, Placement("container", llm="trtllm"))
    assert shop.publisher.versions("mood") == [2], "a roll-back puts the other one anew, as it would run now"
    assert (shop.version("llm", 2) / "trtllm.py").is_file()
    shop.publisher.publish(second, Placement())
    assert {path.name for path in shop.repository.iterdir()} == models
    assert (shop.publisher.versions("mood"), shop.publisher.serving("mood")) == ([2], 2)
    (shop.repository / "mood_llm").mkdir()  # as a kill may leave it
    shop.publisher.publish(second, elsewhere)
    assert (shop.publisher.versions("mood"), shop.publisher.quarantine()) == ([2], [])
