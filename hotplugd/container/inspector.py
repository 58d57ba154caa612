"""Looks into running containers without waiting for any of them, and hears when something changes inside."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final

from hotplugd.aio.threads import NoThread, Threads
from hotplugd.container.opener import Opener
from hotplugd.container.root import Lost, Network, Root, look, open_at, process_folder
from hotplugd.model.ports import Unreachable
from hotplugd.model.values import Inside, InstanceName

# A look takes a fraction of a millisecond; what takes this long hangs.
_DEADLINE: Final = 2.0


class Inspector:
    """Holds the roots of running containers.

    opener   opens the roots of their inits
    init     asks the server for the process number of an instance's init, which takes it long
    changed  called with an instance in which something was mounted or unmounted; where that never ends once,
             until it is looked into again
    ended    called with an instance whose init ended
    """

    def __init__(
        self,
        threads: Threads,
        opener: Opener,
        init: Callable[[InstanceName], Awaitable[int]],
        changed: Callable[[InstanceName], None],
        ended: Callable[[InstanceName], None],
    ) -> None:
        self._threads = threads
        self._opener = opener
        self._init = init
        self._changed = changed
        self._ended = ended
        self._roots: dict[InstanceName, Root] = {}
        self._hanging: set[InstanceName] = set()
        self._opening: set[InstanceName] = set()
        self._users: frozenset[str] = frozenset()
        self._groups: frozenset[str] = frozenset()

    def ask_for(self, users: Iterable[str], groups: Iterable[str]) -> None:
        """From now on rules ask for the ids of these names."""
        self._users, self._groups = frozenset(users), frozenset(groups)

    async def look(
        self, name: InstanceName, paths: Sequence[str], interfaces: Sequence[str] | None = None
    ) -> Inside:
        """See `InspectorPort`. Raises any ServerError."""
        if name in self._hanging:
            raise Unreachable("an earlier look has not come back: a file system in there hangs")
        root = self._roots.get(name) or await self._hold(name)
        self._listen(name, root)
        try:
            held = root.duplicate()
        except OSError as error:
            raise Unreachable(str(error)) from error
        work = partial(look, *held, paths, self._users, self._groups, interfaces)
        self._hanging.add(name)

        def watched() -> Inside:
            try:
                return work()
            finally:
                self._threads.tell(self._hanging.discard, name)

        try:
            return await self._threads.call(watched, _DEADLINE)
        except NoThread as error:
            self._hanging.discard(name)
            for descriptor in held:
                os.close(descriptor)
            raise Unreachable(str(error)) from error
        except TimeoutError:
            raise Unreachable(f"nothing seen in {_DEADLINE:.0f} s: a file system in there hangs") from None
        except OSError as error:
            raise Unreachable(str(error)) from error

    async def node(self, name: InstanceName, path: str) -> int:
        """A descriptor (O_PATH) of what is at this path inside; the caller closes it. Raises any ServerError.

        May be cancelled.
        """
        if name in self._opening:
            raise Unreachable("an earlier look has not come back: a file system in there hangs")
        root = self._roots.get(name) or await self._hold(name)
        opened: list[int] = []
        over = False

        def came(descriptor: int) -> None:
            self._opening.discard(name)
            if over:
                os.close(descriptor)
            else:
                opened.append(descriptor)

        def work() -> None:
            try:
                descriptor = open_at(held, path)
            except BaseException:
                self._threads.tell(self._opening.discard, name)
                raise
            self._threads.tell(came, descriptor)

        try:
            held, process = root.duplicate()
        except OSError as error:
            raise Unreachable(str(error)) from error
        os.close(process)
        self._opening.add(name)
        try:
            await self._threads.call(work, _DEADLINE)
            return opened.pop()
        except NoThread as error:
            self._opening.discard(name)
            os.close(held)
            raise Unreachable(str(error)) from error
        except OSError as error:
            raise Unreachable(str(error)) from error
        finally:
            over = True
            for descriptor in opened:
                os.close(descriptor)

    def opened(self, name: InstanceName) -> tuple[int, int]:
        """See `Root.duplicate`, of an instance that was looked into. Raises Lost and OSError."""
        if (root := self._roots.get(name)) is None:
            raise Lost(f"{name} has no init any more")
        return root.duplicate()

    async def network(self, name: InstanceName) -> Network | None:
        """See `Root.network`, of an instance that was looked into. Raises Lost."""
        if (root := self._roots.get(name)) is None:
            raise Lost(f"{name} has no init any more")
        try:
            descriptor = await self._opener.network(root.process)
        except OSError as error:
            raise Lost(f"cannot have its network namespace: {error}") from error
        if self._roots.get(name) is not root:
            os.close(descriptor)
            raise Lost(f"{name} has no init any more")
        return root.network(descriptor)

    def forget(self, name: InstanceName) -> None:
        """Take note that the instance has another init than before, or none."""
        root = self._roots.pop(name, None)
        if root is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(root.pidfd)
            loop.remove_reader(root.mounts.fileno())
            root.close()

    def close(self) -> None:
        """Let go of all containers."""
        for name in list(self._roots):
            self.forget(name)

    async def _hold(self, name: InstanceName) -> Root:
        pid = await self._init(name)
        try:
            process = process_folder(pid)
            try:
                opened = await self._opener.root(process)
            except BaseException:
                os.close(process)
                raise
        except OSError as error:
            raise Unreachable(f"cannot look inside by process {pid}: {error}") from error
        try:
            root = Root(pid, process, opened)
        except Lost as error:
            raise Unreachable(str(error)) from error
        if (other := self._roots.get(name)) is not None:
            root.close()
            return other
        self._roots[name] = root
        asyncio.get_running_loop().add_reader(root.pidfd, self._on_end, name)
        return root

    def _listen(self, name: InstanceName, root: Root) -> None:
        """Watch for the next change. Called before a look, which sees all earlier ones."""
        if self._roots.get(name) is root:
            asyncio.get_running_loop().add_reader(root.mounts.fileno(), self._on_change, name, root)

    def _on_change(self, name: InstanceName, root: Root) -> None:
        # A container that mounts and unmounts without end is heard of at a limited rate.
        loop = asyncio.get_running_loop()
        root.pace.done(loop.time())
        if root.pace.due > loop.time():
            loop.remove_reader(root.mounts.fileno())
        self._changed(name)

    def _on_end(self, name: InstanceName) -> None:
        self.forget(name)
        self._ended(name)
