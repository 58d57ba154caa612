"""Looks inside whether attached devices are ready, and tells of those that are not.

Nothing waits for it: a device is attached as soon as it can be, and is looked at afterwards.
`pools.readiness` says when, and what follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from structlog.typing import FilteringBoundLogger

from hotplugd.aio.tasks import Activity
from hotplugd.model.ports import CommandPort, Ran, Refused, ServerError
from hotplugd.model.problem import Problem
from hotplugd.model.text import counted
from hotplugd.model.values import InstanceName
from hotplugd.plan.about import ABOUT, Fields
from hotplugd.plan.change import Attachment
from hotplugd.plan.kinds.kind import Want
from hotplugd.pools import adb
from hotplugd.pools.health import UNKNOWN, Health
from hotplugd.pools.leasing import Leasing
from hotplugd.pools.readiness import Answer, Watch, of_adb, of_command
from hotplugd.rules.keys import SERIAL
from hotplugd.rules.pool_health import Ready
from hotplugd.rules.template import TemplateError, render

# So many commands run at a time on one server.
_COMMANDS: Final = 4
_MINUTE: Final = 60

_Key = tuple[InstanceName, str]
"""An instance, and the slot of what is in it."""


@dataclass(slots=True)
class _Watched:
    """A device in an instance.

    device  what it is known by in leases; empty for one of no pool
    asking  whether somebody looks at it now
    told    what was told of its problem, if it has one, and `what` that is by
    """

    want: Want
    device: str
    watch: Watch
    asking: bool = False
    told: Fields | None = None
    what: tuple[str, bool | None, str] = ("", None, "")


class Readiness:
    """The devices that are looked at. All of it belongs to the event loop.

    commands  runs commands inside
    leasing   has the rules, and knows devices of pools
    present   the slots of the devices that are there
    has       called with what a device is known by in leases, and its health, when that is another
    now       the time of day, ISO 8601
    """

    def __init__(
        self,
        commands: CommandPort,
        leasing: Leasing,
        present: Container[str],
        has: Callable[[str, Health], None],
        log: FilteringBoundLogger,
        now: Callable[[], str],
    ) -> None:
        self._commands = commands
        self._leasing = leasing
        self._present = present
        self._has = has
        self._log = log
        self._now = now
        self._loop = asyncio.get_running_loop()
        # Checks do not count as work that `settled` waits for.
        self._activity = Activity()
        self._room = asyncio.Semaphore(_COMMANDS)
        self._watched: dict[_Key, _Watched] = {}
        self._by_instance: dict[InstanceName, set[_Key]] = {}
        # Which enumeration of a device is bad, and why: the next one may do well.
        self._bad: dict[str, tuple[str, Health]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def attached(self, name: InstanceName, attachments: Sequence[Attachment]) -> None:
        """These are attached to an instance that runs, and no others; none to one that does not run."""
        before = self._by_instance.pop(name, set())
        there = {(name, want.slot): found for found in self._asked_of(attachments) for want in (found.want,)}
        for key in before - there.keys():
            self._forget(key)
        if not there:
            return
        self._by_instance[name] = {*there}
        is_new = False
        for key, found in there.items():
            known = self._watched.get(key)
            if known is not None and known.watch.ready == found.watch.ready and known.device == found.device:
                known.want = found.want
                continue
            self._forget(key)
            self._watched[key] = found
            is_new = True
        if is_new:
            self._set_timer()

    def enumerated(self, device: str, slot: str) -> None:
        """A device of a pool is there, by this enumeration: one that was bad before may do well now."""
        if device in self._bad and self._bad[device][0] != slot:
            self.forgive(device)

    def only(self, slots: Container[str]) -> None:
        """There are devices with these slots alone: what was bad of others is gone."""
        for device in [device for device, (slot, _) in self._bad.items() if slot not in slots]:
            self.forgive(device)

    def health(self, device: str) -> Health:
        """The health of a device that is bad, by what it is known by; `UNKNOWN` of others."""
        return self._bad[device][1] if device in self._bad else UNKNOWN

    @property
    def bad(self) -> tuple[str, ...]:
        """What the devices are known by that are bad."""
        return tuple(self._bad)

    def forgive(self, device: str) -> bool:
        """Let a device be given again, since somebody says so. Returns whether it was bad."""
        if self._bad.pop(device, None) is None:
            return False
        self._has(device, UNKNOWN)
        return True

    def problems(self) -> list[Problem]:
        """Which devices are attached and not ready, for how long, and why."""
        now = self._loop.time()
        return [
            Problem(
                str(each.want.device),
                each.want.rule.name,
                _message(each, _age(now - each.watch.unready) if each.watch.unready is not None else ""),
                pool=each.want.attach.pool,
            )
            for each in self._watched.values()
            if each.told is not None
        ]

    def close(self) -> None:
        """End what is under way, and do nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._activity.close()
        self._watched.clear()

    # --- within -----------------------------------------------------------------------------------------

    def _asked_of(self, attachments: Sequence[Attachment]) -> Iterator[_Watched]:
        """Those of which rules say how it is found out whether they are ready."""
        pools, now = self._leasing.rules.pools, self._loop.time()
        for each in attachments:
            # Empty for those of no pool, and for what goes along with one.
            attach, device = each.want.attach, self._leasing.key_of(each.want.device)
            pool = pools.get(attach.pool) if device else None
            ready = attach.ready or (pool.ready if pool is not None else None)
            # One that was seen inside, and cannot be seen now, is looked at as before.
            if ready is not None and (each.verified or (each.want.instance, each.want.slot) in self._watched):
                yield _Watched(each.want, device, Watch(ready, now))

    def _forget(self, key: _Key) -> None:
        """It is attached there no more, or is to be looked at anew."""
        found = self._watched.pop(key, None)
        if found is not None and found.told is not None:
            self._log.info("problem.over", **found.told)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = (each.watch.due for each in self._watched.values() if not each.asking)
        if (due := min(waiting, default=None)) is not None:
            self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        """Ask of all whose time it is: of an adb server once for all its phones."""
        self._timer = None
        now = self._loop.time()
        due = [key for key, each in self._watched.items() if not each.asking and each.watch.due <= now]
        by_server: dict[InstanceName, list[_Key]] = {}
        for key in due:
            found = self._watched[key]
            found.asking = True
            if found.watch.ready.command:
                self._ask((key,))
            else:
                by_server.setdefault(key[0], []).append(key)
        for keys in by_server.values():
            self._ask(tuple(keys))
        self._set_timer()

    def _ask(self, keys: Sequence[_Key]) -> None:
        watched = [self._watched[key] for key in keys]

        async def ask() -> None:
            async with self._room:
                answers = await self._answers(keys[0][0], watched)
            for key, found, answer in zip(keys, watched, answers, strict=True):
                found.asking = False
                # Meanwhile it may have gone, or another may be in its place.
                if self._watched.get(key) is found:
                    self._learn(found, answer)
            self._set_timer()

        self._activity.start(ask, lambda _: None)

    async def _answers(self, name: InstanceName, watched: Sequence[_Watched]) -> list[Answer]:
        """What is found inside of these, all of which one command tells."""
        ready = watched[0].watch.ready
        try:
            if ready.command:
                return [of_command(await self._run(name, watched[0].want, ready))]
            ran = await self._ask_adb(name, ready.timeout)
        except (Refused, TemplateError) as error:
            return [Answer(None, f"it cannot be found out: {error}")] * len(watched)
        except ServerError as error:
            return [Answer(None, str(error), wrong=False)] * len(watched)
        return [
            of_adb(ran, next(iter(SERIAL.values(each.want.device)), ""), each.want.device.kernel)
            for each in watched
        ]

    async def _run(self, name: InstanceName, want: Want, ready: Ready) -> Ran:
        command = [render(word, want.device, want.rule.keys) for word in ready.command]
        return await self._commands.run(name, command, ready.timeout)

    async def _ask_adb(self, name: InstanceName, within: float) -> Ran:
        """What the adb server says that listens inside. Raises Refused where nothing can connect to it."""
        refused = ""
        for command in adb.COMMANDS:
            try:
                return await self._commands.run(name, command, within, adb.REQUEST)
            except Refused as error:
                refused = str(error)
        words = " nor ".join(command[0] for command in adb.COMMANDS)
        raise Refused(f"neither {words} is inside, by which the adb server could be asked: {refused}")

    def _learn(self, found: _Watched, answer: Answer) -> None:
        before, now = found.watch, self._loop.time()
        found.watch = before.answered(answer, now)
        # Where nobody can tell it is what it was.
        answer = found.watch.answer or answer
        is_other = before.answer is None or before.state != found.watch.state or answer != before.answer
        slot = found.want.device.slot
        # Of an enumeration that is over the answer says nothing about the one that is there.
        if found.device and is_other and slot in self._present:
            health = Health(found.watch.state, answer.reason, self._now())
            if health.state == "bad":
                self._bad[found.device] = slot, health
            else:
                self._bad.pop(found.device, None)
            self._has(found.device, health)
        self._tell(found, answer)

    def _tell(self, found: _Watched, answer: Answer) -> None:
        """Tell of a problem that begins, is another or is over."""
        wrong = not answer.ready and answer.wrong
        fields: Fields = {
            ABOUT: found.want.device,
            "rule": found.want.rule.name,
            "instance": str(found.want.instance),
            **({"pool": found.want.attach.pool} if found.want.attach.pool else {}),
            "reason": _message(found, ""),
        }
        # What a command writes may be another text each time, and is told once.
        what = found.watch.state, answer.ready, "" if found.watch.ready.command else answer.reason
        if found.told is not None and (not wrong or found.what != what):
            self._log.info("problem.over", **found.told)
            found.told = None
        if wrong and found.told is None:
            found.told, found.what = fields, what
            self._log.warning("health.problem", **fields)


def _message(found: _Watched, age: str) -> str:
    reason = found.watch.answer.reason if found.watch.answer is not None else ""
    how = "is attached and not ready" if found.watch.unready is not None else "is attached"
    bad = f" (bad: not ready within {found.watch.ready.within:.0f} s)" if found.watch.state == "bad" else ""
    return f"{found.want.device} in {found.want.instance} {how}{age}{bad}: {reason}"


def _age(seconds: float) -> str:
    if seconds < 2 * _MINUTE:
        return f" for {counted(round(seconds), 'second')}"
    return f" for {round(seconds / _MINUTE)} minutes"
