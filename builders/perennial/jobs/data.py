"""Examples as JSONL on disk, and their splits. Knows no model."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from perennial.errors import BadRequest
from perennial.ranking.context import MOST_ITEMS
from perennial.split import LEAST_TEXTS, fingerprint
from perennial.task_protocol import Labels
from perennial.types import Example

MIN_ROWS_PER_LABEL = 10
MIN_ROWS = 4 * LEAST_TEXTS
"""A quarter of a file at most is there to judge by."""


DOCUMENTS = "documents.json"
"""Texts by their ids."""


class _Text(BaseModel):
    """One line of a user's file of texts."""

    model_config = ConfigDict(extra="ignore", strict=True)

    text: str


_Checked = TypeVar("_Checked", bound=BaseModel)


class _Line(_Text):
    """One line of a user's file. A label that is not a text is what its JSON says."""

    label: str | list[Any] | dict[str, Any]


class _Taken(BaseModel):
    """One line of a user's log of who took what. Without times the file is in their order."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    user: Annotated[str, Field(min_length=1)]
    item: Annotated[str, Field(min_length=1)]
    at: float = 0.0
    rating: float | None = None


def read_users_file(path: Path, labels: Labels) -> list[Example]:
    """A user's JSONL of `{"text", "label"}`, or, where texts say who asks, of `{"user", "item"}`;
    `BadRequest` names the first line that is neither, as the task's `labels` see it."""
    if not path.is_file():
        raise BadRequest(f'there is no data file {str(path)!r}; give a JSONL file of {{"text", "label"}}')
    with path.open("rb") as lines:
        numbered = [(f"{path}:{number}", line) for number, line in enumerate(lines, start=1) if line.strip()]
    examples: dict[bytes, Example] = {}
    for example in _logged(numbered, labels) or (_parse(line, where, labels) for where, line in numbered):
        examples.setdefault(fingerprint(example.text), example)
    _refuse_thin(path, examples.values(), labels)
    return list(examples.values())


def read_texts(path: Path) -> list[Example]:
    """Texts without labels: a line each, or of a file named *.jsonl its `text`. `BadRequest` where a line of
    that has none, or the file no text."""
    if not path.is_file():
        raise BadRequest(f"there is no file of texts {str(path)!r}; give one with a text a line, or JSONL")
    with path.open(encoding="utf-8", errors="replace") as lines:
        numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if path.suffix == ".jsonl":
        texts = [_text_of(line, f"{path}:{number}") for number, line in numbered]
    else:
        texts = [line.strip() for _, line in numbered]
    if not texts:
        raise BadRequest(f"{path} has no text; give one a line")
    return [Example(text, "") for text in texts]


class _Document(_Text):
    """One line of a user's file of documents."""

    id: str


def read_documents(path: Path) -> dict[str, str]:
    """A user's JSONL of `{"id", "text"}`: texts by their ids. `BadRequest` names the first line that is not,
    and says where there is none."""
    if not path.is_file():
        raise BadRequest(
            f'there is no file of documents {str(path)!r}; give a JSONL file of {{"id", "text"}}'
        )
    found: dict[str, str] = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                document = _document(line, f"{path}:{number}")
                if document.id in found:
                    raise BadRequest(f"{path}:{number}: id {document.id[:80]!r} stands twice; name each once")
                found[document.id] = document.text
    if not found:
        raise BadRequest(f'{path} has no document; give one {{"id", "text"}} a line')
    return found


def _document(line: bytes, where: str) -> _Document:
    document = _validated(_Document, line, where, '{"id": "…", "text": "…"}')
    if not document.text.strip() or not document.id.strip() or document.id.endswith("/"):
        raise BadRequest(
            f"{where}: neither id nor text may be empty, and no id ends in '/', which names all below it"
        )
    return document


def documents_in(folder: Path) -> dict[str, str]:
    """What `write_documents` wrote there; none where it wrote nothing."""
    path = folder / DOCUMENTS
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}


def write_documents(folder: Path, documents: Mapping[str, str]) -> None:
    (folder / DOCUMENTS).write_text(json.dumps(documents, ensure_ascii=False) + "\n", "utf-8")


