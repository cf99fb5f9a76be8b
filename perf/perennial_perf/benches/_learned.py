"""How soon a running service answers with what it was told."""

from __future__ import annotations

import time

from perennial.errors import PerennialError
from perennial.jobs.workshop import Workshop
from perennial.repository.layout import timed_model
from perennial.types import Bundle, text_tensor
from perennial_perf.benches._sandbox import texts_of

LOOK_S, PATIENCE_S = 0.05, 600.0


def until_learned(shop: Workshop, bundle: Bundle) -> float:
    """Seconds until a head that has learned all feedback so far answers."""
    began, newest = time.monotonic(), shop.store.newest_row(bundle.service)
    question = {"TEXT": text_tensor(texts_of(bundle, 1))}
    with shop.control() as control:
        assert control
        while time.monotonic() - began < PATIENCE_S:
            head = shop.store.head(bundle.service, bundle.release)
            if head and head.figures["newest_row"] == newest:
                answered = control.ask(timed_model(bundle.service), None, question)["HEAD"].item()
                if answered == head.version:
                    return time.monotonic() - began
            time.sleep(LOOK_S)
    raise PerennialError(f"no head learned row {newest} within {PATIENCE_S:g} s")
