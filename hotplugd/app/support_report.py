"""What a report on a fault holds: versions, settings, state, entries, events and logs, with masks.

Each part is gathered by itself. One that cannot be had says why, and the others are there.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hotplugd import __version__
from hotplugd.aio.threads import Threads
from hotplugd.app.control_client import ControlError, get
from hotplugd.app.found_serials import FoundSerials
from hotplugd.app.history import recent
from hotplugd.app.in_force import Settings
from hotplugd.app.masks import Masks
from hotplugd.host.list_once import listed
from hotplugd.model.entry import is_ours
from hotplugd.model.ports import ServerError
from hotplugd.model.text import plain
from hotplugd.model.values import Device
from hotplugd.plan.about import is_worth_telling
from hotplugd.plan.identity import identity, model, own_serial
from hotplugd.rulefile.serials import KEY, named_serials
from hotplugd.rules.keys import MAC, PATH, PORT, SERIAL
from hotplugd.rules.ruleset import RuleSet
from hotplugd.server.client import Lxd
from hotplugd.server.describe import Description, describe, log_lines
from hotplugd.server.discover import find_server

_EVENTS: Final = 200
_LIBRARIES: Final = ("pylxd", "pyudev", "requests", "urllib3", "aiohttp", "PyYAML")
_PATIENCE: Final = 10.0
# As the servers log their devices' keys.
_LOGGED: Final = re.compile(r"""\bserial["']?[=:]\s*["']?([^\s"',;)}\]]+)""")
_ATTRS: Final = frozenset({"serial", "uniq", "wwid", "permanent_address"})


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report. said: for the summary, why there is no more in it; else empty."""

    title: str
    lines: Sequence[str]
    said: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The parts, with masks, and how many values of each kind these hide."""

    sections: Sequence[Section]
    masked: Mapping[str, int]

    def text(self) -> str:
        """The report as a text file."""
        parts = (f"== {each.title} ==\n\n" + "\n".join(each.lines) + "\n" for each in self.sections)
        return "\n".join(parts)


def report(path: Path, settings: Settings, environment: Mapping[str, str]) -> Report:
    """Gather everything. Blocks, for as long as the daemon, the server and the journal take.

    path      of the configuration
    settings  what is on disk, also with errors
    """
    found = FoundSerials()
    _hosts(found, settings.config.server)
    devices = _devices(found, settings)
    texts = (settings.config.text, *(text for _, text in settings.sources))
    for value in (each for text in texts for each in named_serials(text)):
        found.secret(value)
    server, described = _server(found, settings.config.server, environment)
    sections = (
        _versions(),
        server,
        Section(f"configuration {path}", settings.config.text.splitlines() or ["nothing is set"]),
        *(Section(f"rules {file}", text.splitlines()) for file, text in settings.sources),
        _diagnostics(settings),
        _status(found, settings.config.control),
        devices,
        _entries(found, settings.config.server, environment),
        _events(found, settings.config.control),
        _log(found, described),
    )
    masks = found.masks
    masked = [
        Section(masks.apply(each.title), _masked(masks, each.lines), masks.apply(each.said))
        for each in sections
    ]
    return Report(masked, masks.counts())


def _masked(masks: Masks, lines: Iterable[str]) -> list[str]:
    # As one text: a key has several lines.
    return masks.apply("\n".join(lines)).splitlines()


def _versions() -> Section:
    kernel = os.uname()
    lines = [
        f"hotplugd {__version__}",
        f"kernel {kernel.release} {kernel.machine}, {kernel.version}",
        f"distribution {_distribution()}",
        f"Python {platform.python_version()} ({sys.implementation.name})",
        f"udev {_said('udevadm', '--version')}",
        f"systemd {_said('systemctl', '--version').partition('(')[2].partition(')')[0] or 'does not say'}",
    ]
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            lines.append(f"{name} {metadata.version(name)}")
    return Section("versions", lines)


def _distribution() -> str:
    try:
        return plain(platform.freedesktop_os_release().get("PRETTY_NAME", "without a name"))
    except OSError:
        return "does not say"


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not say: {plain(str(error))}"
    return plain(done.stdout.decode("utf-8", "replace").partition("\n")[0])


def _hosts(found: FoundSerials, server: str) -> None:
    name = os.uname().nodename
    for each in (name, name.partition(".")[0], urlsplit(server).hostname or ""):
        found.masks.learn("host", each)


def _server(
    found: FoundSerials, setting: str, environment: Mapping[str, str]
) -> tuple[Section, Description | None]:
    try:
        address = find_server(setting, environment)
        described = describe(address)
    except (ServerError, OSError) as error:
        return _none("server", error), None
    found.masks.learn("host", described.name)
    lines = [f"address {address}", *(f"{key} {value}" for key, value in described.told)]
    lines += ["", "what it does otherwise than others:"]
    lines += [f"- {row.what}" for row in described.rows] or ["- nothing"]
    lines += ["", f"{len(described.extensions)} API extensions: {' '.join(described.extensions)}"]
    return Section("server", lines), described


def _diagnostics(settings: Settings) -> Section:
    lines = [line for each in settings.diagnostics for line in each.render().splitlines()]
    return Section("errors and warnings of the files", lines or ["none"])


def _status(found: FoundSerials, control: Path) -> Section:
    try:
        status = get(control, "status")
    except ControlError as error:
        return _none("status", error)
    found.learn(status)
    return Section("status", _json(status))


def _devices(found: FoundSerials, settings: Settings) -> Section:
    """The devices that a rule takes, or that are plugged in."""
    try:
        devices, unprocessed = listed(settings.rules.attrs)
    except OSError as error:
        return _none("devices", error)
    every = (*devices, *unprocessed)
    found.places |= {above.kernel for each in every for above in each.ancestors()}
    for each in every:
        for value in filter(None, _serials(each)):
            found.secret(value)
        for mac in MAC.values(each):
            found.masks.learn("mac", mac)
    return Section("devices", [*_told(devices, settings.rules), *_waiting(unprocessed)])


def _serials(device: Device) -> Iterator[str]:
    for each in (device, *device.ancestors()):
        yield own_serial(each)
        yield from SERIAL.values(each)
        for name, value in (*each.properties.items(), *each.attrs.items()):
            if name in _ATTRS or (name != "ID_SERIAL" and name.startswith("ID_") and KEY.search(name)):
                yield value


def _told(devices: Iterable[Device], rules: RuleSet) -> Iterator[str]:
    for each in devices:
        decision = rules.decide(each)
        rule = decision.rule if decision is not None else None
        if rule is None and not is_worth_telling(each):
            continue
        values = (
            f"subsystem {each.subsystem}",
            f"driver {each.driver}" if each.driver else "",
            f"model {model(each)}" if model(each) else "",
            identity(each),
            *(f"{key.name} {value}" for key in (PORT, PATH) for value in key.values(each)),
            f"rule {rule.name}" if rule is not None else "no rule",
        )
        yield plain(f"{each}: {', '.join(filter(None, values))}")


def _waiting(unprocessed: Iterable[Device]) -> Iterator[str]:
    return (plain(f"{each}: udevd has not processed it") for each in unprocessed)


def _entries(found: FoundSerials, setting: str, environment: Mapping[str, str]) -> Section:
    try:
        lines = asyncio.run(_listed(found, find_server(setting, environment)))
    except (ServerError, OSError) as error:
        return _none("entries of ours", error)
    return Section("entries of ours", lines or ["none"])


async def _listed(found: FoundSerials, address: str) -> list[str]:
    lxd = Lxd(address, Threads())
    await lxd.connect()
    lines: list[str] = []
    for instance in sorted(await lxd.list(), key=lambda each: each.id):
        found.masks.learn("host", instance.location)
        ours = [each for each in instance.entries.values() if is_ours(each)]
        state = "runs" if instance.running else "stopped"
        lines += [f"{instance.id}: {instance.kind}, {state}"] if ours else []
        for entry in ours:
            found.learn(dict(entry.config))
            lines += [f"  {entry.name}: {json.dumps(dict(entry.config), ensure_ascii=False)}"]
    lines += [f"project {project} was not listed: {why}" for project, why in lxd.unlisted.items()]
    return [plain(each) for each in lines]


def _events(found: FoundSerials, control: Path) -> Section:
    past = recent(control, _EVENTS)
    found.learn(list(past.events))
    lines = [json.dumps(each, ensure_ascii=False) for each in past.events]
    return Section("last events", [*past.gaps, *map(plain, lines)], "; ".join(past.gaps))


def _log(found: FoundSerials, described: Description | None) -> Section:
    title, away = "the server's log about us", "the server did not answer"
    if described is None:
        return Section(title, [f"not known: {away}"], away)
    lines, told = log_lines(described.software, described.pid)
    for line in lines:
        for value in _LOGGED.findall(line):
            found.secret(value)
    return Section(title, [*told, *lines])


def _json(document: object) -> list[str]:
    return [plain(each) for each in json.dumps(document, indent=1, ensure_ascii=False).splitlines()]


def _none(title: str, error: Exception) -> Section:
    why = plain(str(error))
    return Section(title, [f"not known: {why}"], why)
