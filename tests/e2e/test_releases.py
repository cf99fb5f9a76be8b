"""Claims about releases that come and go under load, on a real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import onnx
import pytest

from bundles import real_bundle
from perennial import plugins
from perennial.errors import Broken
from perennial.pipeline import Pipeline
from perennial.types import Bundle
from services import Service
from serving import Served, within
from tiny import tiny_examples

pytestmark = pytest.mark.e2e

TEXTS = [example.text for example in tiny_examples(12)]


class Answer(NamedTuple):
    text: str
    label: str
    release: int


class Factory:
    """Makes releases whose answers tell them apart: the engine of every second one negates its logits."""

    def __init__(self, made: Path, folder: Path) -> None:
        self._made, self._folder = made, folder
        self._expected: dict[int, list[str]] = {}

    def bundle(self, release: int) -> Bundle:
        bundle = real_bundle(self._source(release), self._folder / str(release), release, "weather")
        codec = plugins.get("tasks/classify", "codec")(bundle.folder)
        session = plugins.get("engines", "onnxruntime")().open(bundle.folder / "model.onnx", 1)
        answers = Pipeline(codec, session).answers(TEXTS)
        self._expected[release] = [answer["LABEL"].item().decode() for answer in answers]
        return bundle

    def is_of_one_release(self, answer: Answer) -> bool:
        """Whether the engine of the release that signed the answer gave its label."""
        return answer.label == self._expected[answer.release][TEXTS.index(answer.text)]

    def _source(self, release: int) -> Path:
        if release % 2:
            return self._made
        negated = self._folder / f"source-{release}"
        negated.mkdir()
        for name in ("tokenizer.json", "labels.json", "calibration.json"):
            (negated / name).symlink_to(self._made / name)
        model = onnx.load(self._made / "model.onnx")
        (said,) = (node for node in model.graph.node if "logits" in node.output)
        said.output[0] = "opposite"
        model.graph.node.append(onnx.helper.make_node("Neg", ["opposite"], ["logits"]))
        onnx.save(model, negated / "model.onnx")
        return negated


@pytest.fixture
def factory(tiny_release: Path, tmp_path: Path) -> Factory:
    return Factory(tiny_release, tmp_path)


@pytest.fixture
def weather(served: Served) -> Iterator[Service]:
    with Service(served, "weather") as service:
        yield service


def ask(service: Service, text: str) -> Answer:
    answer = service.ask([text])
    release = answer["PREDICTION_ID"].item().decode().split(".")[1]
    return Answer(text, answer["LABEL"].item().decode(), int(release))


@contextmanager
def load(service: Service, clients: int = 4) -> Iterator[list[Answer]]:
    """The answers to clients that ask without pause; the first failure is raised at the end."""
    answers: list[Answer] = []
    failures: list[Exception] = []
    stop = threading.Event()

    def client(number: int) -> None:
        while not stop.is_set():
            try:
                answers.append(ask(service, TEXTS[(len(answers) + number) % len(TEXTS)]))
            except Exception as failure:
                failures.append(failure)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures, f"{len(failures)} failed, the first: {failures[0]}"


def test_releases_change_under_load_and_no_answer_is_lost_or_mixed(
    weather: Service, factory: Factory
) -> None:
    weather.promote(factory.bundle(1))
    with load(weather) as answers:

        def promote(release: int) -> None:
            """Nothing that serves may be initialised again, and what serves next must answer."""
            serving = weather.serving.release
            processes = weather.processes(serving)
            weather.publish(factory.bundle(release))
            assert weather.processes(serving) == processes
            switch(release)

        def switch(release: int) -> None:
            weather.point(release)
            assert within(10, lambda: answers[-1].release == release)

        promote(2)
        promote(3)
        switch(2)
        promote(4)
        switch(2)
        switch(4)
        weather.load_stages()
        assert weather.loaded() == [[2, 4]] * 3
    assert {answer.release for answer in answers} == {1, 2, 3, 4}
    assert all(factory.is_of_one_release(answer) for answer in answers)


def test_a_release_that_does_not_load_leaves_the_serving_one_alone(
    weather: Service, factory: Factory
) -> None:
    weather.promote(factory.bundle(1))
    processes = weather.processes(1)
    broken = factory.bundle(3)
    (broken.folder / "model.onnx").unlink()
    (broken.folder / "model.onnx").write_bytes(b"no engine")
    broken = real_bundle(broken.folder, broken.folder.with_name("broken"), 3, "weather")
    with load(weather) as answers:
        with pytest.raises(Broken, match=r"model\.onnx does not open"):
            weather.publish(broken)
        weather.publisher.retire("weather", 3)
        weather.load_stages()
        assert weather.processes(1) == processes
        weather.promote(factory.bundle(4))
        assert within(10, lambda: answers[-1].release == 4)
    assert all(factory.is_of_one_release(answer) for answer in answers)


def test_a_release_older_than_those_in_memory_comes_back(weather: Service, factory: Factory) -> None:
    first = factory.bundle(1)
    for bundle in (first, factory.bundle(2), factory.bundle(3)):
        weather.promote(bundle)
    weather.load_stages()
    assert weather.loaded() == [[2, 3]] * 3
    processes = weather.processes(3)
    weather.promote(first)
    assert ask(weather, TEXTS[0]).release == 1
    assert weather.processes(3) == processes
