"""How the fast loop tells why, where it cannot: whoever asks hears so, and heads learn on."""

from __future__ import annotations

import pytest

from flow.workshops import SERVICE, lease_of
from perennial.jobs import learn
from perennial.jobs.learn import FastLoop
from perennial.jobs.workshop import Workshop
from perennial.types import HeadOrders


def test_a_service_that_has_no_head_says_so(shop: Workshop) -> None:
    loop = FastLoop(shop, lease_of(shop))
    number = shop.store.inquire("nobody", "a text", 3)
    loop._explain()
    assert "serves no release that has a head" in str(shop.store.told(number))


def test_a_defect_is_told_once_and_not_tried_again(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(learn.Learner, "why", broken)
    loop = FastLoop(shop, lease_of(shop))
    learner = learn.Learner(shop, shop.bundle(SERVICE, 1), HeadOrders())
    loop._known[SERVICE] = learn._Known(1, HeadOrders(), learner)
    number = shop.store.inquire(SERVICE, "a text", 3)
    loop._explain()
    assert "failed to explain it (ZeroDivisionError)" in str(shop.store.told(number))
    assert shop.store.inquiries() == []
