"""The JSON of `status --cluster`. The keys stay."""

from __future__ import annotations

from typing import TypedDict

from hotplugd.app.cluster import Cluster
from hotplugd.model.entry import MARK_DEVICE, MARK_NODE, MARK_RULE, MARK_SINCE, mark_for, target_of


class MemberJson(TypedDict):
    """A cluster member. status: the server's word for it. unknown: `project/name` of instances that nobody
    can tell of while it is away.
    """

    name: str
    status: str
    message: str
    unknown: list[str]


class ClusterAttachmentJson(TypedDict):
    """An entry of ours. member: empty where there is no cluster. path: as in AttachmentJson."""

    member: str
    project: str
    instance: str
    device: str
    identity: str
    rule: str
    path: str
    since: str


class ClusterJson(TypedDict):
    """`status --cluster --json`. members: empty where there is no cluster."""

    members: list[MemberJson]
    attachments: list[ClusterAttachmentJson]


def cluster_json(found: Cluster) -> ClusterJson:
    """What `status --cluster` shows."""
    return {
        "members": [
            {
                "name": each.name,
                "status": each.status,
                "message": each.message,
                "unknown": [mark_for(name) for member, name in found.unknown if member == each.name],
            }
            for each in found.members
        ],
        "attachments": [
            {
                "member": attachment.member,
                "project": attachment.instance.project,
                "instance": attachment.instance.name,
                "device": attachment.entry.config.get(MARK_NODE, ""),
                "identity": attachment.entry.config.get(MARK_DEVICE, ""),
                "rule": attachment.entry.config.get(MARK_RULE, ""),
                "path": target_of(attachment.entry),
                "since": attachment.entry.config.get(MARK_SINCE, ""),
            }
            for attachment in found.attachments
        ],
    }
