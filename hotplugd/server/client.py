"""LXD and Incus: the only file that knows pylxd, and what differs between servers.

Requests go through pylxd's low-level tree, since its models know no ETags and put back every attribute they
once read. Facts about the server that this file leans on, each measured by hand on LXD 5.0.2 and Incus 6.0.4:

- PATCH is synchronous, merges `devices` by name, and empties `description` when it is left out.
- PATCH cannot delete a device there, so removals are GET and PUT with If-Match. A PUT is an operation.
- A request is all or nothing; its refusal names the entry to blame in double quotes.
- An instance read by itself and in a listing is the same. Its ETag covers all that an update writes down, but
  not the description; every update is told by an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, TypeVar
from urllib.parse import unquote

import requests
from pylxd import Client
from pylxd.client import DEFAULT_CERTS, get_session_for_url
from pylxd.exceptions import ClientConnectionFailed, LXDAPIException, NotFound

from hotplugd.aio.threads import NoThread, Threads
from hotplugd.aio.turns import Turns
from hotplugd.model.entry import MARK_INSTANCE, MARK_VERSION, SLOTS, VERSION, is_ours, mark_for, written
from hotplugd.model.ports import Busy, Gone, Member, Refused, ServerError, ServerInfo, Unreachable
from hotplugd.model.text import plain
from hotplugd.model.values import Ability, Entry, Instance, InstanceName
from hotplugd.server import decode
from hotplugd.server.certificates import pinned
from hotplugd.server.errors import NOT_LXD, failure, is_left_behind, refusal, short
from hotplugd.server.events import Identity, Lifecycle, lifecycle
from hotplugd.server.listing import elements
from hotplugd.server.transport import Http, Room

T = TypeVar("T")

# Seconds: to connect, between two bytes of an answer, for a whole call.
_CONNECT: Final = 5.0
_READ: Final = 30.0
_CALL: Final = 45.0
_CONNECTIONS: Final = 100
# Four thousand instances with 30 KB of cloud-init each, which is told twice, are listed in some 250 MB; and
# whoever may edit an instance may put many MB into it. It is taken piece by piece.
_LISTING: Final = 1 << 32
_CHUNK: Final = 1 << 16
# Each takes some 14 KB here, and a part of a millisecond at each listing.
_MOST_INSTANCES: Final = 20_000
# So many requests about instances of one project are under way at a time. With more the server is no sooner
# done (40 updates: 0.6 s with 4 or 16 at a time), and those of other projects wait for it.
_SHARE: Final = 16
# So many projects are listed at a time: the event loop shares its processor with those that read answers.
_LISTINGS: Final = 16
# Each in so many seconds, where there are several: a thousand instances take 0.2 s.
_LISTED_IN: Final = 15.0
# What is larger is not kept for the next update, but asked for.
_KEPT: Final = 1 << 16

_WRITABLE: Final = ("architecture", "config", "devices", "ephemeral", "profiles", "stateful", "description")
# No device has this number (Linux: overlayfs makes such nodes for what was deleted).
_NO_DEVICE: Final = {
    "source": f"{SLOTS}/.nowhere", "major": "0", "minor": "0", "mode": "0000", "required": "true",
}  # fmt: skip
# Linux: include/linux/threads.h, PID_MAX_LIMIT.
_PID_MOST: Final = 1 << 22

# Servers differ by version and by name; what they say they can is asked, and here alone.
_ABILITIES: Final[Mapping[str, Ability]] = {
    "device_usb_serial": "usb-number",
    "pci_hotplug": "pci-hotplug",
}


@dataclass(frozen=True, slots=True)
class _Found:
    """An instance as the server has it.

    raw   in the server's own words
    etag  of that. Both are empty where it was not read by itself: after a listing, or an update of ours
    kept  whether it may be kept as it is
    """

    instance: Instance
    raw: Mapping[str, Any] = field(default_factory=dict)
    etag: str = ""
    kept: bool = True


class Lxd:
    """One server, spoken to through its socket or over https.

    unlisted  the projects of which the last listing could not tell, and why
    """

    def __init__(self, address: str, threads: Threads) -> None:
        self.address = address
        self._threads = threads
        self.unlisted: Mapping[str, str] = {}
        self._client: Any = None
        self._session: Http | None = None
        self._room = Room()
        self._shares = Turns(_SHARE)
        self._info: ServerInfo | None = None
        # Those that our certificate is restricted to; None for all.
        self._projects: Sequence[str] | None = None
        # What the next update can start from without asking first, while events tell of whatever changes it.
        self._found: dict[InstanceName, _Found] = {}
        self._told = False
        # When each was asked for, in turns: a listing that was asked for before may be older.
        self._asked: dict[InstanceName, int] = {}
        self._turns = count(1)

    async def connect(self) -> ServerInfo:
        """Open a connection and say who answers. Raises Unreachable, or Refused where we are not trusted."""
        self._info = await self._call(self._connect)
        return self._info

    async def members(self) -> list[Member]:
        """The members of the cluster; none where the server is in no cluster."""

        def work() -> list[Member]:
            if not self._member():
                return []
            found = self._api.cluster.members.get(params={"recursion": 1}).json()["metadata"]
            return [
                Member(str(each["server_name"]), str(each["status"]), plain(str(each.get("message", ""))))
                for each in found
            ]

        return await self._call(work)

    async def list(self, only: Collection[str] = ()) -> list[Instance]:
        """All instances of all projects that we may see, or of some, but for those in `unlisted`.

        Each project is listed by itself: what one has, or how slow that is, is not to keep the others from
        being known. Raises Unreachable where none of all could be listed.

        only  the names of some projects; none for all
        """
        asked = next(self._turns)
        projects = only or await self._call(self._all_projects)
        scopes = [{"project": each} for each in projects]
        # Where there is one there may be another in a moment.
        if len(scopes) <= 1 and not only and self._projects is None:
            scopes = [{"all-projects": "true"}]
        turns = asyncio.Semaphore(_LISTINGS)

        async def one(scope: Mapping[str, str]) -> Sequence[tuple[Instance, bool]] | ServerError:
            try:
                # One is not to keep the others waiting; where there is one alone it has all the time.
                async with turns, asyncio.timeout(_LISTED_IN if only or len(scopes) > 1 else None):
                    return await self._call(lambda: self._compared(scope, known))
            except TimeoutError:
                return Unreachable(f"{self.address} has not told of all its instances in {_LISTED_IN:.0f} s")
            except Gone:
                return []  # the project, since we asked which there are
            except ServerError as error:
                return error

        known = dict(self._found)
        answers = await asyncio.gather(*map(one, scopes)) if len(scopes) != 1 else [await one(scopes[0])]
        failed = [each for each in answers if isinstance(each, ServerError)]
        if failed and len(failed) == len(answers) and not only:
            raise failed[0]
        others = {each: why for each, why in self.unlisted.items() if only and each not in only}
        self.unlisted = others | {
            scope["project"]: str(each)
            for scope, each in zip(scopes, answers, strict=True)
            if isinstance(each, ServerError)
        }
        listed = [pair for each in answers if not isinstance(each, ServerError) for pair in each]
        before, self._found = self._found, {}
        for instance, same in listed:
            if (found := before.get(instance.id)) is not None and (
                found.instance == instance if found is not known.get(instance.id) else same
            ):
                # Where the rest is another by now its ETag is, too, and the server refuses.
                self._found[instance.id] = found
            elif instance.known and self._asked.get(instance.id, 0) < asked:
                self._keep(instance.id, _Found(instance))
                self._asked[instance.id] = asked
        self._found |= {
            name: found
            for name, found in before.items()
            if name.project in self.unlisted or (only and name.project not in only)
        }
        self._asked = {
            name: turn for name, turn in self._asked.items() if turn > asked or name in self._found
        }
        return [instance for instance, _ in listed]

    async def get(self, name: InstanceName) -> Instance:
        """The instance as it is now. Raises Gone."""
        before = self._found.pop(name, None)
        self._asked[name] = next(self._turns)
        found = await self._call_for(name, lambda: self._get(name))
        if before is not None:
            found = replace(found, instance=_sharing(found.instance, before.instance))
        self._keep(name, found)
        return found.instance

    async def apply(self, name: InstanceName, put: Sequence[Entry], remove: Sequence[str]) -> Instance:
        """Put entries in and take entries of ours out, as one request. See `server.Server`."""
        known = self._found.pop(name, None)
        self._asked[name] = next(self._turns)

        def work() -> _Found:
            try:
                return self._apply(name, put, remove, known)
            except (LXDAPIException, Refused) as error:
                refused = error if isinstance(error, Refused) else _failure(error)
                said = str(error) if isinstance(error, Refused) else _said(error)
                if isinstance(refused, Refused) and is_left_behind(said or ""):
                    self._clear(name, [each for each in put if each.name in refused.entries])
                    raise Busy(f"it had left something of an earlier try behind: {refused}") from error
                raise

        found = await self._call_for(name, work)
        self._keep(name, found)
        return found.instance

    async def clear(self, name: InstanceName, left: Sequence[Entry]) -> None:
        """Take away what the server left of these entries. See `server.Server`."""
        self._found.pop(name, None)
        self._asked[name] = next(self._turns)
        await self._call_for(name, lambda: self._clear(name, left))

    async def link(self, name: InstanceName, path: str, target: str) -> None:
        """Make or take away a link inside. See `server.Server`."""

        def work() -> None:
            files = self._api.instances[name.name].files
            where = {"project": name.project}
            with suppress(NotFound):
                files.delete(params={**where, "path": path})
            if not target:
                return
            above = path.split("/")[2:-1]
            for depth in range(len(above)):
                folder = "/".join(("/dev", *above[: depth + 1]))
                files.post(params={**where, "path": folder}, headers=_file("directory"))
            files.post(params={**where, "path": path}, headers=_file("symlink"), data=target.encode())

        await self._call_for(name, work)

    async def init(self, name: InstanceName) -> int:
        """The process number of the instance's init, as the host counts. Raises Gone where it does not run.

        Takes the server 50 ms and more, since it gathers much else.
        """

        def work() -> int:
            answer = self._api.instances[name.name].state.get(params={"project": name.project})
            pid = answer.json()["metadata"]["pid"]
            if not isinstance(pid, int) or pid <= 1:
                raise Gone(f"{name} does not run")
            if pid > _PID_MOST:
                raise Unreachable(f"{self.address} answered {NOT_LXD}: {name} has an init {pid}")
            return pid

        return await self._call_for(name, work)

    def waiting(self) -> Mapping[str, int]:
        """How many requests about one instance each wait for others of the same project, by project."""
        return self._shares.waiting()

    def close(self) -> None:
        """Let go of connections and threads."""
        if self._session is not None:
            self._session.close()
        self._threads.close()

    async def events(self) -> AsyncGenerator[Lifecycle | None, None]:
        """What happens to instances, as it happens. The first item is None: from here on nothing is missed.

        Ends by Unreachable when the server goes away, or falls silent.
        """
        over_https = not self.address.startswith("/")
        identity = (
            Identity(pinned(self.address, Path(DEFAULT_CERTS.cert)), *DEFAULT_CERTS) if over_https else None
        )
        projects = self._projects
        try:
            # Whoever stops listening ends the stream too, and not whenever it is collected.
            async with aclosing(lifecycle(self.address, identity, projects)) as stream:
                async for happened in stream:
                    self._told = True
                    yield happened
        finally:
            self._told = False
            self._found.clear()

    def _keep(self, name: InstanceName, found: _Found) -> None:
        if self._told:
            self._found[name] = found if found.kept else _Found(found.instance)

    # --- requests, in a thread --------------------------------------------------------------------------

    @property
    def _api(self) -> Any:
        if self._client is None:
            self._connect()
        return self._client.api

    def _connect(self) -> ServerInfo:
        socket = self.address.startswith("/")
        if socket and not Path(self.address).exists():
            # pylxd would take the missing path for a URL.
            raise Unreachable(f"{self.address} does not exist; is the server running?")
        session = Http(self.address if socket else "", _CONNECTIONS, _CALL, self._room)
        if not socket:
            session.verify, session.cert = (
                str(pinned(self.address, Path(DEFAULT_CERTS.cert))),
                tuple(DEFAULT_CERTS),
            )
            by_pin = get_session_for_url(self.address, verify=session.verify)
            session.mount_https(self.address, by_pin.get_adapter(self.address))
        client = Client(endpoint=self.address, session=session, timeout=(_CONNECT, _READ))
        info = client.host_info
        if info.get("auth") != "trusted":
            raise Refused(
                f"{self.address} does not trust us; add our certificate, or run as root on its host"
            )
        environment = info["environment"]
        before, self._client, self._session = self._session, client, session
        if before is not None:
            # Else its connections would stay open until somebody collects garbage.
            before.close()
        self._projects = _projects(client.api)
        clustered = environment.get("server_clustered", False)
        return ServerInfo(
            self.address,
            str(environment.get("server", "lxd")),
            str(environment.get("server_version", "?")),
            str(environment.get("server_name", "")) if clustered else "",
            frozenset(_ABILITIES[each] for each in info["api_extensions"] if each in _ABILITIES),
            pid if isinstance(pid := environment.get("server_pid"), int) else 0,
        )

    def _all_projects(self) -> Sequence[str]:
        """The names of the projects that we may see."""
        if self._projects is not None:
            return self._projects
        found = self._api.projects.get().json()["metadata"]
        if not isinstance(found, list):
            raise TypeError(f"expected a list of projects, and found {type(found).__name__}")
        # Without what is in them, which the server would gather.
        return list(dict.fromkeys(unquote(str(each).rpartition("/")[2]) for each in found))

    def _compared(
        self, scope: Mapping[str, str], known: Mapping[InstanceName, _Found]
    ) -> Sequence[tuple[Instance, bool]]:
        """The instances of a scope, and whether each is as it is known: else the event loop would compare."""
        found: list[Instance] = []
        for each in islice(self._listed(scope), _MOST_INSTANCES + 1):
            # Instances of the same profiles have those entries alike: they are kept once.
            found.append(_sharing(each, found[-1]) if found else each)
        if len(found) > _MOST_INSTANCES:
            raise Unreachable(
                f"{self.address} lists more than {_MOST_INSTANCES} instances{_where(scope)}, more than "
                f"hotplugd can look after"
            )
        return [(each, each.id in known and known[each.id].instance == each) for each in found]

    def _listed(self, scope: Mapping[str, str]) -> Iterator[Instance]:
        """The instances of a scope, as they come."""
        params = {"recursion": 1, **scope}
        answer = self._api.instances.get(params=params, most=_LISTING, stream=True)
        try:
            for each in elements(answer.iter_content(_CHUNK)):
                yield self._instance(each) if decode.is_known(each) else decode.unknown(each)
        finally:
            answer.close()

    def _get(self, name: InstanceName) -> _Found:
        answer = self._api.instances[name.name].get(params={"project": name.project})
        raw, etag = answer.json()["metadata"], answer.headers.get("ETag", "")
        if raw["name"] != name.name or not etag:
            # An empty If-Match is none: what was read of one instance would be written over another.
            raise TypeError(f"expected {name.name} with an ETag, and found {raw['name']}, {etag or 'none'}")
        return _Found(self._instance(raw), raw, etag, len(answer.content) <= _KEPT)

    def _apply(
        self, name: InstanceName, put: Sequence[Entry], remove: Sequence[str], known: _Found | None = None
    ) -> _Found:
        # What goes out goes by PUT, which writes down everything else too.
        if known is not None and (known.etag or not remove):
            try:
                return self._update(name, put, remove, known)
            except LXDAPIException as error:
                # It is another by now, and the event that says so is still on its way.
                if error.response.status_code != requests.codes.precondition_failed:
                    raise
        return self._update(name, put, remove, self._get(name))

    def _update(
        self, name: InstanceName, put: Sequence[Entry], remove: Sequence[str], known: _Found
    ) -> _Found:
        instance = known.instance
        for each in put:
            if (now := instance.entries.get(each.name)) is not None and not is_ours(now):
                raise Busy(f"somebody else made an entry '{each.name}' in {name} meanwhile")
        if absent := [each for each in remove if each not in instance.entries]:
            # Whoever asked for this is to know that it was not this request that took it out.
            raise Busy(f"{name} has lost its entry '{absent[0]}' meanwhile")
        gone = {each for each in remove if is_ours(instance.entries[each])}
        after = {key: each for key, each in instance.entries.items() if key not in gone}
        after |= {each.name: each for each in put}
        if after == instance.entries:
            return known
        endpoint = self._api.instances[name.name]
        request: dict[str, Any] = {"params": {"project": name.project}}
        if known.etag:
            request["headers"] = {"If-Match": known.etag}
        if gone:
            body = {key: known.raw[key] for key in _WRITABLE if key in known.raw}
            before = known.raw["devices"] or {}
            others = {key: config for key, config in before.items() if key not in gone}
            body["devices"] = others | {each.name: written(each) for each in put}
            self._finish(endpoint.put(json=body, **request))
        else:
            devices = {each.name: written(each) for each in put}
            body = {"description": instance.description, "devices": devices}
            self._finish(endpoint.patch(json=body, **request))
        return _Found(replace(instance, entries=after))

    def _clear(self, name: InstanceName, left: Sequence[Entry]) -> None:
        """Have the server take away what it left of these entries: by a crash, or another's update.

        It makes a node's file before it writes the entry down, and refuses for ever to make one that exists.
        It watches for the source, and refuses to watch for an entry twice, and leaves the node for ever then.
        With an entry all its files go, and its watch: so each goes in as a device that there is not, and out
        again. What is required is not watched, and what has a number needs no source (measured; LXD:
        device/unix_common.go).
        """
        known = self._get(name).instance.entries
        absent = [each for each in left if each.name not in known]
        bare = {**_NO_DEVICE, MARK_VERSION: VERSION, MARK_INSTANCE: mark_for(name)}
        # Where it ended over such a node before, there is one.
        token = token_hex(4)
        self._apply(
            name,
            [
                Entry(each.name, {**bare, "type": _kind(each), "path": f"/dev/{each.name}-{token}"})
                for each in absent
            ],
            [],
        )
        self._apply(name, [], [each.name for each in absent])

    def _finish(self, answer: Any) -> None:
        """Return once the update is done that was answered so: at once, or by an operation."""
        done = answer.json()
        if done["type"] == "async":
            self._wait(done["metadata"]["id"])

    def _wait(self, operation: str) -> None:
        answer = self._api.operations[operation].wait.get(params={"timeout": int(_READ - _CONNECT)})
        done = answer.json()["metadata"]
        if done["status_code"] == requests.codes.ok:
            return
        if done["status_code"] < requests.codes.ok:
            raise Unreachable(f"the server has not finished the update after {_READ - _CONNECT:.0f} s")
        raise refusal(str(done.get("err") or done["status"]))

    async def _call_for(self, name: InstanceName, work: Callable[[], T]) -> T:
        """As `_call`, about an instance: those of one project wait for each other, and for no others."""
        async with self._shares.of(name.project):
            return await self._call(work)

    async def _call(self, work: Callable[[], T]) -> T:
        def guarded() -> T:
            try:
                return work()
            except requests.Timeout as error:
                raise Unreachable(f"{self.address} has not answered within {_READ:.0f} s") from error
            except requests.exceptions.ContentDecodingError as error:
                raise Unreachable(f"{self.address} answered {NOT_LXD}: {short(error)}") from error
            except (requests.RequestException, ClientConnectionFailed) as error:
                # pylxd raises its own in place of what failed.
                if isinstance(error, requests.exceptions.SSLError) or isinstance(
                    error.__context__, requests.exceptions.SSLError
                ):
                    known = pinned(self.address, Path(DEFAULT_CERTS.cert))
                    raise Unreachable(
                        f"{self.address} shows another certificate than the one in {known}; "
                        f"if it was renewed, put the new one there, as `lxc remote add` does: {short(error)}"
                    ) from error
                raise Unreachable(f"{self.address} does not answer: {short(error)}") from error
            except LXDAPIException as error:
                raise _failure(error) from error
            except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
                raise Unreachable(f"{self.address} answered {NOT_LXD}: {short(error)}") from error
            finally:
                self._room.leave()

        try:
            return await self._threads.call(guarded, _CALL)
        except NoThread as error:
            raise Unreachable(f"{self.address} cannot be asked: {error}") from error
        except TimeoutError as error:
            raise Unreachable(f"{self.address} did not finish its answer in {_CALL:.0f} s") from error

    # --- answers ----------------------------------------------------------------------------------------

    def _instance(self, found: Mapping[str, Any]) -> Instance:
        member = self._member(decode.location(found))
        return decode.instance(found, member, self._info.can if self._info else frozenset())

    def _member(self, location: str = "") -> str:
        """The name of the member that we speak to, empty without a cluster.

        location  where an instance is, which tells that the server has become a member of a cluster
        """
        if self._info is None or (location and not self._info.member):
            self._info = self._connect()
        return self._info.member


def _sharing(instance: Instance, other: Instance) -> Instance:
    """The instance, with the other's own where it inherits the same."""
    return replace(instance, inherited=other.inherited) if instance.inherited == other.inherited else instance


