"""What people ask the daemon to do to USB itself: have a port reset a device, and switch a port.

Nothing is kept of it. What the host uses is never touched; a device that no rule of ours takes only where
whoever asks says so: a port's number is soon mistyped, and a keyboard is soon gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from structlog.typing import FilteringBoundLogger

from hotplugd.aio.threads import NoThread, Threads
from hotplugd.app.command_json import UsbOrderJson
from hotplugd.app.control_request import ControlRequest, Forbidden, Handler
from hotplugd.app.device_request import object_in, see_short
from hotplugd.app.endpoints import PORT, RESET, Endpoint
from hotplugd.app.find import described, each_of, named
from hotplugd.app.grants import Grant, Verb, not_for_pools
from hotplugd.app.peer_names import asked_by, who_asks
from hotplugd.app.refusal import Refusal, none_called, ready, several_called, telling
from hotplugd.app.session import Session
from hotplugd.app.topology import SocketJson, topology
from hotplugd.host.in_use import in_use
from hotplugd.host.usb_actions import Switch
from hotplugd.host.usb_ports import UsbPort, ports_of
from hotplugd.model.asker import Asker
from hotplugd.model.text import counted, quoted
from hotplugd.model.values import CANNOT_TELL, Device, InstanceName
from hotplugd.plan.about import ABOUT, Fields

SWITCHES: Final[tuple[Switch, ...]] = ("on", "off", "cycle")
# Seconds for a look at sysfs.
_LOOK: Final = 10.0
_DONE: Final[Mapping[str, str]] = {
    "on": "switched on",
    "off": "switched off, until `hotplugd port on` or a reboot",
    "cycle": "switched off and on",
}


@dataclass(frozen=True, slots=True)
class _UsbRequest:
    """What somebody asks for. name: a device or a port; real: where that leads; yes: what no rule takes."""

    name: str
    real: str
    switch: str
    yes: bool


class UsbOrders:
    """Does what is asked for. session: gives the session with the server, where there is one."""

    def __init__(self, log: FilteringBoundLogger, session: Callable[[], Session | None]) -> None:
        self._log = log
        self._session = session
        self._threads = Threads()
        # The ports that were switched off, and by whom: nobody is known to have what was in them.
        self._off: dict[str, int] = {}

    @property
    def handlers(self) -> Mapping[Endpoint, Handler]:
        """What people can ask for on the control socket."""
        return {RESET: self.reset, PORT: self.port}

    async def reset(self, asked: ControlRequest) -> UsbOrderJson:
        """Have its port reset a USB device."""
        return await self._ask("reset", asked)

    async def port(self, asked: ControlRequest) -> UsbOrderJson:
        """Switch a port, and what shares its socket."""
        return await self._ask("port", asked)

    async def _ask(self, order: Literal["reset", "port"], asked: ControlRequest) -> UsbOrderJson:
        words = _parsed(asked.body)
        by = await who_asks(self._threads, asked.peer)
        do, what = (self._reset, "device") if order == "reset" else (self._port, "port")
        try:
            with telling(self._log, order, by, **{what: quoted(words.name)}):
                message = await do(words, by, asked.grant)
        except Refusal as refusal:
            return {"taken": False, "done": False, "message": str(refusal), "more": refusal.more}
        return {"taken": True, "done": True, "message": message, "more": []}

    async def _reset(self, words: _UsbRequest, by: Asker, grant: Grant) -> str:
        session = ready(self._session())
        device = _device(session, words)
        _see_permitted(session, [device], "reset", grant)
        await self._see_whether(session, [device], words)
        self._log.info("reset.asked", **{ABOUT: device}, **asked_by(by))
        if failed := await session.host.usb.reset(device):
            raise Refusal(f"{described(device)} was not reset: {failed}")
        return f"{described(device)} was reset{_told_of_holders(session, [device])}"

    async def _port(self, words: _UsbRequest, by: Asker, grant: Grant) -> str:
        session, switch = ready(self._session()), words.switch
        if switch not in SWITCHES:
            raise Refusal(f"expected {', '.join(SWITCHES)}, and found '{quoted(switch)}'")
        devices = [each for each in _devices(session) if each.is_usb_device]
        socket = _socket(await self._sockets(session, devices), words.name)
        names = socket["ports"]
        inside = [each for each in devices if each.kernel in names or each.kernel.startswith(_below(names))]
        if inside or switch != "on" or self._off.get(names[0]) != by.uid:
            _see_permitted(session, inside, "port", grant)
        if switch != "on":
            await self._see_whether(session, inside, words)
        told = _told_of_holders(session, inside) if switch != "on" else ""
        where: Fields = {"port": ", ".join(names), "location": socket["location"]}
        asked = {key: value for key, value in where.items() if value}
        self._log.info("port.asked", **asked, action=switch, **asked_by(by))
        if switch == "off":
            self._off[names[0]] = by.uid
        else:
            self._off.pop(names[0], None)
        hub, number = _hub_of(names[0])
        if failed := await session.host.usb.switch(hub, number, switch):
            raise Refusal(f"port {_called(socket)}: {failed}")
        went = f"; {counted(len(inside), 'device')} went" if inside and switch != "on" else ""
        return f"port {_called(socket)} was {_DONE[switch]}{went}{told}"

    async def _sockets(self, session: Session, devices: Sequence[Device]) -> list[SocketJson]:
        def look() -> dict[str, dict[int, UsbPort]]:
            return {each.syspath: ports_of(each.syspath) for each in devices}

        try:
            ports = await self._threads.call(look, _LOOK)
        except (NoThread, TimeoutError, OSError) as error:
            raise Refusal(f"the ports cannot be read: {str(error) or 'sysfs does not answer'}") from error
        tree = topology(devices, ports, session.rules.hubs, {})
        return [each for controller in tree["controllers"] for each in _all(controller["sockets"])]

    async def _see_whether(self, session: Session, inside: Sequence[Device], words: _UsbRequest) -> None:
        """See whether these may be touched. Raises Refusal."""
        for device in inside:
            try:
                used = await self._threads.call(partial(in_use, device), _LOOK)
            except (NoThread, TimeoutError) as error:
                used = f"{CANNOT_TELL}: {str(error) or 'sysfs does not answer'}"
            if used:
                raise Refusal(f"{described(device)} stays as it is: {used}")
        covered = _covered(session)
        others = [each for each in inside if each.attrs.get("maxchild", "0") in ("", "0")]
        others = [each for each in others if each.syspath not in covered]
        if others and not words.yes:
            raise Refusal(
                f"no rule takes {counted(len(others), 'device')} that would go or be reset; --yes does it:",
                each_of(others),
            )


def _parsed(text: str) -> _UsbRequest:
    """What a command sent. Raises ValueError."""
    found = object_in(text)
    name = str(found.get("device", found.get("port", "")))
    words = _UsbRequest(
        name, str(found.get("real", "")), str(found.get("switch", "")), found.get("yes") is True
    )
    see_short(words.name, words.real)
    return words


def _devices(session: Session) -> list[Device]:
    inventory = session.reconciler.inventory
    return [*inventory.devices.values(), *inventory.unprocessed.values()]


def _device(session: Session, words: _UsbRequest) -> Device:
    """The USB device that is called so and is no hub. Raises Refusal."""
    found = named(words.name, session.reconciler.inventory.devices.values(), words.real, session.rules.hubs)
    usb = [each for each in found if each.is_usb_device]
    if len(usb) == 1:
        return usb[0]
    if usb:
        raise several_called(words.name, usb, "USB devices")
    if found:
        above = found[0].usb
        hint = f"; what it hangs from is {above}" if above is not None else ""
        raise Refusal(f"{found[0]} is no USB device itself{hint}")
    raise none_called(session, words.name, words.real)


def _all(sockets: Iterable[SocketJson]) -> Iterator[SocketJson]:
    for each in sockets:
        yield each
        yield from _all(each["sockets"])


def _socket(sockets: Sequence[SocketJson], name: str) -> SocketJson:
    """The socket that is called so. Raises Refusal."""
    for each in sockets:
        if name and (name in (each["location"], each["path"]) or name in each["ports"]):
            return each
    raise Refusal(
        f"no port {quoted(name)}: expected a location, or a port as `1-4.2`; `hotplugd topology` shows them"
    )


def _called(socket: SocketJson) -> str:
    ports = ", ".join(socket["ports"])
    return f"{quoted(socket['location'])} ({ports})" if socket["location"] else ports


def _below(names: Iterable[str]) -> tuple[str, ...]:
    """What the names of devices behind hubs in these ports begin with."""
    return tuple(f"{each}." for each in names)


def _hub_of(port: str) -> tuple[str, int]:
    """The kernel's name of the hub, and its port's number: `usb1` and 4 for 1-4, `1-4` and 2 for 1-4.2."""
    hub, dot, number = port.rpartition(".")
    if dot:
        return hub, int(number)
    bus, _, number = port.partition("-")
    return f"usb{bus}", int(number)


def _covered(session: Session) -> set[str]:
    """The syspaths of USB devices that a rule of ours, or somebody by hand, puts into instances; also where
    that is about what hangs from one.
    """
    return {
        usb.syspath
        for wants in session.reconciler.assignments.wants.values()
        if (usb := wants.device.usb) is not None
        and (
            (wants.rule is not None and wants.rule.attach is not None)
            or (wants.override is not None and wants.override.attaches)
        )
    }


def _see_permitted(session: Session, inside: Sequence[Device], verb: Verb, grant: Grant) -> None:
    """See whether all these devices are in instances for which this may be asked for; root may always. Raises
    Forbidden.
    """
    if grant.all:
        return
    holders = _holders(session, inside)
    for device in inside:
        names = holders.get(device.syspath, set())
        if not names:
            raise Forbidden(f"no instance has {device}; only root may {verb} it")
        for name in sorted(names):
            if not grant.may_with(verb, [name]):
                raise Forbidden(f"{name} has {device}, and you may not {verb} what it has")
        if not grant.about(pools := _pools(session, device)).may_with(verb, names):
            raise Forbidden(not_for_pools(str(device), pools, verb))
    if not inside:
        raise Forbidden("nothing that you may switch is in that port; only root may switch it")


def _holders(session: Session, inside: Sequence[Device]) -> dict[str, set[InstanceName]]:
    """The instances that have each of these, or what hangs from it, by syspath."""
    paths, found = {each.syspath for each in inside}, dict[str, set[InstanceName]]()
    for each in session.reconciler.attachments():
        if (usb := each.want.device.usb) is not None and usb.syspath in paths:
            found.setdefault(usb.syspath, set()).add(each.want.instance)
    return found


def _pools(session: Session, device: Device) -> set[str]:
    """The pools by which instances have a USB device, or what hangs from it; none where not all is of one."""
    found = {
        each.want.attach.pool
        for each in session.reconciler.attachments()
        if (usb := each.want.device.usb) is not None and usb.syspath == device.syspath
    }
    return found if "" not in found else set()


def _told_of_holders(session: Session, inside: Sequence[Device]) -> str:
    holders = {str(name) for names in _holders(session, inside).values() for name in names}
    if not holders:
        return ""
    return f"; {', '.join(sorted(holders))} {'has' if len(holders) == 1 else 'have'} it"
