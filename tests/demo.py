"""`make demo`: real devices into real containers, by rules, with the time that each took.

A private LXD and, where none runs, a udevd are started beside whatever is there; two containers; hotplugd,
twice: once with devices that the kernel makes on demand, once with made-up phones (umockdev) whose nodes are
real. Whether a device is inside is seen by walking the container's /dev, with none of hotplugd's code.
Exit code 0 only when every device was seen in its own container and in no other, and was gone afterwards.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from signal import Signals
from statistics import median
from typing import TextIO

from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console, Veth, Zram
from tests.support.lab.server import Server
from tests.support.lab.stop import clean_up_when_told_to_end, finish_undisturbed
from tests.support.lab.udevd import udevd
from tests.support.lab.usb import FASTBOOT, SERIAL, Phone, Plugged, Usb
from tests.support.lab.wait import NotInTime, eventually, steadily

_ROUNDS = 5
_DEADLINE = 10.0
_LONGER = 0.2  # what is put into a wrong container may come there a little later
_PAUSE = 0.0003

_KERNEL_RULES = """\
rules:
  - name: consoles
    match: {{subsystem: vc, kernel: "{consoles}"}}
    attach: {{to: c1}}

  - name: console-read-only
    match: {{subsystem: vc, kernel: "{console}"}}
    attach: {{to: c2, path: /dev/screen, mode: "0440"}}

  - name: disks
    match:
      subsystem: block
      kernel: "zram*"
      not: {{kernel: "{disks}"}}          # those that are here already
    attach: {{to: c2}}
"""

_NET_RULES = """\
rules:
  - name: network-port
    match: {{subsystem: net, mac: "{mac}"}}
    {does}
"""
_NET_TAKEN = "attach: {to: c1, name: lan0}"

_USB_RULES = """\
rules:
  - name: pixel-1
    match: {{vendor_id: 18d1, serial: "1A*"}}
    attach: {{to: c1}}

  - name: pixel-2
    match: {{vendor_id: 18d1, serial: "2B*"}}
    attach: {{to: c2}}

  - name: no-serial-but-this-port
    match: {{id: "05c6:9008", port: "{bus}-4.2"}}
    attach: {{to: c1}}

  - name: any-in-the-bootloader
    match: {{interface: "ff:42:03"}}
    attach: {{to: c2}}

  - name: console-cable
    match: {{subsystem: tty, id: "0403:6001", serial: A50285BI}}
    attach: {{to: c1, path: /dev/ttyConsole, group: dialout, mode: "0660"}}
"""


@dataclass(frozen=True, slots=True)
class Part:
    """One device and where it belongs. plug returns its number as `c 7:42` and its path inside."""

    name: str
    rule: str
    home: Container
    plug: Callable[[], tuple[str, str]]
    unplug: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one device. Times are in milliseconds, None where it did not happen."""

    device: str
    rule: str
    instance: str
    came: float | None = None
    went: float | None = None
    wrong: str = ""


def main() -> int:
    """Run the demonstration. Returns the exit code."""
    if os.geteuid() != 0:
        sys.stderr.write("make demo: expected root, which LXD and plugging need; try: sudo make demo\n")
        return 2
    clean_up_when_told_to_end(Signals.SIGINT, Signals.SIGTERM, Signals.SIGHUP)
    start = time.monotonic()
    rows: list[Row] = []
    try:
        with ExitStack() as undo:
            _say("udevd, and a private LXD beside what is there")
            undo.enter_context(udevd())
            server = undo.enter_context(Server())
            _say("two containers: c1, c2")
            containers = (server.launch("c1"), server.launch("c2"))
            rows += _kernel(server, containers)
            rows.append(_interface(server, containers))
            rows += _phones(server, containers)
            _say("clean-up")
            finish_undisturbed(Signals.SIGINT, Signals.SIGTERM, Signals.SIGHUP)
    except KeyboardInterrupt:
        _say("stopped; everything is cleaned up")
        return 130
    except (AssertionError, RuntimeError, OSError) as error:
        sys.stderr.write(f"make demo: {error}\n")
        return 1
    _table(sys.stdout, rows)
    bad = [row for row in rows if row.wrong]
    for row in bad:
        sys.stdout.write(f"{row.device}: {row.wrong}\n")
    seconds = time.monotonic() - start
    verdict = "every device was in its own container, nowhere else, and gone afterwards"
    said = f"{len(bad)} wrong" if bad else verdict
    sys.stdout.write(f"medians of {_ROUNDS} plugs; {len(rows)} devices in {seconds:.0f} s: {said}\n")
    return 1 if bad or not rows else 0


# --- the two runs -------------------------------------------------------------------------------------------


