"""A user's JSONL: what is taken, and how the first bad line is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perennial.errors import BadRequest
from perennial.jobs.data import digest, read, read_documents, read_users_file, write
from perennial.plugins import labels_of
from perennial.types import Example


def rows(count: int = 10) -> list[str]:
    return [
        json.dumps({"text": f"{label} {i}", "label": label}) for label in ("a", "b") for i in range(count)
    ]


def file_of(folder: Path, lines: list[str]) -> Path:
    path = folder / "data.jsonl"
    path.write_text("\n".join(lines))
    return path


def test_a_good_file_is_read_once_a_text(tmp_path: Path) -> None:
    again = [row.replace('"a 0"', '" A  0"') for row in rows(3)]
    examples = read_users_file(file_of(tmp_path, [*rows(60), *rows(3), *again, ""]), labels_of("classify"))
    assert len(examples) == 120
    assert examples[0] == Example("a 0", "a")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("not json", "data.jsonl:21: line: Invalid JSON"),
        ('{"text": "x"}', "data.jsonl:21: label: Field required"),
        ('{"text": 3, "label": "a"}', "data.jsonl:21: text: Input should be a valid string"),
        ('{"text": " ", "label": "a"}', "data.jsonl:21: text must not be empty"),
        (
            '{"text": "nul \\u0000", "label": "a"}',
            "data.jsonl:21: text must not be empty or hold NUL",
        ),
    ],
)
def test_the_first_bad_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_users_file(file_of(tmp_path, [*rows(), line, "also bad"]), labels_of("classify"))
    assert said in str(refused.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"text": "\xff", "label": "a"}\n')
    with pytest.raises(BadRequest, match=r"data\.jsonl:1"):
        read_users_file(path, labels_of("classify"))


def test_a_label_with_few_texts_or_alone_and_few_texts_in_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"fewer than 10 different texts: \{'rare': 1\}"):
        read_users_file(file_of(tmp_path, [*rows(), '{"text": "x", "label": "rare"}']), labels_of("classify"))
    with pytest.raises(BadRequest, match=r"has 1 label\(s\); a service needs at least 2"):
        read_users_file(file_of(tmp_path, rows()[:10]), labels_of("classify"))
    with pytest.raises(BadRequest, match="has 119 different texts, and a build needs 120: 30 to judge"):
        read_users_file(file_of(tmp_path, [*rows(60)[1:], *rows(20)[1:]]), labels_of("classify"))
    with pytest.raises(BadRequest, match="there is no data file"):
        read_users_file(tmp_path / "missing.jsonl", labels_of("classify"))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    examples = [Example("naïve ‘quotes’\n", "a", 0.5, "me", 7), Example("b", "b")]
    write(tmp_path / "x.jsonl", examples)
    assert read(tmp_path / "x.jsonl") == examples
    assert read(tmp_path / "none.jsonl") == []


def test_a_digest_depends_on_every_field_and_on_the_order() -> None:
    one, other = Example("a", "x"), Example("b", "y")
    digests = {
        digest([one, other]),
        digest([other, one]),
        digest([one]),
        digest([Example("a", "x", 0.5), other]),
    }
    assert len(digests) == 4


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ('{"id": "a/", "text": "x"}', r":1: neither id nor text may be empty, and no id ends in '/'"),
        ('{"id": "a", "text": " "}', ":1: neither id nor text may be empty"),
        ('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}', ":2: id 'a' stands twice; name each once"),
        ('{"id": 1, "text": "x"}', ':1: id: Input should be a valid string; each line is {"id"'),
        ("", "has no document"),
    ],
)
def test_documents_that_are_none_are_refused_in_one_line(tmp_path: Path, lines: str, complaint: str) -> None:
    file = tmp_path / "documents.jsonl"
    with pytest.raises(BadRequest, match="there is no file of documents"):
        read_documents(file)
    file.write_text(lines)
    with pytest.raises(BadRequest, match=complaint):
        read_documents(file)
    file.write_text('{"id": "b", "text": "x", "more": 1}\n\n{"id": "a/c", "text": "y"}\n')
    assert read_documents(file) == {"b": "x", "a/c": "y"}


def taken(user: int, item: str, at: int, **more: float) -> str:
    return json.dumps({"user": user, "item": item, "at": at, **more})


def test_a_log_says_what_each_took_next_in_the_order_of_time(tmp_path: Path) -> None:
    log = [taken(number, "b", 2, rating=4) for number in range(60)]
    log += [taken(number, "a", 1) for number in range(60)]
    examples = read_users_file(file_of(tmp_path, log), labels_of("recommend"))
    assert len(examples) == 120
    assert examples[0] == Example('{"user": "0", "items": []}', '[{"document": "a", "said": "relevant"}]')
    assert examples[60] == Example(
        '{"user": "0", "items": ["a"]}', '[{"document": "b", "said": "rated", "rating": 4.0}]'
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"user": 7}', "data.jsonl:2: item: Field required"),
        ('{"user": 7, "item": ""}', "data.jsonl:2: item: String should have at least 1 character"),
        ('{"user": 7, "item": "a", "rating": 9}', "data.jsonl:2: rating 9.0 of 'a' is out of range"),
    ],
)
def test_the_first_bad_line_of_a_log_is_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said) as refused:
        read_users_file(file_of(tmp_path, [taken(1, "a", 1), line]), labels_of("recommend"))
    assert "\n" not in str(refused.value)
