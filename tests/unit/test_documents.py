"""What the model `index` keeps of a request, and what it refuses, on a real store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perennial.errors import PerennialError
from perennial.serve.documents import Documents
from perennial.store_protocol import Store
from perennial.stores import open_store
from perennial.types import ServiceRecord, Tensors, text_tensor


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/store.db")
    opened.put_service(ServiceRecord("find", "embed", (), max_text_bytes=100))
    opened.put_service(ServiceRecord("mood", "classify", ("a", "b")))
    yield opened
    opened.close()


def request(documents: dict[str, str], service: str = "find") -> Tensors:
    return {
        "SERVICE": text_tensor([service] * len(documents)),
        "ID": text_tensor([*documents]),
        "TEXT": text_tensor([*documents.values()]),
    }


def test_documents_are_kept_and_an_empty_text_takes_one_out(store: Store) -> None:
    (first,) = Documents(store).take([request({"faq/1": "hold it", "faq/2": "press it"})])
    (second,) = Documents(store).take([request({"faq/1": ""})])
    assert isinstance(first, list) and isinstance(second, list)
    told = [(str(one.number), one.name, one.text) for one in store.documents("find")]
    assert told == [(first[1], "faq/2", "press it"), (second[0], "faq/1", None)]


@pytest.mark.parametrize(
    ("documents", "service", "complaint"),
    [
        ({"a": "x", "b/": "y"}, "find", "row 1: ID 'b/' is none"),
        ({"": "x"}, "find", "ID '' is none: it may not be empty"),
        ({"a": "x" * 101}, "find", "TEXT has 101 bytes and may have 100 at most"),
        ({"a" * 201: "x"}, "find", "ID has 201 bytes and may have 200 at most"),
        ({"a": "x"}, "fnd", "did you mean 'find'"),
        ({"a": "x"}, "mood", "service 'mood' is of the task classify and finds no documents"),
    ],
)
def test_a_request_is_kept_whole_or_refused_with_its_first_fault(
    store: Store, documents: dict[str, str], service: str, complaint: str
) -> None:
    good, bad = Documents(store).take([request({"good": "x"}), request(documents, service)])
    assert isinstance(bad, PerennialError) and complaint in str(bad) and isinstance(good, list)
    assert [one.name for one in store.documents("find")] == ["good"]


def test_what_stands_twice_and_what_is_of_several_services_is_refused(store: Store) -> None:
    twice = request({"a": "x", "b": "y"}) | {"ID": text_tensor(["a", "a"])}
    both = request({"a": "x", "b": "y"}) | {"SERVICE": text_tensor(["find", "mood"])}
    for asked, complaint in ((twice, "ID 'a' stands twice"), (both, "send a request for each")):
        (told,) = Documents(store).take([asked])
        assert isinstance(told, PerennialError) and complaint in str(told)
    assert store.documents("find") == []