def _kernel(server: Server, containers: tuple[Container, Container]) -> list[Row]:
    c1, c2 = containers
    with ExitStack() as undo:
        consoles = [Console() for _ in range(4)]
        disk = Zram()
        for close in (*(each.close for each in consoles), disk.close):
            undo.callback(close)
        names = [Path(each.node).name for each in consoles]
        present = [path.name for path in Path("/sys/block").glob("zram*")]
        rules = _KERNEL_RULES.format(
            consoles="|".join(names[:3]), console=names[3], disks="|".join(present) or "none"
        )
        last = consoles.pop()
        parts = [Part(each.node, "consoles", c1, _console(each, each.node), each.unplug) for each in consoles]
        parts.append(Part(last.node, "console-read-only", c2, _console(last, "/dev/screen"), last.unplug))
        parts.append(Part("memory disk (zram)", "disks", c2, _disk(disk), disk.unplug))
        _say("hotplugd, with devices of the kernel's own")
        return _run(server, rules, None, parts, containers)


def _interface(server: Server, containers: tuple[Container, Container]) -> Row:
    """A network interface, plugged in while a rule takes it, and given back when no rule does any more."""
    home, other = containers
    row = Row("network interface (given back)", "network-port", str(home))
    came, went = [], []
    with Veth() as veth:
        veth.unplug()
        taken, ignored = (_NET_RULES.format(mac=veth.mac, does=does) for does in (_NET_TAKEN, "ignore: true"))
        _say("hotplugd, with a network interface")
        with Daemon(server.socket, taken) as daemon:
            try:
                for _ in range(_ROUNDS):
                    start = time.perf_counter()
                    veth.plug()
                    eventually(lambda: "lan0" in _interfaces(home), _DEADLINE, pause=_PAUSE)
                    came.append((time.perf_counter() - start) * 1000)
                    if veth.on_host or "lan0" in _interfaces(other):
                        return replace(row, wrong="it is in two places")
                    daemon.write_rules(ignored)
                    start = time.perf_counter()
                    daemon.send(Signals.SIGHUP)
                    eventually(lambda: veth.on_host, _DEADLINE, pause=_PAUSE)
                    went.append((time.perf_counter() - start) * 1000)
                    if "lan0" in _interfaces(home):
                        return replace(row, wrong="it is in two places")
                    daemon.wait_for("READY=1")
                    # The server has more to do with it than to give it back.
                    eventually(lambda: not any(name.startswith("hp-") for name in home.devices), _DEADLINE)
                    veth.unplug()
                    daemon.write_rules(taken)
                    daemon.reload()
            except NotInTime as error:
                return replace(row, wrong=str(error))
    return replace(row, came=median(came), went=median(went))


def _interfaces(container: Container) -> set[str]:
    text = Path(f"/proc/{container.pid}/net/dev").read_text(encoding="ascii")
    return {line.partition(":")[0].strip() for line in text.splitlines()[2:]}


def _phones(server: Server, containers: tuple[Container, Container]) -> list[Row]:
    c1, c2 = containers
    with Usb() as usb:
        usb.plug(Phone("1d6b", "0002", interfaces=("09:00:00",), device_class="09"), "4")
        bootloader = Phone(product="4ee0", serial="3C-BOOT", interfaces=(FASTBOOT,))
        plan: Sequence[tuple[str, str, Container, Phone, str]] = (
            ("Pixel 1A", "pixel-1", c1, Phone(serial="1A-0001"), "1"),
            ("Pixel 2B, the same model", "pixel-2", c2, Phone(serial="2B-0001"), "2"),
            ("EDL phone without a serial", "no-serial-but-this-port", c1, Phone("05c6", "9008"), "4.2"),
            ("phone in the bootloader", "any-in-the-bootloader", c2, bootloader, "3"),
        )
        slots = [_Slot(usb, phone, port) for *_, phone, port in plan]
        parts = [
            Part(name, rule, home, slot.plug, slot.unplug)
            for (name, rule, home, _, _), slot in zip(plan, slots, strict=True)
        ]
        cable = _Slot(usb, Phone("0403", "6001", "A50285BI", (SERIAL,)), "4.3", f"ttyUSB{usb.bus}")
        parts.append(Part("serial cable", "console-cable", c1, cable.plug, cable.unplug))
        _say("hotplugd again, with made-up phones")
        rules = _USB_RULES.format(bus=usb.bus)
        return _run(server, rules, usb.environment, parts, containers)


def _run(
    server: Server,
    rules: str,
    environment: Mapping[str, str] | None,
    parts: Sequence[Part],
    containers: Sequence[Container],
) -> list[Row]:
    """Plug the parts, one after the other, while one daemon runs."""
    before = [frozenset(_numbers(each)) for each in containers]
    with Daemon(server.socket, rules, environment) as daemon:
        rows = [_watch(part, containers) for part in parts]
        after = [frozenset(_numbers(each)) for each in containers]
        if (code := daemon.stop()) != 0:
            rows.append(Row("-", "-", "-", wrong=f"hotplugd ended with {code}"))
        if before != after:
            left = [
                f"{each}: {sorted(now - then)}"
                for each, now, then in zip(containers, after, before, strict=True)
            ]
            rows.append(Row("-", "-", "-", wrong=f"nodes were left behind: {', '.join(left)}"))
        if any(row.wrong for row in rows):
            sys.stdout.write(f"--- hotplugd's log\n{daemon.log()}---\n")
    return rows


