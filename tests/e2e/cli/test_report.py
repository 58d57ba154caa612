"""`hotplugd report` of a real daemon, server and devices: what it has, and what it must not have."""

from __future__ import annotations

import re
from typing import Final

from tests.conftest import StartDaemon
from tests.e2e.cli.conftest import Configure
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Veth
from tests.support.lab.server import Server, software
from tests.support.lab.usb import Phone, Usb
from tests.support.lab.wait import eventually

_ONE: Final = "R5CT10ABCDE"
_TWIN: Final = "R5CT10ABCDF"
_TOKEN: Final = "eyJjbGllbnRfbmFtZSI6InJ1bm5lciIsImZpbmdlcnByaW50IjoiMTIzNCJ9"


def rules(container: Container, more: str = "") -> str:
    """Rules for two phones of a kind, with what may be in a comment."""
    return (
        f"# token: {_TOKEN}\n"
        "rules:\n"
        f"  - {{name: one, match: {{serial: {_ONE}}}, attach: {{to: {container}}}}}\n"
        f"  - {{name: twin, match: {{serial: {_TWIN}}}, attach: {{to: {container}}}}}\n" + more
    )


def report(running: Daemon, *, names: tuple[str, ...] = ()) -> str:
    """What it writes, without any serial number, key or token of this bed."""
    done = running.ask("report", "--output", "-")
    assert done.returncode == 0, done.stderr
    for text in (done.stdout, done.stderr):
        for secret in (_ONE, _TWIN, _TOKEN, "PRIVATE KEY", "BEGIN CERT", *names):
            assert secret.casefold() not in text.casefold(), secret
    return done.stdout


def part(text: str, title: str) -> str:
    """A section's lines."""
    return text.partition(f"== {title} ==\n\n")[2].partition("\n\n== ")[0]


def test_everything_is_in_it_and_no_serial(container: Container, usb: Usb, daemon: StartDaemon) -> None:
    one, twin = usb.plug(Phone(serial=_ONE), "1"), usb.plug(Phone(serial=_TWIN), "2")
    running = daemon(rules(container), usb.environment)
    eventually(lambda: container.look(one.node) and container.look(twin.node))
    eventually(lambda: "device.inside" in running.log())
    text = report(running)
    told = part(text, "server")
    assert f"server {software()}" in told
    assert re.search(r"\d+ API extensions: .*\bprojects\b", told)
    assert f"{container}: container, runs" in part(text, "entries of ours")
    assert part(text, "entries of ours").count("  hp-") == 2
    assert '"ready": true' in part(text, "status")
    assert '"event": "device.inside"' in part(text, "last events")
    masks = dict(re.findall(r"(/dev/bus/usb/\S+): .*?serial:(<serial-\d+>)", part(text, "devices")))
    assert set(masks) == {one.node, twin.node}
    assert masks[one.node] != masks[twin.node]
    for node, mask in masks.items():
        rule = "one" if node == one.node else "twin"
        assert re.search(rf"name: {rule}, match: {{serial: {mask}}}", text)


def test_an_interface_that_is_inside_has_no_address_in_it(
    container: Container, daemon: StartDaemon, veth: Veth
) -> None:
    rule = f"{{name: port, match: {{subsystem: net, mac: '{veth.mac}'}}, attach: {{to: {container}}}}}"
    running = daemon(f"rules:\n  - {rule}\n")
    veth.plug()
    eventually(lambda: "device.inside" in running.log())
    text = report(running, names=(veth.mac, veth.mac.replace(":", "")))
    mask = re.search(r"mac: '(<mac-\d+>)'", text)
    assert mask is not None
    assert mask[1] in part(text, "entries of ours")


def test_without_a_daemon_and_with_broken_rules(container: Container, usb: Usb, configure: Configure) -> None:
    usb.plug(Phone(serial=_ONE), "1")
    made = configure(rules(container, "  - {nmae: x}\n"), usb.environment)
    text = report(made)
    assert "not known: hotplugd is not running" in part(text, "status")
    assert "did you mean 'name'?" in part(text, "errors and warnings of the files")
    assert "API extensions" in part(text, "server")


def test_without_the_server(own_server: Server, usb: Usb, container: Container) -> None:
    usb.plug(Phone(serial=_ONE), "1")
    with Daemon(own_server.socket, rules(container), usb.environment) as running:
        own_server.stop()
        text = report(running)
    assert "not known: " in part(text, "server")
    assert '"connected": ' in part(text, "status")


def test_what_the_server_logs_of_us_is_in_it(own_server: Server, configure: Configure) -> None:
    with own_server.log.open("a") as log:
        log.write(f"level=warning msg=failed device=hp-0123456789abcdef serial={_ONE}\nlevel=info msg=x\n")
    made = Daemon(own_server.socket, "rules: []\n")
    try:
        text = report(made)
    finally:
        made.close()
    lines = part(text, "the server's log about us").splitlines()
    assert f"{own_server.log}: 1 lines" in lines
    assert "level=warning msg=failed device=hp-0123456789abcdef serial=<serial-" in lines[-1]
