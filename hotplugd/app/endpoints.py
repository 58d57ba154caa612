"""What the control socket offers, one row for each: HTTP method, path, who may, and the documents.

The daemon serves these rows; the OpenAPI document and the reference page are made from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypedDict

from hotplugd.app.command_json import UsbOrderJson
from hotplugd.app.device_documents import DevicesJson, ExplainJson
from hotplugd.app.documents import StatusJson
from hotplugd.app.grants import Verb
from hotplugd.app.override_json import AskedJson
from hotplugd.app.pool_documents import LeaseOrderJson, PoolsJson
from hotplugd.app.reports import HealthJson, ReloadJson, RulesJson
from hotplugd.app.topology import TopologyJson

Method = Literal["GET", "POST"]


class EventsJson(TypedDict):
    """events: those after the cursor, the oldest first, with the fields of the JSON log. cursor: of the last
    of them. more: whether there are further ones already. lost: whether some after the cursor are not kept
    any more.
    """

    events: list[dict[str, object]]
    cursor: str
    more: bool
    lost: bool


class SettingsJson(TypedDict):
    """The texts of the files that the daemon has in force, which commands go by where the files on disk have
    errors. file: the configuration's. rules: the path and the text of each file.
    """

    file: str
    config: str
    rules: list[list[str]]


class _DeviceJson(TypedDict):
    """device: its node, serial, location or path in sysfs."""

    device: str


class _WhereJson(_DeviceJson, total=False):
    """real: where `device` leads, links followed; empty or missing: nowhere else."""

    real: str


class _ToJson(TypedDict):
    """instance: which one."""

    instance: str


class _ProjectJson(TypedDict, total=False):
    """project: of the instance; `default` where it is missing."""

    project: str


class AttachJson(_WhereJson, _ToJson, _ProjectJson):
    """device: its node, serial, location or path in sysfs. real: where that leads, links followed; empty or
    missing: nowhere else. instance, project: where it goes; without a project: in `default`.
    """


class DetachJson(_WhereJson):
    """As in Attach."""


class UndoJson(TypedDict, total=False):
    """As in Attach. all: every decision that was made by hand; else a device is needed."""

    device: str
    real: str
    all: bool


class LeaseReleaseJson(_WhereJson):
    """As in Attach; device may also be the identity, or the serial number, of one that is absent."""


class LeaseMoveJson(_WhereJson, _ToJson, _ProjectJson):
    """As in LeaseRelease. instance, project: who gets it."""


class UncordonJson(_WhereJson, _ProjectJson):
    """device: a device as in Attach, a location or a pattern of such, or an instance, in this project."""


class CordonAskJson(UncordonJson, total=False):
    """As in Uncordon. reason: why, for others to read."""

    reason: str


class DrainJson(CordonAskJson, total=False):
    """As in CordonAsk. yes: do it; else it is said which leases it would end."""

    yes: bool


class ResetJson(_WhereJson, total=False):
    """As in Attach. yes: also where no rule takes it."""

    yes: bool


class _SwitchJson(TypedDict):
    """switch: `on`, `off`, or `cycle`."""

    port: str
    switch: str


class PortJson(_SwitchJson, total=False):
    """port: its location, or the kernel's name. switch: `on`, `off`, or `cycle`. yes: also where a device is
    in it that no rule takes.
    """

    yes: bool


class HookReportJson(TypedDict):
    """failing: what is wrong with hooks now, a sentence for each. ended: `hotplugd hooks` ends. Whoever has
    not ended says more within two and a half minutes.
    """

    failing: list[str]
    ended: bool


class HookReportTakenJson(TypedDict):
    """problems: how many of them `status` shows."""

    problems: int


class EmptyJson(TypedDict):
    """Nothing is to be said."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path of the control socket.

    verb      what whoever asks must be allowed
    about     what it does, for the documentation
    gives     the type of its document
    query     what may stand in the query, with what it means
    takes     the type of the document that is sent
    lines     it gives one document a line for as long as the client listens, instead of one
    slow      the work grows with the devices, and may be too much for now: the HTTP status is 503 then
    """

    method: Method
    name: str
    verb: Verb
    about: str
    gives: type
    query: Mapping[str, str] = field(default_factory=dict, hash=False)
    takes: type | None = None
    lines: bool = False
    slow: bool = False

    @property
    def path(self) -> str:
        """The path in its URL."""
        return f"/1/{self.name}"


_AFTER: Final = "a cursor, `end`, or empty: those after it; those from now on; all that are kept"

STATUS: Final = Endpoint(
    "GET", "status", "read", "What is attached, what waits, and what is wrong: `status --json`.", StatusJson
)
HEALTH: Final = Endpoint(
    "GET", "health", "read",
    "How well the daemon works: `health --json`. The HTTP status is 503 where it is down.", HealthJson,
)  # fmt: skip
RULES: Final = Endpoint(
    "GET", "rules", "read", "The rules in force, with how often each matched: `status --rules --json`.",
    RulesJson,
)  # fmt: skip
POOLS: Final = Endpoint("GET", "pools", "read", "Pools, their devices and claims: `pool --json`.", PoolsJson)
DEVICES: Final = Endpoint(
    "GET", "devices", "read", "The devices that rules can see, the rule that takes each, and where it is: "
    "`devices --json`.", DevicesJson,
    {"all": "`1`: also virtual devices and PCI devices that no rule takes"}, slow=True,
)  # fmt: skip
TOPOLOGY: Final = Endpoint(
    "GET", "topology", "read", "USB as a tree, with what is plugged in and what is free: `topology --json`.",
    TopologyJson, slow=True,
)  # fmt: skip
EXPLAIN: Final = Endpoint(
    "GET", "explain", "read", "What becomes of a device, and why: `explain --json`, without `holders`.",
    ExplainJson,
    {
        "device": "its node, serial, location or path in sysfs",
        "real": "where that leads, links followed; empty or missing: nowhere else",
    },
    slow=True,
)  # fmt: skip
SETTINGS: Final = Endpoint(
    "GET", "settings", "read", "The texts of the files that are in force.", SettingsJson
)
OPENAPI: Final = Endpoint(
    "GET", "openapi", "read", "All of this as an OpenAPI 3.1 document.", dict[str, object]
)
EVENTS: Final = Endpoint(
    "GET", "events", "read", "The events that the daemon keeps, a page of them.", EventsJson,
    {"after": _AFTER, "wait": "seconds to wait for the next event where there is none, at most 60"},
)  # fmt: skip
STREAM: Final = Endpoint(
    "GET", "events/stream", "read",
    "Events as they happen: one JSON object a line, and an empty line every 15 seconds without one.",
    dict[str, object], {"after": _AFTER}, lines=True,
)  # fmt: skip
RELOAD: Final = Endpoint(
    "POST", "reload", "reload", "Read configuration and rules again: `reload --json`.", ReloadJson,
    takes=EmptyJson,
)  # fmt: skip
ATTACH: Final = Endpoint(
    "POST", "attach", "attach", "Have a device in an instance, and nowhere else: `attach --json`.", AskedJson,
    takes=AttachJson,
)  # fmt: skip
DETACH: Final = Endpoint(
    "POST", "detach", "detach", "Have a device in no instance: `detach --json`.", AskedJson,
    takes=DetachJson,
)  # fmt: skip
UNDO: Final = Endpoint(
    "POST", "undo", "undo", "Have the rules decide about a device again: `undo --json`.", AskedJson,
    takes=UndoJson,
)  # fmt: skip
LEASE_RELEASE: Final = Endpoint(
    "POST", "lease-release", "lease", "End the lease of a device: `lease release --json`.", LeaseOrderJson,
    takes=LeaseReleaseJson,
)  # fmt: skip
LEASE_MOVE: Final = Endpoint(
    "POST", "lease-move", "lease", "Lease a device to another instance: `lease move --json`.", LeaseOrderJson,
    takes=LeaseMoveJson,
)  # fmt: skip
CORDON: Final = Endpoint(
    "POST", "cordon", "cordon", "Have nothing given there any more: `cordon --json`.", LeaseOrderJson,
    takes=CordonAskJson,
)  # fmt: skip
UNCORDON: Final = Endpoint(
    "POST", "uncordon", "cordon", "Take a cordon away: `uncordon --json`.", LeaseOrderJson,
    takes=UncordonJson,
)  # fmt: skip
DRAIN: Final = Endpoint(
    "POST", "drain", "cordon", "Cordon something, and end its leases: `drain --json`.", LeaseOrderJson,
    takes=DrainJson,
)  # fmt: skip

RESET: Final = Endpoint(
    "POST", "reset", "reset", "Have its port reset a USB device: `reset --json`.", UsbOrderJson,
    takes=ResetJson,
)  # fmt: skip
PORT: Final = Endpoint(
    "POST", "port", "port", "Switch a port of a USB hub: `port --json`.", UsbOrderJson, takes=PortJson
)
HOOKS: Final = Endpoint(
    "POST", "hooks", "hooks", "Have `status` say how the hooks do: what `hotplugd hooks` does.",
    HookReportTakenJson, takes=HookReportJson,
)  # fmt: skip

ENDPOINTS: Final = (
    STATUS, HEALTH, RULES, POOLS, DEVICES, TOPOLOGY, EXPLAIN, SETTINGS, OPENAPI, EVENTS,
    STREAM, RELOAD, ATTACH, DETACH, UNDO,
    LEASE_RELEASE, LEASE_MOVE, CORDON, UNCORDON, DRAIN, RESET, PORT, HOOKS,
)  # fmt: skip
"""All endpoints of the control socket."""