def _watch(part: Part, containers: Sequence[Container]) -> Row:
    """Several rounds with one device. The times are the medians, and one wrong round makes all wrong."""
    rounds = []
    for number in range(_ROUNDS):
        rounds.append(_once(part, containers, stay=0 if number else _LONGER))
        if rounds[-1].wrong:
            return rounds[-1]
    came = median(row.came for row in rounds if row.came is not None)
    went = median(row.went for row in rounds if row.went is not None)
    return replace(rounds[0], came=came, went=went)


def _once(part: Part, containers: Sequence[Container], stay: float) -> Row:
    """Plug it in, see it at home, see it nowhere else, pull it, see it gone."""
    instance = str(part.home)
    came: float | None = None
    try:
        start = time.perf_counter()
        number, path = part.plug()

        def inside() -> bool:
            seen = part.home.look(path)
            return seen is not None and seen.number == number

        eventually(inside, _DEADLINE, pause=_PAUSE)
        came = (time.perf_counter() - start) * 1000
        others = [each for each in containers if each is not part.home]
        with suppress(AssertionError):
            steadily(lambda: not any(number in _numbers(each) for each in others), stay)
        elsewhere = {str(each) for each in others if number in _numbers(each)}
        start = time.perf_counter()
        part.unplug()
        eventually(lambda: part.home.look(path) is None, _DEADLINE, pause=_PAUSE)
        went = (time.perf_counter() - start) * 1000
        elsewhere |= {str(each) for each in containers if number in _numbers(each)}
    except NotInTime as error:
        with suppress(OSError):
            part.unplug()
        what = "not gone" if came is not None else "not seen inside"
        return Row(part.name, part.rule, instance, came, wrong=f"{what}: {error}")
    wrong = f"also seen in {', '.join(sorted(elsewhere))}" if elsewhere else ""
    return Row(part.name, part.rule, instance, came, went, wrong)


# --- devices ------------------------------------------------------------------------------------------------


def _console(console: Console, path: str) -> Callable[[], tuple[str, str]]:
    def plug() -> tuple[str, str]:
        console.plug()
        return f"c 7:{128 + console.number}", path

    return plug


def _disk(disk: Zram) -> Callable[[], tuple[str, str]]:
    def plug() -> tuple[str, str]:
        disk.plug()
        return f"b {Path(disk.syspath, 'dev').read_text().strip()}", disk.node

    return plug


class _Slot:
    """Where on the made-up bus a phone is plugged; with a tty it is a serial adapter."""

    def __init__(self, usb: Usb, phone: Phone, port: str, tty: str = "") -> None:
        self._usb, self._phone, self._port, self._tty = usb, phone, port, tty
        self._plugged: Plugged | None = None

    def plug(self) -> tuple[str, str]:
        if self._tty:
            self._plugged = self._usb.plug_serial(self._phone, self._port, self._tty)
            return self._plugged.below[0].number, "/dev/ttyConsole"
        self._plugged = self._usb.plug(self._phone, self._port)
        return self._plugged.number, self._plugged.node

    def unplug(self) -> None:
        plugged, self._plugged = self._plugged, None
        if plugged is not None:
            self._usb.unplug(plugged)


def _numbers(container: Container) -> Iterator[str]:
    return (seen.number for seen in container.nodes().values())


# --- what is shown ------------------------------------------------------------------------------------------

_HEAD = ("device", "rule", "instance", "plug to inside", "unplug to gone")


def _say(text: str) -> None:
    sys.stdout.write(f"{text} …\n")
    sys.stdout.flush()


def _table(out: TextIO, rows: Sequence[Row]) -> None:
    cells = [(row.device, row.rule, row.instance, _ms(row.came), _ms(row.went)) for row in rows]
    if out.isatty():
        from rich.console import Console as Terminal  # noqa: PLC0415  # where there is a terminal
        from rich.table import Table  # noqa: PLC0415

        table = Table(*_HEAD[:3])
        for head in _HEAD[3:]:
            table.add_column(head, justify="right")
        for row, line in zip(rows, cells, strict=True):
            table.add_row(*line, style="red" if row.wrong else None)
        Terminal(file=out).print(table)
        return
    widths = [max(map(len, column)) for column in zip(_HEAD, *cells, strict=True)]
    for line in (_HEAD, *cells):
        texts = [text.ljust(width) for text, width in zip(line[:3], widths, strict=False)]
        texts += [text.rjust(width) for text, width in zip(line[3:], widths[3:], strict=True)]
        out.write("  ".join(texts).rstrip() + "\n")


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


if __name__ == "__main__":
    sys.exit(main())
