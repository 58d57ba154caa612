"""The requests to LXD and Incus, one after another in a thread.

Requests go through pylxd's low-level tree, since its models know no ETags and put back every attribute they
once read. Facts about the server that this file leans on, each measured by hand on LXD 5.0.2 and Incus 6.0.4:

- PATCH is synchronous, merges `devices` and `config` by name, and empties `description` when it is left out.
- PATCH cannot delete a device there, so removals are GET and PUT with If-Match. A PUT is an operation.
  What other servers do is in `traits`.
- A request is all or nothing; its refusal names the entry to blame in double quotes.
- An instance read by itself and in a listing is the same. Its ETag covers all that an update writes down, but
  not the description; every update is told by an event.
- An instance that starts changes `last_used_at`, and its ETag where it was stopped before: the server writes
  both, `volatile.last_state.power` for the ETag, before the init runs (LXD 5.0.2 and later, Incus:
  driver_lxc.go, onStart, recordLastState). A restart leaves the ETag as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from itertools import islice
from secrets import token_hex
from typing import Any, Final
from urllib.parse import unquote

import requests
from pylxd.exceptions import LXDAPIException, NotFound

from hotplugd.model.entry import MARK_INSTANCE, MARK_VERSION, SLOTS, VERSION, mark_for
from hotplugd.model.ports import Busy, Gone, LeftBehind, Member, Refused, ServerError, Unreachable
from hotplugd.model.text import plain
from hotplugd.model.values import Entry, Instance, InstanceName
from hotplugd.server import decode
from hotplugd.server.connection import CONNECT, READ, Connection, failure_of, said_by
from hotplugd.server.errors import is_left_behind, refusal, short
from hotplugd.server.listing import elements
from hotplugd.server.operations import changing
from hotplugd.server.unix_socket import Begun
from hotplugd.server.update import Revision, planned, starts_from

# Seconds that the server may take for an operation of its own, before it answers that it is not done.
_OPERATION: Final = READ - CONNECT
# Four thousand instances with 30 KB of cloud-init each, which is told twice, are listed in some 250 MB; and
# whoever may edit an instance may put many MB into it. It is taken piece by piece.
_LISTING: Final = 1 << 32
_CHUNK: Final = 1 << 16
# Each takes some 14 KB here, and a part of a millisecond at each listing.
_MOST_INSTANCES: Final = 20_000
# What is larger is not kept for the next update, but asked for.
_KEPT: Final = 1 << 16

# No device has this number: the kernel gives drivers major numbers from 1 on (block/genhd.c, fs/char_dev.c).
# Not 0:0, the mark of what was deleted: where the server's folder is on overlayfs it could not make that node
# (fs/overlayfs/dir.c, ovl_mknod).
_NO_DEVICE: Final = {
    "source": f"{SLOTS}/.nowhere", "major": "0", "minor": "1", "mode": "0000", "required": "true",
}  # fmt: skip


class Api:
    """Requests to one server. The methods block, for `READ` s between two bytes at most."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def _tree(self) -> Any:
        return self._connection.tree

    def answer(self) -> None:
        """Return if the server answers. Raises what it fails with."""
        self._tree.get()

    def members(self) -> list[Member]:
        """The members of the cluster; none where the server is in no cluster."""
        if not self._connection.member():
            return []
        found = self._tree.cluster.members.get(params={"recursion": 1}).json()["metadata"]
        return [
            Member(str(each["server_name"]), str(each["status"]), plain(str(each.get("message", ""))))
            for each in found
        ]

    def projects(self) -> Sequence[str]:
        """The names of the projects that we may see."""
        if self._connection.projects is not None:
            return self._connection.projects
        found = self._tree.projects.get().json()["metadata"]
        if not isinstance(found, list):
            raise TypeError(f"expected a list of projects, and found {type(found).__name__}")
        # Without what is in them, which the server would gather.
        return list(dict.fromkeys(unquote(str(each).rpartition("/")[2]) for each in found))

    def instances(
        self, scope: Mapping[str, str], known: Mapping[InstanceName, Revision]
    ) -> Sequence[tuple[Instance, bool]]:
        """The instances of a scope, and whether each is as it is known: else the event loop would compare."""
        found: list[Instance] = []
        for each in islice(self._listed(scope), _MOST_INSTANCES + 1):
            # Instances of the same profiles have those entries alike: they are kept once.
            found.append(sharing(each, found[-1]) if found else each)
        if len(found) > _MOST_INSTANCES:
            raise Unreachable(
                f"{self._connection.address} lists more than {_MOST_INSTANCES} instances{_where(scope)}, "
                f"more than hotplugd can look after"
            )
        return [(each, each.id in known and known[each.id].instance == each) for each in found]

    def get(self, name: InstanceName) -> Revision:
        """The instance as it is now, not `known` where its server cannot tell. Raises Gone."""
        answer = self._tree.instances[name.name].get(params={"project": name.project})
        raw, etag = answer.json()["metadata"], answer.headers.get("ETag", "")
        if raw["name"] != name.name or not etag:
            # An empty If-Match is none: what was read of one instance would be written over another.
            raise TypeError(f"expected {name.name} with an ETag, and found {raw['name']}, {etag or 'none'}")
        if not decode.is_known(raw):
            return Revision(decode.unknown(raw))
        return Revision(self._instance(raw), raw, etag, len(answer.content) <= _KEPT)

    def apply(
        self,
        name: InstanceName,
        put: Sequence[Entry],
        remove: Sequence[str],
        known: Revision | None,
        sealed: Instance | None = None,
        leases: str | None = None,
        begun: Begun | None = None,
    ) -> Revision:
        """Put entries in and take entries of ours out, as one request. See `ports.ServerPort`.

        known  what the instance is like, where events tell of whatever changes it
        begun  what `begin` has sent of this
        """
        try:
            with begun.answering() if begun is not None else nullcontext():
                return self._apply(name, put, remove, sealed, known, leases)
        except (LXDAPIException, Refused) as error:
            refused = error if isinstance(error, Refused) else failure_of(error)
            said = str(error) if isinstance(error, Refused) else said_by(error)
            if isinstance(refused, Refused) and is_left_behind(said or ""):
                said = f"it has left something of an earlier try behind: {refused}"
                raise LeftBehind(said, refused.entries) from error
            raise

    def begin(
        self,
        name: InstanceName,
        put: Sequence[Entry],
        remove: Sequence[str],
        known: Revision | None,
        sealed: Instance | None = None,
        leases: str | None = None,
    ) -> Begun | None:
        """Send what `apply` will ask for, and wait for nothing: for the event loop. None where that is not
        known yet, or nothing can be sent at once; `apply` says why, or sends it.
        """
        if known is None or not known.instance.running or not starts_from(known, put, remove):
            return None

        def send() -> Begun | None:
            update = planned(name, put, remove, sealed, known, leases, self._connection.traits)
            if update is None:
                return None
            endpoint = self._tree.instances[name.name]
            return self._connection.begin(endpoint, update.method, **update.request)

        try:
            return self._connection.guarded(send)
        except ServerError:
            return None

    def clear(self, name: InstanceName, left: Sequence[Entry]) -> None:
        """Have the server take away what it left of these entries: by a crash, or another's update.

        It makes a node's file before it writes the entry down, and refuses for ever to make one that exists.
        It watches for the source, and refuses to watch for an entry twice, and leaves the node for ever then.
        With an entry all its files go, and its watch: so each goes in as a device that there is not, and out
        again. What is required is not watched, and what has a number needs no source (measured; LXD:
        device/unix_common.go).
        """
        known = self.get(name).instance.entries
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

    def link(self, name: InstanceName, path: str, target: str) -> None:
        """Make or take away a link inside. See `ports.Server`."""
        files = self._tree.instances[name.name].files
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

    def init(self, name: InstanceName) -> int:
        """The process number of the instance's init, as the host counts. Raises Gone where it does not run.

        Takes the server 50 ms and more, since it gathers much else.
        """
        answer = self._tree.instances[name.name].state.get(params={"project": name.project})
        said = answer.json()["metadata"]["pid"]
        pid = decode.process(said)
        if pid is None:
            raise TypeError(f"expected the number of {name}'s init, and found {short(said)}")
        if pid <= 1:
            raise Gone(f"{name} does not run")
        return pid

    def _listed(self, scope: Mapping[str, str]) -> Iterator[Instance]:
        """The instances of a scope, as they come."""
        params = {"recursion": 1, **scope}
        answer = self._tree.instances.get(params=params, most=_LISTING, stream=True)
        try:
            for each in elements(answer.iter_content(_CHUNK)):
                yield self._instance(each) if decode.is_known(each) else decode.unknown(each)
        finally:
            answer.close()

    def _apply(
        self,
        name: InstanceName,
        put: Sequence[Entry],
        remove: Sequence[str],
        sealed: Instance | None = None,
        known: Revision | None = None,
        leases: str | None = None,
    ) -> Revision:
        if known is not None and starts_from(known, put, remove):
            try:
                return self._update(name, put, remove, sealed, known, leases)
            except LXDAPIException as error:
                # It is another by now, and the event that says so is still on its way.
                if error.response.status_code != requests.codes.precondition_failed:
                    raise
        return self._update(name, put, remove, sealed, self.get(name), leases)

    def _update(
        self,
        name: InstanceName,
        put: Sequence[Entry],
        remove: Sequence[str],
        sealed: Instance | None,
        known: Revision,
        leases: str | None,
    ) -> Revision:
        if not known.instance.known:
            raise Unreachable(f"the server cannot tell how {name} is now")
        update = planned(name, put, remove, sealed, known, leases, self._connection.traits)
        if update is None:
            return known
        if not known.instance.running:
            self._see_stopped(name, sealed)
        endpoint = self._tree.instances[name.name]
        send = endpoint.put if update.method == "PUT" else endpoint.patch
        self._finish(send(**update.request))
        return Revision(update.after)

    def _see_stopped(self, name: InstanceName, before: Instance | None) -> None:
        """See that the server neither starts nor stops an instance that does not run. Raises Busy.

        before  as whoever asks for the update knows it: of one that runs, it is not known why it has stopped

        A start goes by the entries that there were before it: what is taken out meanwhile is inside then,
        without an entry. Between the two halves of a restart an update lets that fail, and the instance stays
        stopped. (Measured on LXD 5.0.2; LXD: instance/drivers/driver_common.go, `restartCommon`.)
        """
        try:
            # LXD from 6.8 on tells with 2 of the operations in one for several instances; elsewhere 2 is 1.
            answer = self._tree.operations.get(params={"recursion": 2, "project": name.project})
            what = changing(answer.json()["metadata"], name.name)
        except LXDAPIException:
            # The server does not tell us, and refuses what does not fit.
            what = ""
        if what:
            raise Busy(f"{name} does not run, and the server is at it: {short(what)}")
        if before is not None and before.running:
            raise Busy(f"{name} does not run, and its server may be about to start it again")

    def _finish(self, answer: Any) -> None:
        """Return once the update is done that was answered so: at once, or by an operation."""
        done = answer.json()
        if done["type"] == "async":
            self._wait(done["metadata"]["id"])

    def _wait(self, operation: str) -> None:
        answer = self._tree.operations[operation].wait.get(params={"timeout": int(_OPERATION)})
        done = answer.json()["metadata"]
        if done["status_code"] == requests.codes.ok:
            return
        if done["status_code"] < requests.codes.ok:
            raise Unreachable(f"the server has not finished the update after {_OPERATION:.0f} s")
        raise refusal(str(done.get("err") or done["status"]))

    def _instance(self, found: Mapping[str, Any]) -> Instance:
        member = self._connection.member(decode.location(found))
        return decode.instance(found, member, self._connection.traits)


def sharing(instance: Instance, other: Instance) -> Instance:
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
