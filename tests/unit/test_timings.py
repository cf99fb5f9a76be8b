"""Claims about where the time of an answer is said to have gone."""

from __future__ import annotations

import time

import numpy as np
import pytest

from perennial.timings import PARTS, RUN_MS, STAMPS, TIMINGS, arrived, now, stamped, timed, timings
from perennial.types import Tensors

MS = 1_000_000


def told(request: Tensors, began: int) -> dict[str, float]:
    row = timings(request, began, 0)[TIMINGS.name][0]
    return dict(zip(PARTS, row.tolist(), strict=True))


def stamps(began: int) -> Tensors:
    """Of a text that came 50 ms before `began`, waited 10, was encoded in 5 and left the tokenizer 35 ago."""
    return {STAMPS.name: np.array([[began - 50 * MS, began - 40 * MS, began - 35 * MS]])}


def test_the_parts_are_all_the_time_since_the_tokenizer_got_the_text() -> None:
    began = now()
    found = told({**stamps(began), RUN_MS.name: np.array([[20.0]])}, began)
    assert found["tokenizer"] == 5 and found["engine"] == 20
    assert found["queue"] == pytest.approx(10 + 35 - 20, abs=1e-3)
    assert 50 <= sum(found.values()) < 1000


def test_an_engine_that_tells_nothing_has_its_queue_in_its_part() -> None:
    began = now()
    found = told(stamps(began), began)
    assert (found["queue"], found["engine"]) == (pytest.approx(10, abs=1e-3), 35)


def test_a_cached_answer_took_no_longer_than_it_was_away() -> None:
    began = now()
    found = told({**stamps(began), RUN_MS.name: np.array([[400.0]])}, began)
    assert (found["queue"], found["engine"]) == (pytest.approx(10, abs=1e-3), 35)


def test_a_request_that_came_without_stamps_has_no_timings() -> None:
    assert timings({"TEXT": np.array([[b"a"]])}, now(), 0) == {}


def test_each_row_is_stamped_with_when_its_request_came_and_was_encoded() -> None:
    request = arrived({"TEXT": np.array([[b"a"], [b"b"]], object)})
    time.sleep(0.01)
    began = now()
    encoded = stamped(request, {"ids": np.zeros((2, 3))}, began)
    (came, starts, done), other = encoded[STAMPS.name]
    assert came <= began - 10 * MS and starts == began <= done
    assert other.tolist() == [came, starts, done]
    assert stamped({}, {"ids": np.zeros((1, 3))}, began)[STAMPS.name][0, 0] == began


def test_an_engines_run_tells_what_each_of_its_rows_took() -> None:
    def run(tensors: Tensors) -> Tensors:
        time.sleep(0.01)
        return {"logits": tensors["ids"]}

    outputs = timed(run)({"ids": np.zeros((3, 2))})
    assert outputs["logits"].shape == (3, 2)
    assert outputs[RUN_MS.name].shape == (3, 1) and (outputs[RUN_MS.name] >= 10).all()
