"""Tells of the problems of one source: of each once, when it begins and when it is over."""

from __future__ import annotations

from collections.abc import Iterable

from structlog.typing import FilteringBoundLogger

from hotplugd.model.problem import Problem
from hotplugd.model.text import quoted
from hotplugd.model.values import Device
from hotplugd.plan.about import ABOUT, Fields


class ProblemLog:
    """What was told of and is not over.

    event  the name of the event that tells that a problem has begun
    """

    def __init__(self, log: FilteringBoundLogger, event: str) -> None:
        self._log = log
        self._event = event
        self._told: dict[Problem, Fields] = {}

    def are(self, problems: Iterable[Problem], devices: Iterable[Device] = ()) -> None:
        """Take these as all problems: log new ones, and those that are over. devices: of any of them"""
        now = dict.fromkeys(problems)
        if new := [each for each in now if each not in self._told]:
            known = {str(device): device for device in devices}
            for problem in new:
                fields: Fields = {"reason": problem.message}
                if problem.device:
                    fields["device"] = problem.device
                if (device := known.get(problem.device)) is not None:
                    fields[ABOUT] = device
                asked = (("instance", problem.instance), ("claim", problem.claim), ("pool", problem.pool))
                for name, value in (("rule", problem.rule), *asked):
                    if value:
                        fields[name] = quoted(value)
                self._told[problem] = fields
                self._log.warning(self._event, **fields)
        for problem in [each for each in self._told if each not in now]:
            self._log.info("problem.over", **self._told.pop(problem))
