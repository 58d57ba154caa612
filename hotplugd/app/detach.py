"""Everything of ours out of every instance: what is left when no rule wants anything."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from hotplugd.aio.backoff import delay
from hotplugd.aio.threads import Threads
from hotplugd.app.peer import Peer
from hotplugd.app.peer_names import asked_by, asker
from hotplugd.app.settings import Config
from hotplugd.app.systemd import tell_journal
from hotplugd.container.inspector import Inspector
from hotplugd.container.opener import Opener
from hotplugd.container.sealer import Sealer
from hotplugd.container.seals import Seals
from hotplugd.container.udev_database import UdevDatabase
from hotplugd.host.journals import Links, Notes, RecordNotes
from hotplugd.host.pool_lock import PoolLock
from hotplugd.host.server_lock import leave_nothing, lock, was_alone
from hotplugd.host.udev_rules import Leave
from hotplugd.model import entry as entries
from hotplugd.model.ports import Busy, Gone, Refused, ServerError, Stuck, Untold
from hotplugd.model.problem import Problem
from hotplugd.model.text import quoted
from hotplugd.model.values import Instance, InstanceName, Link
from hotplugd.plan.change import Change
from hotplugd.plan.nic_entries import told_of_stuck
from hotplugd.plan.planner import plan_instance
from hotplugd.reconcile.orphans import Orphans
from hotplugd.server.client import Lxd
from hotplugd.server.discover import find_server

_TRIES = 5


async def detach(config: Config) -> tuple[list[Change], list[Problem]]:
    """Take all entries of ours out of all instances. Returns what went, and what did not and why.

    Raises AlreadyRunning while a daemon looks after the server, ServerError where it is away, and OSError
    where /dev cannot be written.
    """
    address = find_server(config.server, os.environ)
    threads = Threads()
    lxd = Lxd(address, threads)
    opener = Opener(threads, config.roots)
    inspector = Inspector(threads, opener, lxd.init, _nothing, _nothing)
    notes, links, records = Notes(address), Links(address), RecordNotes(address)
    database = UdevDatabase(threads, inspector.opened, config.udevdb)
    unsealed: list[Problem] = []
    seals = Seals(
        Sealer(threads, config.seal, address),
        opener,
        inspector.node,
        lambda each: unsealed.append(each.problem),
    )
    leave = Leave(threads, config.udev_rules) if config.udev_rules is not None else None
    with lock(address):
        tell_journal("detach-all.asked", **asked_by(asker(Peer(os.getpid(), os.geteuid()))))
        notes.read()
        links.read()
        records.read()
        await seals.connected(await lxd.connect())
        try:
            results = await asyncio.gather(
                *(_one(lxd, inspector, seals, notes, links, each) for each in await lxd.list())
            )
            await seals.settled()
            unrecorded = await _forget_records(inspector, database, records)
        finally:
            inspector.close()
            database.close()
            seals.close()
            opener.close()
        hidden = False
        for name in {*notes.names(), *links.names()}:
            try:
                await lxd.get(name)
            except Gone:
                notes.note(name, ())
                links.note(name, {})
            except ServerError:
                hidden = True  # it is none that we may see
        gone = [each for some, _ in results for each in some]
        left = [
            *(_unlisted(*each) for each in lxd.unlisted.items()),
            *(each for _, some in results for each in some),
            *unsealed,
            *unrecorded,
        ]
        if not left:
            alone = not hidden and was_alone(address)
            left += await _leave_nothing(address, gone, leave, alone=alone, hidden=hidden)
    return gone, left


def _unlisted(project: str, why: str) -> Problem:
    message = f"project '{quoted(project)}' cannot be listed, and nothing was taken out there: {why}"
    return Problem("", "", message)


async def _leave_nothing(
    address: str, gone: list[Change], leave: Leave | None, *, alone: bool, hidden: bool
) -> list[Problem]:
    """Take away what is on the host, once everything is out. Returns what could not be taken away.

    alone   whether nobody else has entries that need any of it
    hidden  whether there are instances that we may not see
    """
    slots = [slot for each in gone if entries.is_slot(slot := entries.slot_of(each.entry))]
    try:
        if not hidden:
            PoolLock(address).forget()
        leave_nothing(address, slots, alone=alone, hidden=hidden)
        if leave is not None and alone:
            await leave.clear()
    except OSError as error:
        return [Problem("", "", f"everything is out, and files of ours are left on the host: {error}")]
    finally:
        if leave is not None:
            leave.close()
    return []


async def _one(
    lxd: Lxd, inspector: Inspector, seals: Seals, notes: Notes, links: Links, instance: Instance
) -> tuple[list[Change], list[Problem]]:
    removals = list(plan_instance(instance.id, instance, (), None).changes)
    orphans = Orphans(instance.id, notes)
    try:
        if removals or instance.leases:
            instance, lost = await _apply(lxd, seals, instance, removals)
            removals = [each for each in removals if each not in lost]
            orphans.doubt(each.entry for each in lost)
        if half := orphans.to_clear(instance, asyncio.get_running_loop().time()):
            await seals.seal(instance.id, [each.entry for each in half])
            await lxd.clear(instance.id, [each.entry for each in half])
    except Gone:
        return [], []
    except Stuck as error:
        stuck = [each for each in removals if each.entry.name in error.entries or len(removals) == 1]
        told = [
            Problem(each.device, each.rule, told_of_stuck(each.entry, instance.id, str(error)))
            for each in stuck
        ]
        return [], told or [Problem("", "", f"{instance.id}: {error}")]
    except ServerError as error:
        return [], [Problem("", "", f"{instance.id}: {error}")]
    orphans.cleared(half)
    removals += half
    noted = links.take(instance.id)
    if not (removals or noted) or not instance.running or not instance.here:
        return removals, []
    try:
        await _unlink(lxd, inspector, instance.id, removals, noted)
        links.note(instance.id, {})
    except ServerError as error:
        return removals, [Problem("", "", f"{instance.id}: its links were not taken away: {error}")]
    return removals, await _left_behind(inspector, instance.id, removals)


async def _apply(
    lxd: Lxd, seals: Seals, instance: Instance, removals: list[Change]
) -> tuple[Instance, list[Change]]:
    """Returns the instance as it is then, and those whose entries had gone by themselves.

    Raises any ServerError.
    """
    tries = 1
    while True:
        there = [each for each in removals if each.entry.name in instance.entries]
        sealed = False
        if instance.has_nodes:
            sealed = await seals.seal(instance.id, [each.entry for each in there])
        try:
            going = [each.entry.name for each in there]
            after = await lxd.apply(instance.id, (), going, instance, "")
        except Busy:
            if tries == _TRIES:
                raise
            await asyncio.sleep(delay(tries))
            tries += 1
            instance = await lxd.get(instance.id)
        except Refused as error:
            if not sealed:
                raise
            names = ", ".join(each.entry.name for each in there)
            raise Refused(
                f"{error}; the nodes of {names} are sealed, and nobody inside can open them any more"
            ) from error
        else:
            seals.has(instance.id, after)
            return after, [each for each in removals if each not in there]


async def _unlink(
    lxd: Lxd, inspector: Inspector, name: InstanceName, removals: list[Change], links: Mapping[str, Link]
) -> None:
    """Take away the links inside that led to what went. Raises any ServerError."""
    found = {path: each.target for path, each in links.items()}
    found |= {
        link: entries.target_of(each.entry) for each in removals for link in entries.links_of(each.entry)
    }
    if not found:
        return
    inside = await inspector.look(name, sorted(found))
    for link, place in found.items():
        node = inside.nodes.get(link)
        if node is not None and node.target == place:
            await lxd.link(name, link, "")


async def _forget_records(
    inspector: Inspector, database: UdevDatabase, records: RecordNotes
) -> list[Problem]:
    """Take away the records of udev's that we have put into instances. Returns what could not be."""
    problems = []
    for name in records.names():
        try:
            await inspector.look(name, ())
            await database.keep(name, ())
            records.note(name, there=False)
        except Gone:  # or it does not run, and its next /run is new
            records.note(name, there=False)
        except (ServerError, Untold) as error:
            problems.append(Problem("", "", f"{name}: udev's records were not taken away: {error}"))
    return problems


async def _left_behind(inspector: Inspector, name: InstanceName, removals: list[Change]) -> list[Problem]:
    paths = {entries.target_of(each.entry): each for each in removals}
    try:
        inside = await inspector.look(name, sorted(paths))
    except Gone:
        return []
    except ServerError as error:
        return [Problem("", "", f"cannot see whether the nodes are gone from {name}: {error}")]
    return [
        Problem(each.device, each.rule, f"its entry is gone, its node {path} in {name} is not")
        for path, each in paths.items()
        if (node := inside.nodes.get(path)) is not None
        and node.devnum is not None
        and entries.is_for(each.entry, node.devnum)
    ]


def _nothing(_: InstanceName) -> None: ...
