"""The questions of a night are one command each: those of the documentation, with a real daemon."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from hotplugd.model.claim_texts import CLAIM
from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.usb import Phone, Usb
from tests.support.lab.wait import eventually

pytestmark = pytest.mark.pools

_PAGE = "docs/how-to/last-night.md"
_ROW = re.compile(r"\| ([^|]+\?) \| `hotplugd ([^`]+)` \|")
_PHONE = "R5CT10ABCDE"


@pytest.fixture
def questions(project: Path) -> dict[str, str]:
    """The commands of the first table, by their questions."""
    table = (project / _PAGE).read_text("utf-8").partition("\n\nAnd of")[0]
    return dict(_ROW.findall(table))


class Night:
    """A phone that was in a container, one whose container there is not, and one that no rule takes."""

    def __init__(self, container: Container, usb: Usb, daemon: StartDaemon) -> None:
        self.container, self.usb = container, usb
        self.phone = usb.plug(Phone(serial=_PHONE), "1")
        self.lost = usb.plug(Phone(serial="LOST1"), "2")
        self.free = usb.plug(Phone(serial="FREE1", vendor="04e8"), "3")
        usb.lead_out(f"usb{usb.bus}", 3)
        for number, each in enumerate((self.phone, self.lost, self.free), 1):
            usb.in_port(each, f"usb{usb.bus}-port{number}")
        self.running = daemon(self.rules(), usb.environment)
        self.see("device.inside")
        self.then = f"{datetime.now().astimezone():%H:%M:%S.%f}"

    def rules(self, more: str = "") -> str:
        return (
            "rules:\n"
            f"  - {{name: phones, match: {{serial: {_PHONE}}}, attach: {{to: {self.container}}}}}\n"
            "  - {name: others, match: {serial: LOST1}, attach: {to: nobody}}\n"
            "  - {name: unused, match: {serial: NONE1}, attach: {to: nobody}}\n" + more
        )

    def see(self, event: str) -> None:
        eventually(lambda: event in self.running.ask("history", _PHONE).stdout)

    def ask(self, question: str) -> tuple[int, str]:
        done = self.running.ask(*shlex.split(question.replace("02:13", self.then)))
        return done.returncode, done.stdout + done.stderr


def test_each_question_is_one_command(
    container: Container, usb: Usb, daemon: StartDaemon, questions: dict[str, str]
) -> None:
    night = Night(container, usb, daemon)
    running: Daemon = night.running
    assert len(questions) == 8
    had, why, unattached, port, plugged, health, never, change = questions.values()

    code, said = night.ask(health)
    assert (code, said) == (0, "well\n")

    code, said = night.ask(unattached)
    assert code == 1
    assert re.search(r"problem: .*serial LOST1.*, rule others: there is no instance 'nobody'", said)
    assert re.search(rf"{night.free.node}\s+FREE1", said)
    assert _PHONE not in said

    code, said = night.ask(port)
    assert code == 0
    assert re.search(rf"{usb.bus}-1\b.*{_PHONE}", said, re.DOTALL)

    code, said = night.ask(never)
    assert code == 0
    assert re.search(r"^unused\s+0\s+0\s", said, re.MULTILINE)
    assert "1 rule took nothing since" in said

    usb.unplug(night.phone)
    night.see("device.remove")

    code, said = night.ask(had)
    assert code == 0
    first = said.splitlines()[0]
    assert first.startswith("before: ")
    assert f" in {container} by rule phones" in first
    assert " device.gone " in said

    code, said = night.ask(why)
    assert code == 1
    assert (
        f"hotplugd: no device {_PHONE}: it is not plugged in; rule phones would take it; last seen 20" in said
    )
    assert said.count("not plugged in") == 1

    night.phone = usb.plug(Phone(serial=_PHONE), "1")
    eventually(lambda: night.ask(plugged)[1].count("device.inside") == 2)
    # A host without a journal is told of, and what was so before has a word before its time.
    words = [line.split()[3] for line in night.ask(plugged)[1].splitlines() if line[:2] == "20"]
    assert words[-4:] == ["device.seen", "device.asked", "device.add", "device.inside"]

    free = f"  - {{name: more, match: {{serial: FREE1}}, attach: {{to: {container}}}}}\n"
    running.write_rules(night.rules(free))
    code, said = night.ask(change)
    assert code == 0
    assert re.search(rf"^add\s+{container}\s+{night.free.node}\s+FREE1 .*more", said, re.MULTILINE)
    assert _PHONE not in said


def test_the_same_is_chosen_by_all_commands(container: Container, usb: Usb, daemon: StartDaemon) -> None:
    night = Night(container, usb, daemon)
    for command in ("status", "devices", "plan"):
        for words, shown, hidden in (
            (("--unmatched",), ("FREE1",), (_PHONE, "LOST1")),
            (("--rule", "oth*"), (), (_PHONE, "FREE1")),
            (("--instance", "nobody"), (), (_PHONE, "FREE1")),
            (("--problems",), (), (_PHONE,)),
            (("--location", "none/*"), (), (_PHONE, "FREE1", "LOST1")),
        ):
            said = night.running.ask(command, *words).stdout
            assert all(each in said for each in shown), (command, words, said)
            assert not any(each in said for each in hidden), (command, words, said)
    assert "LOST1" in night.running.ask("devices", "--problems").stdout
    assert "LOST1" in night.running.ask("status", "--instance", "nobody").stdout
    said = night.running.ask("status", "--instance", f"default/{container}").stdout
    assert _PHONE in said
    assert _PHONE in night.running.ask("devices", "--instance", f"default/{container}").stdout


def _of_pool(more: str = "") -> str:
    return (
        "pools: {android: {instances: '*', keep: 5m}}\n"
        f"rules:\n{more}"
        "  - {name: phones, match: {id: '18d1:4ee7'}, attach: {pool: android}}\n"
        "  - {name: unused, match: {serial: NONE1}, attach: {to: nobody}}\n"
    )


def test_each_question_is_one_command_for_phones_of_pools(
    launch: Callable[..., Container], usb: Usb, daemon: StartDaemon, questions: dict[str, str]
) -> None:
    job = launch(config={f"{CLAIM}phone": f"android serial={_PHONE}"})
    phone, spare = usb.plug(Phone(serial=_PHONE), "1"), usb.plug(Phone(serial="SPARE1"), "2")
    usb.lead_out(f"usb{usb.bus}", 2)
    for number, each in enumerate((phone, spare), 1):
        usb.in_port(each, f"usb{usb.bus}-port{number}")
    running = daemon(_of_pool(), usb.environment)
    had, why, unattached, port, plugged, health, never, change = questions.values()

    def ask(question: str) -> str:
        done = running.ask(*shlex.split(question.replace("02:13", then)))
        return done.stdout + done.stderr

    eventually(lambda: "device.inside" in running.ask("history", _PHONE).stdout)
    then = f"{datetime.now().astimezone():%H:%M:%S.%f}"
    assert ask(health) == "well\n"
    assert f"{_PHONE}, in {job}" in ask(port)
    assert re.search(r"^unused\s+0\s+0\s", ask(never), re.MULTILINE)

    said = ask(unattached)
    assert re.search(rf"^LEASED TO NOBODY .*\n{spare.node}\s+SPARE1\s.* android +free", said, re.MULTILINE)
    assert phone.node not in said
    for command in ("plan", "devices"):
        said = running.ask(command, "--problems").stdout
        assert (spare.node in said, phone.node in said) == (True, False), (command, said)
    said = ask(why.replace(_PHONE, "SPARE1"))
    assert "pool android: free, and no claim on the pool waits for a device\n" in said
    assert running.ask("cordon", "SPARE1", "--reason", "broken screen").returncode == 0
    assert re.search(r"SPARE1\s.* android +cordoned .*: broken screen", ask(unattached))
    assert re.search(
        r"pool android: cordoned, and given to nobody: .*: broken screen\n",
        ask(why.replace(_PHONE, "SPARE1")),
    )
    assert " cordon.asked " in running.ask("history", "SPARE1").stdout

    usb.unplug(phone)
    eventually(lambda: " lease.away " in running.ask("history", _PHONE).stdout)
    assert f" in {job} by rule phones" in ask(had).splitlines()[0]
    assert "it is not plugged in; rule phones would take it; last seen 20" in ask(why)
    done = running.ask("detach", _PHONE)
    assert re.search(
        rf"no device {_PHONE} is plugged in.*\n  not plugged in; last seen 20.* at ", done.stderr
    )
    phone = usb.plug(Phone(serial=_PHONE), "1")
    eventually(lambda: ask(plugged).count("device.inside") == 2)
    words = [line.split()[3] for line in ask(plugged).splitlines() if line[:2] == "20"]
    assert words[-5:] == ["device.seen", "lease.back", "device.asked", "device.add", "device.inside"]

    running.write_rules(_of_pool(f"  - {{name: more, match: {{serial: SPARE1}}, attach: {{to: {job}}}}}\n"))
    assert re.search(rf"^add\s+{job}\s+{spare.node}\s+SPARE1 .*more", ask(change), re.MULTILINE)


def test_what_waits_for_a_phone_is_in_its_explanation(
    launch: Callable[..., Container], usb: Usb, daemon: StartDaemon
) -> None:
    usb.plug(Phone(serial=_PHONE), "1")
    usb.plug(Phone(serial="SPARE1"), "2")
    running = daemon(_of_pool(), usb.environment)
    first = launch(config={f"{CLAIM}phone": f"android serial={_PHONE}"})
    eventually(lambda: "device.inside" in running.ask("history", first.name).stdout)
    second = launch(config={f"{CLAIM}phone": "android count=2"})
    eventually(lambda: second.name in running.ask("status").stdout)
    said = running.ask("explain", "SPARE1").stdout
    assert "pool android: free\n" in said
    assert f"\n{second}: claim 'phone' is waiting: " in said
    (claim,) = json.loads(running.ask("explain", "SPARE1", "--json").stdout)["claims"]
    assert (claim["instance"], claim["state"]) == (second.name, "waiting")
    assert json.loads(running.ask("explain", _PHONE, "--json").stdout)["claims"] == []
