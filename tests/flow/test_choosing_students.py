"""Which student is chosen, and what a person is told of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from perennial.cli.compress import asked_for, tell
from perennial.cli.output import console
from perennial.cli.times import milliseconds
from perennial.errors import BadRequest, NotFound
from perennial.jobs.choose import chosen, nearest, optimal
from perennial.jobs.data import read_texts
from perennial.jobs.workshop import Workshop


def row(points: float, texts_per_s: float, p99_ms: float = 8.0) -> dict[str, float]:
    figures = {"points": points, "low": points - 1, "high": points + 1, "texts_per_s": texts_per_s}
    return {
        **figures,
        "macro_f1": 0.6 + points / 100,
        "p50_ms": p99_ms / 2,
        "p99_ms": p99_ms,
        "file_mb": 20.0,
        "memory_mb": 60.0,
    }


ROWS = {
    "serving": row(0.0, 100),
    "distill-half": row(-0.4, 190, 5.0),
    "distill-third": row(-0.9, 270, 4.0),
    "prune-quarter": row(-2.5, 300, 3.0),
    "sparsity-2-of-4": row(-0.6, 99),
}


@pytest.mark.parametrize(
    ("max_drop", "p99_ms", "name"),
    [
        (1.0, None, "distill-third"),
        (0.5, None, "distill-half"),
        (3.0, None, "prune-quarter"),
        (1.0, 4.0, "distill-third"),
    ],
)
def test_the_quickest_within_the_limits_is_chosen(max_drop: float, p99_ms: float | None, name: str) -> None:
    assert chosen(ROWS, max_drop, p99_ms) == name


@pytest.mark.parametrize(
    ("max_drop", "p99_ms", "said"),
    [
        (0.3, None, "distill-half is nearest: -0.4 points, p99 5.0 ms, 190 texts/s where 100 serve"),
        (1.0, 3.5, "a p99 of 3.5 ms; prune-quarter is nearest"),
    ],
)
def test_where_none_keeps_the_limits_the_nearest_is_named(
    max_drop: float, p99_ms: float | None, said: str
) -> None:
    assert chosen(ROWS, max_drop, p99_ms) is None
    assert said in nearest(ROWS, max_drop, p99_ms)


def test_a_student_that_is_no_quicker_is_not_chosen_however_good() -> None:
    assert chosen({name: ROWS[name] for name in ("serving", "sparsity-2-of-4")}, 1.0, None) is None


def test_the_front_is_what_nothing_beats_in_both() -> None:
    assert optimal(ROWS) == ["prune-quarter", "distill-third", "distill-half", "serving"]


def test_texts_are_lines_or_the_text_of_jsonl(tmp_path: Path) -> None:
    plain, rows = tmp_path / "texts.txt", tmp_path / "texts.jsonl"
    plain.write_text('one\n\n {"text": "two"} \n')
    rows.write_text('{"text": "one", "label": "ignored"}\n\n{"text": "two"}\n')
    assert [example.text for example in read_texts(plain)] == ["one", '{"text": "two"}']
    assert [example.text for example in read_texts(rows)] == ["one", "two"]


@pytest.mark.parametrize(("name", "content"), [("a.txt", "\n"), ("a.jsonl", "plain"), ("a.jsonl", "{}")])
def test_a_file_without_texts_is_one_clear_error(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BadRequest, match=name):
        read_texts(tmp_path / name)


def test_limits_and_recipes_are_read_as_people_write_them() -> None:
    assert [milliseconds(text) for text in ("5ms", "2.5", "0.5s")] == [5.0, 2.5, 500.0]
    for wrong in ("fast", "0ms", "-1"):
        with pytest.raises(typer.BadParameter, match="is no time"):
            milliseconds(wrong)
    assert asked_for(["prune", "distill-third", "prune"]) == ["distill-third", "prune"]
    with pytest.raises(NotFound, match="no student 'tenth'; its sizes: half, slim, third"):
        asked_for(["distill-tenth"])
    with pytest.raises(NotFound, match="did you mean 'distill'"):
        asked_for(["distil"])


def test_a_job_is_told_as_a_table_a_report_and_a_picture(
    shop: Workshop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "width", 160)
    payload = {"recipes": ["distill"], "max_drop": 0.1, "p99_ms": None, "dry_run": False}
    shop.store.enqueue("tone", "compress", "asked", payload)
    lease = shop.store.acquire("worker", "me", 60.0)
    assert lease
    job = shop.store.next_job(lease)
    assert job
    job = shop.store.record(job, lease, "measure", {"rows": ROWS})
    shop.store.settle(job, lease, "refused", "choose: no student is quicker")
    with pytest.raises(typer.Exit):
        tell(shop, shop.store.job(job.id), as_json=False)
    told = capsys.readouterr().out
    assert all(name in told for name in ROWS) and told.count("Pareto") == 4
    assert "refused choose: no student is quicker" in told
    reports = shop.state.folder("reports")
    assert json.loads((reports / "compress-tone.json").read_text())["rows"] == ROWS
    assert (reports / "compress-tone.png").read_bytes().startswith(b"\x89PNG")
