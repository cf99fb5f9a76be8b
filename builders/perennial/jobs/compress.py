"""A compression, top to bottom: from the serving release to a smaller, quicker one that answers as it does.

Every student is a step of its own. What follows the choice is what a rebuild's candidate goes through.
"""

from __future__ import annotations

from perennial.jobs import choose, measure, snapshot, students
from perennial.jobs.rebuild import carry_out
from perennial.jobs.run import Run
from perennial.jobs.workshop import Workshop
from perennial.types import Job, Lease


def compress(shop: Workshop, job: Job, lease: Lease) -> Job:
    return carry_out(Run(shop, job, lease), distil)


def distil(run: Run) -> None:
    run.step("snapshot", snapshot.take)
    run.step("teacher", students.ask_teacher)
    for student in students.planned(run):
        run.step(student.name, student.teach)
    run.step("measure", measure.measure)
    run.step("choose", choose.choose)
