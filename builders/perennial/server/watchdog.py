"""Watches the stages of a running server each second, and revives one that is dead.

A stage whose process was killed fails what reaches that process, while the server's health stays good. Two
looks find it: at the processes themselves, since under load a question seldom meets the one that is dead; and
a real question to every service, for a stage that runs but does not answer (`examine`). Leaves the questions
to its caller, and a server that is away to whoever started it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from perennial.errors import PerennialError, Unavailable
from perennial.server.control import Control
from perennial.server.examine import Question, examine
from perennial.server.stubs import stubs

PERIOD_S = 1.0
TRIES = 5
LINGER_S = 5.0
"""What a revived stage's last processes get to finish what they are at."""

Stage = tuple[str, int]
"""A model and one version of it."""

log = logging.getLogger(__name__)


@dataclass
class _Tries:
    """Revivals that have not helped yet, and when the next may be (monotonic seconds)."""

    made: int = 0
    not_before: float = 0.0

    @property
    def may(self) -> bool:
        return self.made < TRIES and time.monotonic() >= self.not_before

    def count(self) -> None:
        self.made += 1
        self.not_before = time.monotonic() + 2.0**self.made


class Watchdog:
    """`questions` says what to ask now; `repository` is the folder that the server `server_pid` loads.

    Where it runs elsewhere (None), its processes are not seen, and questions alone find what is dead.
    """

    def __init__(
        self,
        control: Control,
        questions: Callable[[], Sequence[Question]],
        repository: Path,
        server_pid: int | None,
    ) -> None:
        self._control = control
        self._questions = questions
        self._repository = repository.resolve()
        self._server_pid = server_pid
        self._instances: dict[str, int] = {}
        self._tries: dict[Stage, _Tries] = {}
        self._replaced: dict[psutil.Process, float] = {}

    def run(self, stop: threading.Event) -> None:
        """A round each second until `stop` is set."""
        while not stop.wait(PERIOD_S):
            try:
                self.round()
            except (PerennialError, psutil.Error) as error:
                log.info("nothing to watch: %s", error)

    def round(self) -> None:
        """Find what is dead, and revive it unless that was tried too often or too lately."""
        self._end_replaced()
        faults = self._faults()
        for model, version in self._tries.keys() - faults.keys():
            log.warning("%s %d answers again", model, version)
            del self._tries[model, version]
        for (model, version), reason in faults.items():
            self._treat(model, version, reason)

    def _faults(self) -> dict[Stage, str]:
        found = dict.fromkeys(self._incomplete() if self._server_pid else (), "a process of it has died")
        for question in self._questions():
            try:
                fault = examine(self._control, question)
            except Unavailable as error:
                log.debug("%s is busy: %s", question.model, error)
            except PerennialError as error:
                log.warning("%s cannot be asked: %s", question.model, error)
            else:
                found.update({(fault.model, fault.version): fault.reason} if fault else {})
        return found

    def _incomplete(self) -> set[Stage]:
        """The versions that serve with fewer processes than they have instances, at two looks: one look may
        fall between a version's coming or going and the server's word of it."""
        if not (seen := self._incomplete_now()):
            return seen
        time.sleep(0.2)
        return seen & self._incomplete_now()

    def _incomplete_now(self) -> set[Stage]:
        serving = [(known.model, known.version) for known in self._control.index() if known.state == "READY"]
        running = self._running()
        return {stage for stage in serving if self._lacks(stage[0], running.get(self._folder(stage), []))}

    def _lacks(self, model: str, running: Sequence[psutil.Process]) -> bool:
        have = len([process for process in running if process not in self._replaced])
        if self._instances.get(model, have + 1) > have:  # a config that changed is seen when it matters
            self._instances[model] = self._control.processes(model)
        return have < self._instances[model]

    def _treat(self, model: str, version: int, reason: str) -> None:
        tries = self._tries.setdefault((model, version), _Tries())
        if not tries.may:
            return
        tries.count()
        log.warning(
            "%s %d is dead (%s); reviving it, try %d of %d", model, version, reason, tries.made, TRIES
        )
        try:
            self._revive((model, version))
        except (PerennialError, OSError) as error:
            log.warning("%s %d cannot be revived: %s", model, version, error)
        if tries.made == TRIES:
            log.error("that was the last try; if it stays dead, promote another release or start again")

    def _revive(self, stage: Stage) -> None:
        """Start new processes for the version; the model's other versions and every other model answer on.

        A load does so only for a version that is newer on disk than at its last load. The version that it
        replaces Triton never lets go once a process of it has died: the others are ended here.
        """
        folder = self._folder(stage)
        last = self._running().get(folder, [])
        os.utime(folder)
        self._control.load(stage[0])
        self._replaced |= dict.fromkeys(last, time.monotonic() + LINGER_S)

    def _end_replaced(self) -> None:
        for process in [process for process, due in self._replaced.items() if time.monotonic() >= due]:
            del self._replaced[process]
            if process.is_running():
                process.kill()

    def _running(self) -> dict[Path, list[psutil.Process]]:
        return stubs(self._server_pid) if self._server_pid else {}

    def _folder(self, stage: Stage) -> Path:
        return self._repository / stage[0] / str(stage[1])
