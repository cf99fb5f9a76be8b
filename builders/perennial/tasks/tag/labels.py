"""What a label of `tag` is: the spans of a text, or one of them; as JSON, in several ways of writing."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from perennial.errors import BadRequest
from perennial.names import nearest
from perennial.tasks.tag._spans import Label, Span, parsed, written

__all__ = ["TagLabels"]

NONE = "none"
"""The kind of a text without a span."""
WAY_OUT = 'give a list of {"start", "end", "label"}, in characters, or one such span alone'


class TagLabels:
    fewest = 1
    verb = "tag"
    of_words = True
    of_documents = False
    of_users = False
    recalls = False
    writes = False

    def read(self, label: str, text: str, known: Collection[str] | None) -> str:
        try:
            said = json.loads(label)
        except ValueError:
            raise BadRequest(f"LABEL {label[:80]!r} is not JSON; {WAY_OUT}") from None
        if isinstance(said, dict):
            start, end, name = _span(said, text, known, may_lack=True)
            return written(Label(((start, end, name),) if name else (), (start, end)))
        if not isinstance(said, list):
            raise BadRequest(f"LABEL {label[:80]!r} is no list of spans; {WAY_OUT}")
        spans = sorted(_span(one, text, known) for one in said)
        for before, after in pairwise(spans):
            if after[0] < before[1]:
                raise BadRequest(f"spans {[*before]} and {[*after]} overlap; a word is of one span at most")
        return written(Label(tuple(spans)))

    def names(self, label: str) -> tuple[str, ...]:
        return tuple(sorted({name for _, _, name in parsed(label).spans}))

    def some(self, text: str, names: Sequence[str]) -> str:
        return written(Label(((0, len(text.split(maxsplit=1)[0]), names[0]),)))

    def another(self, text: str, number: int) -> str:
        return f"{text} {number}"

    def arguments(self, text: str) -> Sequence[Any]:
        return (text,)

    def kind(self, label: str) -> str:
        return "+".join(self.names(label)) or NONE

    def parts(self, label: str) -> Mapping[str, str]:
        return {"": label}

    def whole(self, parts: Iterable[str]) -> str:
        (label,) = parts
        return label


def _span(said: Any, text: str, known: Collection[str] | None, may_lack: bool = False) -> Span:
    """From {"start", "end", "label"} or [start, end, label]; the label is empty where there is none."""
    if isinstance(said, dict):
        said = [said.get(field) for field in ("start", "end", "label")]
    if not isinstance(said, list) or len(said) != 3:
        raise BadRequest(f"{said!r} is no span; {WAY_OUT}")
    start, end, name = said
    if not (type(start) is type(end) is int and 0 <= start < end <= len(text)):
        raise BadRequest(f"span {said} does not lie in the text, which has {len(text)} characters; {WAY_OUT}")
    if not text[start:end].strip():
        raise BadRequest(f"span {said} holds white space alone; mark the words themselves")
    if name is None and may_lack:
        return start, end, ""
    if not isinstance(name, str) or not name.strip():
        raise BadRequest(f"span {said} has no label; name one")
    if known is not None and name not in known:
        raise BadRequest(nearest(f"label of span {said}:", name, known))
    return start, end, name
