"""Puts the files of pools into instances: before the first device of a pool, and after changes of leases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final

from hotplugd.model.pool_file import PoolFile
from hotplugd.model.ports import Gone, Refused, ServerError, ServerPort
from hotplugd.model.problem import Problem
from hotplugd.model.values import Instance, InstanceName
from hotplugd.rules.pools import Pool

NO_LEASES: Final = "[]"
_NO_POOLS: Final[Mapping[str, Pool]] = MappingProxyType({})
_NONE_YET: Final = "", frozenset[PoolFile]()


class PoolFiles:
    """Which files of pools were put into which instances. All of it belongs to the event loop.

    server  puts files into instances
    read    a file of the host's. Raises OSError, with a text fit to be shown
    leases  what the files of leases inside each instance say, by path, and since which of its starts
    """

    def __init__(self, server: ServerPort, read: Callable[[str], Awaitable[bytes]]) -> None:
        self._server = server
        self._read = read
        self._pools = _NO_POOLS
        # The files that an instance has, and since which of its starts. What was seen stopped has none, since
        # no start: the devices that it keeps meanwhile are there when it starts again.
        self._has: dict[InstanceName, tuple[str, frozenset[PoolFile]]] = {}
        self.leases: dict[InstanceName, dict[str, tuple[str, str]]] = {}
        self._wrong: dict[tuple[InstanceName, str], Problem] = {}

    def set_rules(self, pools: Mapping[str, Pool]) -> None:
        """Take these pools from now on: their files may differ."""
        self._pools = pools
        self._has = {name: known for name, known in self._has.items() if known == _NONE_YET}
        self._wrong.clear()

    def forget(self, name: InstanceName, *, gone: bool) -> None:
        """There is no such instance, or it stopped: what is on a tmpfs inside is gone."""
        self.leases.pop(name, None)
        if gone:
            self._has.pop(name, None)
        else:
            self._has[name] = _NONE_YET
        for key in [key for key in self._wrong if key[0] == name]:
            del self._wrong[key]

    async def before(self, instance: Instance, pools: Collection[str]) -> None:
        """Devices of these pools are about to be put into an instance. Raises ServerError where the server
        may do it later; what it refuses, and what cannot be read, is a problem, and keeps no device out.
        """
        if files := self._of(pools):
            await self._before(instance, files)

    async def _before(self, instance: Instance, files: Iterable[PoolFile]) -> None:
        name = instance.id
        started, has = self._has.get(name, _NONE_YET)
        if started != instance.started:
            has = frozenset()
        self._has[name] = instance.started, has
        for file in files:
            if file not in has and await self._put(name, file):
                has |= {file}
                if name in self._has:
                    self._has[name] = instance.started, has

    async def after(self, instance: Instance, pools: Iterable[str]) -> None:
        """The instance has leases as its configuration says, and may have devices of these pools."""
        pools = [*pools]
        if self._lacks_files(instance, pools):
            # It is tried again later where the server may do it then.
            with suppress(ServerError):
                await self._before(instance, self._of(pools))
        for path, text in self._other_leases(instance, pools):
            file = PoolFile("", path, mode="0644")
            if await self._tried(instance.id, file, text.encode() + b"\n"):
                self.leases.setdefault(instance.id, {})[path] = instance.started, text

    def differs(self, instance: Instance, pools: Iterable[str]) -> bool:
        """Whether a file inside says anything else of leases, or is not there. As `after`."""
        pools = [*pools]
        return self._lacks_files(instance, pools) or any(self._other_leases(instance, pools))

    def _of(self, pools: Iterable[str]) -> list[PoolFile]:
        return [each for pool in pools if pool in self._pools for each in self._pools[pool].files]

    def _lacks_files(self, instance: Instance, pools: Iterable[str]) -> bool:
        """Whether it had files, and has them no more since it was started anew; what failed is a problem."""
        name = instance.id
        if not instance.running or not instance.known or name not in self._has:
            return False
        started, has = self._has[name]
        lacks = (each for each in self._of(pools) if started != instance.started or each not in has)
        return any((name, each.path) not in self._wrong for each in lacks)

    def _other_leases(self, instance: Instance, pools: Iterable[str]) -> list[tuple[str, str]]:
        """The files of leases that are to be written, and what they say."""
        if not instance.running or not instance.known:
            return []
        known = self.leases.get(instance.id, {})
        asked = {self._pools[pool].leases_file for pool in pools if pool in self._pools} - {""}
        texts = (
            (path, instance.leases if path in asked and instance.leases else NO_LEASES)
            for path in sorted(asked | known.keys())
        )
        return [(path, text) for path, text in texts if known.get(path) != (instance.started, text)]

    def problems(self) -> list[Problem]:
        """Which files are not inside, and why."""
        return [*self._wrong.values()]

    async def _put(self, name: InstanceName, file: PoolFile) -> bool:
        try:
            content = await self._read(file.source)
        except OSError as error:
            self._note(name, file, str(error) or "the disk does not answer")
            return False
        try:
            await self._server.put_file(name, file, content)
        except Gone:
            raise
        except Refused as error:
            self._note(name, file, str(error))
            return False
        self._wrong.pop((name, file.path), None)
        return True

    async def _tried(self, name: InstanceName, file: PoolFile, content: bytes) -> bool:
        """Returns whether the server has answered: what it refuses it would refuse again."""
        try:
            await self._server.put_file(name, file, content)
        except ServerError as error:
            self._note(name, file, str(error))
            return isinstance(error, Refused)
        self._wrong.pop((name, file.path), None)
        return True

    def _note(self, name: InstanceName, file: PoolFile, reason: str) -> None:
        pool = next((pool.name for pool in self._pools.values() if file in pool.files), "")
        pool = pool or next((each.name for each in self._pools.values() if each.leases_file == file.path), "")
        message = f"{file.path} cannot be put into {name}: {reason}"
        self._wrong[name, file.path] = Problem("", "", message, instance=str(name), pool=pool)
