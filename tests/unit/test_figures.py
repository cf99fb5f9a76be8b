"""Claims about the server's figures, and the order in which its stages are asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.server import metrics
from perennial.server.control import Step
from perennial.server.examine import in_order

METRICS = """# TYPE nv_inference_request_summary_us summary
nv_inference_request_summary_us_count{model="toy",version="1"} 12
nv_inference_request_summary_us{model="toy",version="1",quantile="0.5"} 900
nv_inference_request_summary_us{model="toy",version="1",quantile="0.99"} 1654
nv_inference_request_summary_us{model="toy",version="12",quantile="0.99"} 1.2e+06
nv_inference_request_summary_us{model="idle",version="1",quantile="0.99"} Nan
"""


@pytest.mark.parametrize(
    ("model", "version", "value"),
    [("toy", 1, 1654.0), ("toy", 12, 1.2e6), ("toy", 2, None), ("idle", 1, None)],
)
def test_the_p99_of_a_version_is_read(model: str, version: int, value: float | None) -> None:
    assert metrics.p99(METRICS, model, version) == value


@given(st.permutations(range(5)))
def test_stages_are_walked_in_the_order_of_their_data(order: list[int]) -> None:
    chain = [Step(f"stage{n}", 1, {"IN": f"t{n}", "EXTRA": "TEXT"}, {"OUT": f"t{n + 1}"}) for n in range(5)]
    assert in_order([chain[n] for n in order]) == chain
    assert in_order([]) == []
