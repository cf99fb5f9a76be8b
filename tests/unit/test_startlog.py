"""Claims about reading why a server did not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from perennial.server.startlog import StartLog, cause

FAILURES = {
    "failed to load 'toy' version 1: Internal: RuntimeError: no label": [
        '2026-11-22T05:57:29Z E 7 server.cc:241] "CudaDriverHelper has not been initialized."',
        '2026-11-22T05:57:30Z E 7 backend_model.cc:692] "ERROR: Failed to create instance: no label\\n"',
        "2026-11-22T05:57:30Z E 7 model_lifecycle.cc:642] "
        "\"failed to load 'toy' version 1: Internal: RuntimeError: no label\\n\\nAt:\\n  model.py(1)\\n\"",
        "error: creating server: Invalid argument - load failed for model 'toy'",
    ],
    "failed to poll model 'gone': model not found in any model repository.": [
        "2026-11-22T05:57:33Z E 7 model_repository_manager.cc:1415] "
        "\"failed to poll model 'gone': model not found in any model repository.\"",
        "error: creating server: Internal - failed to load all models",
    ],
    "failed to start GRPC service: Unavailable - Socket '127.0.0.1:28001' already in use": [
        '2026-11-22T05:57:28Z E 7 main.cc:245] "failed to start GRPC service: Unavailable - Socket '
        "'127.0.0.1:28001' already in use \"",
    ],
    "tritonserver: error while loading shared libraries: libb64.so.0d: cannot open shared object file": [
        "tritonserver: error while loading shared libraries: libb64.so.0d: cannot open shared object file"
    ],
    "the last word": ["I 7 something", "the last word", ""],
    "it logged nothing": [],
}


@pytest.mark.parametrize("line", FAILURES)
def test_the_line_that_says_why_is_found(line: str) -> None:
    assert cause(FAILURES[line]) == line


def test_what_an_earlier_start_logged_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.write_text("error: an old story\n")
    log = StartLog(path)
    assert log.cause() == "it logged nothing"
    with path.open("a") as file:
        file.write("error: the news\n")
    assert log.cause() == "error: the news"
