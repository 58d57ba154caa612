"""LXD and Incus: one server, asked in threads, and what is known of its instances between two requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Final, TypeVar

from hotplugd.aio.threads import NoThread, Threads
from hotplugd.aio.turns import Turns
from hotplugd.model.pool_file import PoolFile
from hotplugd.model.ports import Gone, Member, Ran, ServerError, ServerInfo, Unreachable
from hotplugd.model.values import Entry, Instance, InstanceName
from hotplugd.server.api import Api, sharing
from hotplugd.server.connection import Connection
from hotplugd.server.events import Lifecycle, lifecycle
from hotplugd.server.exec import Exec
from hotplugd.server.files import put_file
from hotplugd.server.update import Revision

T = TypeVar("T")

# Seconds that a call may take as a whole.
_CALL: Final = 45.0
# So many requests about instances of one project are under way at a time. With more the server is no sooner
# done (40 updates: 0.6 s with 4 or 16 at a time), and those of other projects wait for it.
_SHARE: Final = 16
# So many projects are listed at a time: the event loop shares its processor with those that read answers.
_LISTINGS: Final = 16
# Each in so many seconds, where there are several: a thousand instances take 0.2 s.
_LISTED_IN: Final = 15.0


class Lxd:
    """One server, spoken to through its socket or over https.

    unlisted  the projects of which the last listing could not tell, and why
    answered  set by each answer, be it a refusal
    """

    def __init__(self, address: str, threads: Threads) -> None:
        self.address = address
        self.unlisted: Mapping[str, str] = {}
        self.answered = asyncio.Event()
        self._threads = threads
        self._shares = Turns(_SHARE)
        self._connection = Connection(address, _CALL)
        self._api = Api(self._connection)
        # What the next update can start from without asking first, while events tell of whatever changes it.
        self._revisions: dict[InstanceName, Revision] = {}
        self._told = False
        # When each was asked for, in turns: a listing that was asked for before may be older.
        self._asked: dict[InstanceName, int] = {}
        self._turns = count(1)

    async def connect(self) -> ServerInfo:
        """Open a connection and say who answers. Raises Unreachable, or Refused where we are not trusted."""
        return await self._call(self._connection.connect)

    async def members(self) -> list[Member]:
        """The members of the cluster; none where the server is in no cluster."""
        return await self._call(self._api.members)

    async def list(self, only: Collection[str] = ()) -> list[Instance]:
        """All instances of all projects that we may see, or of some, but for those in `unlisted`.

        Each project is listed by itself: what one has, or how slow that is, is not to keep the others from
        being known. Raises Unreachable where none of all could be listed, or the server is away by now.

        only  the names of some projects; none for all
        """
        asked = next(self._turns)
        projects = only or await self._call(self._api.projects)
        scopes = [{"project": each} for each in projects]
        # Where there is one there may be another in a moment.
        if len(scopes) <= 1 and not only and self._connection.projects is None:
            scopes = [{"all-projects": "true"}]
        turns = asyncio.Semaphore(_LISTINGS)

        async def one(scope: Mapping[str, str]) -> Sequence[tuple[Instance, bool]] | ServerError:
            try:
                # One is not to keep the others waiting; where there is one alone it has all the time.
                async with turns, asyncio.timeout(_LISTED_IN if only or len(scopes) > 1 else None):
                    return await self._call(lambda: self._api.instances(scope, known))
            except TimeoutError:
                return Unreachable(f"{self.address} has not told of all its instances in {_LISTED_IN:.0f} s")
            except Gone:
                return []  # the project, since we asked which there are
            except ServerError as error:
                return error

        known = dict(self._revisions)
        answers = await asyncio.gather(*map(one, scopes)) if len(scopes) != 1 else [await one(scopes[0])]
        failed = [each for each in answers if isinstance(each, ServerError)]
        if failed:
            await self._see_answering(failed[0] if len(failed) == len(answers) and not only else None)
        others = {each: why for each, why in self.unlisted.items() if only and each not in only}
        self.unlisted = others | {
            scope["project"]: str(each)
            for scope, each in zip(scopes, answers, strict=True)
            if isinstance(each, ServerError)
        }
        listed = [pair for each in answers if not isinstance(each, ServerError) for pair in each]
        before, self._revisions = self._revisions, {}
        for instance, same in listed:
            if (found := before.get(instance.id)) is not None and (
                found.instance == instance if found is not known.get(instance.id) else same
            ):
                # Where the rest is another by now its ETag is, too, and the server refuses.
                self._revisions[instance.id] = found
            elif instance.known and self._asked.get(instance.id, 0) < asked:
                self._keep(instance.id, Revision(instance))
                self._asked[instance.id] = asked
        self._revisions |= {
            name: found
            for name, found in before.items()
            if name.project in self.unlisted or (only and name.project not in only)
        }
        self._asked = {
            name: turn for name, turn in self._asked.items() if turn > asked or name in self._revisions
        }
        return [instance for instance, _ in listed]

    async def get(self, name: InstanceName) -> Instance:
        """The instance as it is now, not `known` where its server cannot tell. Raises Gone."""
        before = self._begin(name)
        found = await self._call_for(name, partial(self._api.get, name))
        if before is not None:
            found = replace(found, instance=sharing(found.instance, before.instance))
        return self._keep(name, found)

    async def apply(
        self,
        name: InstanceName,
        put: Sequence[Entry],
        remove: Sequence[str],
        sealed: Instance | None = None,
        leases: str | None = None,
    ) -> Instance:
        """Put entries in and take entries of ours out, as one request. See `ports.ServerPort`."""
        known = self._begin(name)
        asked = name, put, remove, known, sealed, leases
        async with self._shares.of(name.project):
            begun = self._api.begin(*asked)
            try:
                return self._keep(name, await self._call(lambda: self._api.apply(*asked, begun)))
            finally:
                if begun is not None and not begun.taken:
                    begun.drop()

    async def clear(self, name: InstanceName, left: Sequence[Entry]) -> None:
        """Take away what the server left of these entries. See `ports.Server`."""
        self._begin(name)
        await self._call_for(name, partial(self._api.clear, name, left))

    async def link(self, name: InstanceName, path: str, target: str) -> None:
        """Make or take away a link inside. See `ports.Server`."""
        await self._call_for(name, partial(self._api.link, name, path, target))

    async def put_file(self, name: InstanceName, file: PoolFile, content: bytes) -> None:
        """Have a file inside. See `ports.ServerPort`."""
        await self._call_for(name, lambda: put_file(self._connection.tree, name, file, content))

    async def init(self, name: InstanceName) -> int:
        """The process number of the instance's init, as the host counts. Raises Gone where it does not run.

        Takes the server 50 ms and more, since it gathers much else.
        """
        return await self._call_for(name, partial(self._api.init, name))

    async def run(self, name: InstanceName, command: Sequence[str], within: float, given: bytes = b"") -> Ran:
        """Run a command inside. See `ports.CommandPort`."""
        return await Exec(self.address, self._connection.identity()).run(name, command, within, given)

    def waiting(self) -> Mapping[str, int]:
        """How many requests about one instance each wait for others of the same project, by project."""
        return self._shares.waiting()

    def close(self) -> None:
        """Let go of connections and threads."""
        self._connection.close()
        self._threads.close()

    async def events(self) -> AsyncGenerator[Lifecycle | None, None]:
        """What happens to instances, as it happens. The first item is None: from here on nothing is missed.

        Ends by Unreachable when the server goes away, or falls silent.
        """
        try:
            # Whoever stops listening ends the stream too, and not whenever it is collected.
            async with aclosing(
                lifecycle(self.address, self._connection.identity(), self._connection.projects)
            ) as stream:
                async for happened in stream:
                    self._told = True
                    yield happened
        finally:
            self._told = False
            self._revisions.clear()

    async def _see_answering(self, failed: ServerError | None) -> None:
        """A listing failed for some projects, or, with this, for all. Raises ServerError where the server is
        away by now: then that says nothing of the projects.
        """
        if failed is not None:
            raise failed
        await self._call(self._api.answer)

    def _begin(self, name: InstanceName) -> Revision | None:
        """A request about the instance begins: what was known of it, which nobody else is to start from."""
        self._asked[name] = next(self._turns)
        return self._revisions.pop(name, None)

    def _keep(self, name: InstanceName, known: Revision) -> Instance:
        if self._told:
            self._revisions[name] = known if known.kept else Revision(known.instance)
        return known.instance

    async def _call_for(self, name: InstanceName, work: Callable[[], T]) -> T:
        """As `_call`, about an instance: those of one project wait for each other, and for no others."""
        async with self._shares.of(name.project):
            return await self._call(work)

    async def _call(self, work: Callable[[], T]) -> T:
        try:
            found = await self._threads.call(partial(self._connection.guarded, work), _CALL)
        except Unreachable:
            raise
        except ServerError:
            self.answered.set()
            raise
        except NoThread as error:
            raise Unreachable(f"{self.address} cannot be asked: {error}") from error
        except TimeoutError as error:
            raise Unreachable(f"{self.address} did not finish its answer in {_CALL:.0f} s") from error
        self.answered.set()
        return found
