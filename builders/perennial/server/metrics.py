"""The figures that tritonserver gives on its metrics port only, in Prometheus's text format."""

from __future__ import annotations

import re
import urllib.request
from http.client import HTTPException

from perennial.errors import Unavailable

_SUMMARY = re.compile(
    r"^nv_inference_request_summary_us\{(?P<labels>[^}]*)\} (?P<value>\d[\d.e+]*)$", re.MULTILINE
)
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""The server is on loopback or a neighbour: a proxy that the environment names is not for it."""


def read(url: str, timeout_s: float = 5.0) -> str:
    try:
        with _direct.open(url, timeout=timeout_s) as response:
            text: str = response.read().decode()
            return text
    except (OSError, HTTPException) as error:  # the latter where the server ends in mid-sentence
        raise Unavailable(f"the server's metrics at {url} do not answer: {error}") from None


def p99(text: str, model: str, version: int) -> float | None:
    """The p99 of the last minute's requests in microseconds; None where there was no request."""
    wanted = {f'model="{model}"', f'version="{version}"', 'quantile="0.99"'}
    for line in _SUMMARY.finditer(text):
        if wanted <= set(line["labels"].split(",")):
            return float(line["value"])
    return None
