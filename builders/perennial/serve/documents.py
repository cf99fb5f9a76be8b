"""Checks the documents of a request and keeps them, all or none. Knows neither Triton nor SQL."""

from __future__ import annotations

from collections.abc import Sequence

from perennial.errors import BadRequest, PerennialError
from perennial.plugins import labels_of
from perennial.serve.checks import KnownServices, Outcome, asked_text, check_length, decoded
from perennial.serve.feedback_rows import MAX_NAME_BYTES, where
from perennial.store_protocol import Store
from perennial.types import ServiceRecord, Tensors


class Documents:
    def __init__(self, store: Store) -> None:
        self._store, self._services = store, KnownServices(store)

    def take(self, requests: Sequence[Tensors]) -> list[Outcome]:
        """For each request the number of each row's change, or its error."""
        self._services.begin_batch()
        return [self._outcome(request) for request in requests]

    def _outcome(self, request: Tensors) -> Outcome:
        try:
            service = self._service(request)
            documents = _read(request, service)
            last = self._store.put_documents(service.name, documents)
            return [str(number) for number in range(last - len(documents) + 1, last + 1)]
        except PerennialError as error:
            return error

    def _service(self, request: Tensors) -> ServiceRecord:
        names = {decoded("SERVICE", raw) for raw in request["SERVICE"].ravel()}
        if len(names) > 1:
            raise BadRequest(f"SERVICE is {' and '.join(sorted(names))[:80]}; send a request for each")
        service = self._services.named(names.pop())
        if not labels_of(service.task).of_documents:
            raise BadRequest(f"service {service.name!r} is of the task {service.task} and finds no documents")
        return service


def _read(request: Tensors, service: ServiceRecord) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    rows = [*zip(request["ID"].ravel().tolist(), request["TEXT"].ravel().tolist(), strict=True)]
    for position, (raw, text) in enumerate(rows):
        try:
            name = decoded("ID", raw)
            check_length("ID", raw, MAX_NAME_BYTES)
            if not name.strip() or name.endswith("/"):
                raise BadRequest(f"ID {name!r} is none: it may not be empty, and '/' at its end names many")
            if name in found:
                raise BadRequest(f"ID {name!r} stands twice; say one thing of it")
            found[name] = asked_text(text, service) if text else None
        except BadRequest as error:
            raise BadRequest(where(position, len(rows)) + str(error)) from None
    return found
