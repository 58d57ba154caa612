"""All members of a cluster and what each has attached, by the server's own database."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hotplugd.aio.threads import Threads
from hotplugd.model.entry import MARK_INSTANCE, is_ours, mark_for
from hotplugd.model.ports import Member
from hotplugd.model.text import natural
from hotplugd.model.values import Entry, InstanceName
from hotplugd.server.client import Lxd
from hotplugd.server.discover import find_server


@dataclass(frozen=True, slots=True)
class ClusterAttachment:
    """An entry of ours in an instance, and the member that the instance is on; empty without a cluster."""

    member: str
    instance: InstanceName
    entry: Entry


@dataclass(frozen=True, slots=True)
class Cluster:
    """The members, none where the server is in no cluster, and the entries of ours on all that answer.

    unknown  the instances of members that are away: nobody knows their entries
    """

    members: Sequence[Member]
    attachments: Sequence[ClusterAttachment]
    unknown: Sequence[tuple[str, InstanceName]]


def cluster(setting: str, environment: Mapping[str, str]) -> Cluster:
    """Ask the server. setting is the configuration's `server`. Raises ServerError where it is away."""
    return asyncio.run(_ask(find_server(setting, environment)))


async def _ask(address: str) -> Cluster:
    lxd = Lxd(address, Threads())
    await lxd.connect()
    members = sorted(await lxd.members(), key=lambda each: natural(each.name))
    instances = sorted(await lxd.list(), key=lambda each: (natural(each.location), each.id.order))
    attachments = [
        ClusterAttachment(instance.location, instance.id, entry)
        for instance in instances
        for entry in instance.entries.values()
        if is_ours(entry) and entry.config[MARK_INSTANCE] == mark_for(instance.id)
    ]
    unknown = [(instance.location, instance.id) for instance in instances if not instance.known]
    return Cluster(members, attachments, unknown)