def _text_of(line: str, where: str) -> str:
    try:
        return _Text.model_validate_json(line).text
    except ValidationError as error:
        raise BadRequest(f'{where}: {error.errors()[0]["msg"]}; each line is {{"text": "…"}}') from None


def _logged(numbered: Sequence[tuple[str, bytes]], labels: Labels) -> list[Example]:
    """What each took next, in the order of time, with what he had taken until then; none where the file is no
    log."""
    if not labels.of_users or not numbered or b'"text"' in numbered[0][1]:
        return []
    each = '{"user": "…", "item": "…"}, and if you like "at" and "rating"'
    log = [(where, _validated(_Taken, line, where, each)) for where, line in numbered]
    taken = defaultdict[str, list[str]](list)
    examples = []
    for where, one in sorted(log, key=lambda line: line[1].at):
        said: dict[str, Any] = {"document": one.item}
        if one.rating is not None:
            said["rating"] = one.rating
        context = json.dumps({"user": one.user, "items": taken[one.user][-MOST_ITEMS:]}, ensure_ascii=False)
        try:
            examples.append(Example(context, labels.read(json.dumps([said]), context, None)))
        except BadRequest as error:
            raise BadRequest(f"{where}: {error}") from None
        taken[one.user].append(one.item)
    return examples


def _validated(kind: type[_Checked], line: bytes, where: str, each: str) -> _Checked:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"])) or "line"
        raise BadRequest(f"{where}: {field}: {problem['msg']}; each line is {each}") from None


def _parse(line: bytes, where: str, labels: Labels) -> Example:
    row = _validated(_Line, line, where, '{"text": "…", "label": "…"}')
    if not row.text.strip() or "\0" in row.text:
        raise BadRequest(f"{where}: text must not be empty or hold NUL; mend or delete the line")
    label = row.label if isinstance(row.label, str) else json.dumps(row.label)
    try:
        return Example(row.text, labels.read(label, row.text, None))
    except BadRequest as error:
        raise BadRequest(f"{where}: {error}") from None


def _refuse_thin(path: Path, examples: Collection[Example], labels: Labels) -> None:
    counts = Counter(name for example in examples for name in labels.names(example.label))
    if len(counts) < labels.fewest:
        raise BadRequest(f"{path} has {len(counts)} label(s); a service needs at least {labels.fewest}")
    thin = {label: count for label, count in counts.items() if count < MIN_ROWS_PER_LABEL}
    if thin:
        raise BadRequest(
            f"{path}: labels with fewer than {MIN_ROWS_PER_LABEL} different texts: {thin}; add rows"
        )
    if len(examples) < MIN_ROWS:
        raise BadRequest(
            f"{path} has {len(examples)} different texts, and a build needs {MIN_ROWS}: {LEAST_TEXTS} to "
            "judge the release by, the others to learn from; add rows"
        )


def write(path: Path, examples: Iterable[Example]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for example in examples:
            file.write(json.dumps(asdict(example), ensure_ascii=False) + "\n")


def read(path: Path) -> list[Example]:
    """What `write` wrote; none where there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as lines:
        return [Example(**json.loads(line)) for line in lines]


def file_digest(paths: Iterable[Path]) -> str:
    """A SHA-256 over the contents of files, in the order of their names."""
    whole = hashlib.sha256()
    for path in sorted(paths):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                whole.update(block)
    return whole.hexdigest()


def digest(*parts: Sequence[Example]) -> str:
    """A SHA-256 over examples in their order: what a release's lineage calls its data."""
    whole = hashlib.sha256()
    for examples in parts:
        for example in examples:
            whole.update(json.dumps(asdict(example), ensure_ascii=False, sort_keys=True).encode() + b"\n")
    return whole.hexdigest()


def texts_digest(examples: Iterable[Example]) -> str:
    """A SHA-256 over the set of texts, whatever their order and labels."""
    return hashlib.sha256(b"".join(sorted(fingerprint(example.text) for example in examples))).hexdigest()