def _where(scope: Mapping[str, str]) -> str:
    return f" in project '{plain(scope['project'])}'" if "project" in scope else ""


def _kind(entry: Entry) -> str:
    """The type of an entry for a node in place of this one's: a project may forbid others."""
    return "unix-block" if entry.config.get("type") == "unix-block" else "unix-char"


def _file(kind: str) -> dict[str, str]:
    """What a file of root's is called in the headers of a request (LXD and Incus: doc/rest-api)."""
    own = {"type": kind, "uid": "0", "gid": "0", "mode": "0755"}
    return {f"X-{server}-{key}": text for server in ("LXD", "Incus") for key, text in own.items()}


def _projects(api: Any) -> list[str] | None:
    """The projects that a restricted certificate may see; None for one that may see all."""
    try:
        api.instances.get(params={"all-projects": "true"})
    except LXDAPIException as error:
        if error.response.status_code != requests.codes.forbidden:
            raise
        return sorted(
            str(each["name"]) for each in api.projects.get(params={"recursion": 1}).json()["metadata"]
        )
    return None


def _failure(error: Any) -> ServerError:
    return failure(error.response.status_code, _said(error))


def _said(error: Any) -> str | None:
    """What the server gives as the reason of an API error; None where it is not in LXD's words.

    Not `str(error)`, which raises whatever it meets in an answer of another shape.
    """
    try:
        found = error.response.json()["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) else None
