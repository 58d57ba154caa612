"""hotplugd topology"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotplugd.cli.common import in_force, kept, print_json, say, show_problems, with_config, with_json
from hotplugd.model.text import counted, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hotplugd.app.in_force import Settings
    from hotplugd.app.topology import ControllerJson, PluggedJson, SocketJson, TopologyJson


@click.command()
@with_config
@with_json
def command(config: Path, *, as_json: bool) -> None:
    """Draw the USB controllers, hubs and sockets, with what is plugged in, which instance has it, and what is
    free.

    Each socket has its number on its hub, and the kernel's names for what is in it; for USB 3 these are two.
    The paths of hubs are those for the section `hubs` in rule files. Needs no daemon.
    """
    settings, _ = in_force(config)
    found = look(settings)
    if as_json:
        print_json(found)
        return
    show(found)


def look(found: Settings, *, ask_server: bool = True) -> TopologyJson:
    """What there is now."""
    from hotplugd.app.documents import problem_json
    from hotplugd.app.snapshot import survey
    from hotplugd.app.topology import ATTRS, topology
    from hotplugd.host.list_once import listed
    from hotplugd.host.usb_ports import ports_of
    from hotplugd.model.ports import ServerError
    from hotplugd.model.problem import Problem

    devices, unprocessed = listed(found.rules.attrs | ATTRS)
    problems, held = [], dict[str, list[str]]()
    if ask_server:
        state = kept(found.config.state)
        try:
            seen = survey(found.rules, devices, unprocessed, found.config.server, os.environ, state)
        except (ServerError, OSError) as error:
            problems = [problem_json(Problem("", "", f"the server cannot be asked: {error}"))]
        else:
            for name in sorted(seen.plans, key=lambda name: name.order):
                inside = (attachment.want.device.usb for attachment in seen.plans[name].attachments)
                for usb in dict.fromkeys(filter(None, inside)):
                    held.setdefault(usb.syspath, []).append(f"{name.project}/{name.name}")
    # Of what udevd has not processed the kernel says enough to see that a socket is not free.
    every = (*devices, *unprocessed)
    ports = {each.syspath: ports_of(each.syspath) for each in every if each.is_usb_device}
    return topology(every, ports, found.rules.hubs, held, problems)


def show(found: TopologyJson) -> None:
    """Draw it on standard output."""
    show_problems(found["problems"])
    for each in found["controllers"]:
        _show_controller(each)
    every = [socket for each in found["controllers"] for socket in _all(each["sockets"])]
    free = sum(each["free"] for each in every)
    say(f"{counted(len(found['controllers']), 'controller')}, {counted(len(every), 'socket')}, {free} free")


def _all(sockets: Sequence[SocketJson]) -> Iterator[SocketJson]:
    """The sockets that something is or can be in, but for those with hubs."""
    for each in sockets:
        if each["sockets"]:
            yield from _all(each["sockets"])
        elif each["devices"] or each["free"]:
            yield each


def _show_controller(controller: ControllerJson) -> None:
    buses = ", ".join(f"bus {bus}{_speed(speed)}" for bus, speed in controller["buses"].items())
    name = controller["path"] or controller["syspath"]
    driver = f", {controller['driver']}" if controller["driver"] else ""
    say(plain(f"{name}: {buses}{driver}"), bold=True)
    _show_sockets(controller["sockets"], "  ")


def _show_sockets(sockets: Sequence[SocketJson], indent: str) -> None:
    for each in sockets:
        if not (each["devices"] or each["free"]):
            continue  # the firmware says that there is no socket
        location = f"  {each['location']}" if each["location"] else ""
        head = f"{indent}{each['number']}  {' '.join(each['ports'])}{location}"
        if each["sockets"]:
            speeds = " and ".join(_speed(one["speed"]).strip() for one in each["devices"] if one["speed"])
            one = each["devices"][0]
            says = f"hub {_says(one)}, {counted(one['ports'], 'port')}{', ' if speeds else ''}{speeds}"
            say(plain(f"{head}  {says}, {each['path']}"))
            _show_sockets(each["sockets"], f"{indent}  ")
        elif each["free"]:
            say(plain(f"{head}  free"), "green")
        else:
            says = "; ".join(
                f"{_says(one)}{_speed(one['speed'])}{_held(one)}, {one['device']}" for one in each["devices"]
            )
            say(plain(f"{head}  {says}"))


def _says(one: PluggedJson) -> str:
    serial = f"serial {one['serial']}" if one["serial"] else ""
    return " ".join(filter(None, (one["id"], one["product"], serial)))


def _held(one: PluggedJson) -> str:
    return (
        f", in {' and '.join(each.removeprefix('default/') for each in one['instances'])}"
        if one["instances"]
        else ""
    )


def _speed(mbits: str) -> str:
    return f" {mbits} Mbit/s" if mbits else ""
