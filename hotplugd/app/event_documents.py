"""The fields of events. They stay: later versions add some, and rename or remove none."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

OVER: Final = "problem.over"
ENDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "device.problem": OVER,
        "device.left-behind": OVER,
        "device.untold": OVER,
        "instance.problem": OVER,
        "link.problem": OVER,
        "slot.problem": OVER,
        "node.unsealed": OVER,
        "seal.problem": OVER,
        "leave-alone.problem": OVER,
        "udev-record.problem": OVER,
        "state.problem": OVER,
        "claim.problem": OVER,
        "health.problem": OVER,
        "usb.problem": OVER,
        "lease.problem": OVER,
        "control.problem": OVER,
        "allow.problem": OVER,
        "server.unlisted": OVER,
        "server.problem": OVER,
        "udev.problem": f"{OVER}, or udev.back where it is about udevd itself",
        "server.away": "server.connected",
        "reload.failed": "reload.done",
    }
)
"""The events that tell that a problem has begun, and the event that tells that it is over."""

MOMENTS: Final = frozenset(
    {
        "attach.refused", "detach.refused", "undo.refused", "reset.refused", "port.refused",
        "lease-release.refused", "lease-move.refused", "cordon.refused", "uncordon.refused", "drain.refused",
        "udev.lost-events", "config.error", "config.warning", "reload.error", "reload.warning", "defect",
        "failed",
    }
)  # fmt: skip
"""Warnings and errors that begin nothing: what they tell of is so at that moment, or hotplugd ends by it."""

FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "event": "its name",
        "level": "`debug`, `info`, `warning`, `error` or `critical`",
        "timestamp": "when it became so: UTC, ISO 8601",
        "boottime": "the same in seconds since the boot, which no change of the clock moves (CLOCK_BOOTTIME)",
        "cursor": "the boot's id and a number that rises with each event",
        "device": "the device's node, or its name or path where it has none",
        "identity": "what stays of the device when it is plugged in again",
        "serial": "its serial number",
        "port": "its USB port",
        "location": "the name of that port, where the section `hubs` gives it one",
        "model": "its model, as udev has it",
        "slot": "which enumeration of the device is meant: the next one has another",
        "rule": "the rule that takes it",
        "instance": "the instance, as `PROJECT/NAME` where the project is not `default`",
        "entry": "the name of the device's entry in the instance",
        "path": "where the device is inside",
        "action": "what is done: `add`, `update`, `repair` or `remove`; to a port `on`, `off` or `cycle`",
        "cause": "what made hotplugd do it: `plug` (it came, went or changed), `listing` (found so among "
        "all), `start` (of hotplugd), `reload`, `host` (the host began or ended to use it), `others` (an "
        "entry that is not ours came or went), `instance` (it was made, started or deleted), `by hand` "
        "(somebody changed an entry of ours), `asked` (somebody asked for it: `hotplugd attach`, `detach` or "
        "`undo`), `inside` (the node inside was lost), `lease` (the lease of a device of a pool began or is "
        "over)",
        "pool": "the pool that the device is of",
        "claim": "the name of the claim by which the instance has it, or had it",
        "name": "what somebody called a device, a location or an instance",
        "by": "who asked for it",
        "uid": "the number of the user who asked",
        "user": "that user's name",
        "login": "who had logged in, where that is another than `user`: whoever used `sudo` or `su`",
        "why": "what was not as it should be",
        "reason": "what is wrong, or was",
        "retry_in": "after how many seconds it is tried again",
        "after_plug": "how long after the plug it was done, in ms",
        "devices": "what was attached to an instance",
        "kind": "`container` or `virtual-machine`",
        "server": "the server's software, version and address",
        "rules": "how many rules there are",
        "place": "the place in a file: file, line and column",
        "hint": "what to do about it",
        "version": "hotplugd's version",
        "subsystem": "the device's subsystem",
        "paths": "how many paths are looked at",
        "exception": "where in the code a defect is",
        "before": "true in `history --since --json`: it was so when that time began, and is no event since",
    }
)
