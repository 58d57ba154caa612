"""The program that writes what udevd is told to leave alone: what it writes, and what it never does."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from hotplugd.aio.helper import words
from hotplugd.app.udev_ignore import ignore_rules
from hotplugd.host import udev_rules_helper
from hotplugd.rulefile.load import load
from tests.support.devices import rule, ruleset
from tests.support.lab.daemon import command

NAME = "68-hotplugd-leave.rules"
GOOD = ignore_rules(ruleset(rule("{id: '18d1:4ee7'}", "{to: box, with: net}")), usb=True)
END = 'GOTO="hotplugd_leave_end"'
# What somebody who broke into the daemon would like udevd to do.
BAD = [
    'RUN+="/bin/sh -c id"',
    f'SUBSYSTEM=="usb", RUN+="/bin/sh", {END}',
    f'SUBSYSTEM=="usb", RUN{{program}}="/bin/sh", {END}',
    f'PROGRAM=="/bin/sh", {END}',
    f'PROGRAM="/bin/sh", {END}',
    f'IMPORT{{program}}=="/bin/sh", {END}',
    f'IMPORT{{file}}="/etc/shadow", {END}',
    f'TEST=="/etc", {END}',
    f'RESULT=="x", {END}',
    f'ATTR{{authorized}}="0", {END}',
    f'ATTR{{../../x}}=="0", {END}',
    f'SYSCTL{{kernel.core_pattern}}="|x", {END}',
    f'MODE="0666", {END}',
    f'OWNER="games", {END}',
    f'GROUP:="games", {END}',
    f'NAME="eth0", {END}',
    f'SYMLINK+="disk/by-id/mine", {END}',
    f'TAG+="systemd", {END}',
    f'OPTIONS+="static_node=mem", {END}',
    f'ENV{{SYSTEMD_WANTS}}="evil.service", {END}',
    f'ENV{{UDISKS_IGNORE}}="0", {END}',
    f'ENV{{UDISKS_IGNORE}}+="1", {END}',
    f'ENV{{UDISKS_IGNORE}}="1", SUBSYSTEM=="usb", {END}',
    f'ENV{{ID_NET_MANAGED_BY}}="1", {END}',
    f'ENV{{NM_UNMANAGED}}="hotplugd", {END}',
    f'ENV{{HOTPLUGD_WITH_x}}="1", {END}',
    'IMPORT{parent}="*"',
    'IMPORT{db}="HOTPLUGD_WITH_*"',
    'IMPORT{program}="HOTPLUGD_WITH_*"',
    'ENV{UDISKS_IGNORE}="1"',
    'GOTO="elsewhere"',
    'LABEL="elsewhere"',
    f'SUBSYSTEM=="$env{{X}}", {END}',
    f'SUBSYSTEM=="%c", {END}',
    f'SUBSYSTEM=="a\\", {END}',
    f'SUBSYSTEM=="a", RUN+="b", {END}',
    f'SUBSYSTEM==e"a\\n", {END}',
    f'SUBSYSTEM==i"a", {END}',
    f'SUBSYSTEM=="a",{END}',
    f'SUBSYSTEM=="é", {END}',
    f" {END}",
    f"{END} ",
    '# it goes on \\\nRUN+="x"',
    "# \0",
    "# \r",
    '\x0bRUN+="x"',
    'RUN+="x"\u2028',
]

Ask = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run" / "rules.d"


@pytest.fixture
def ask(folder: Path, project: Path) -> Iterator[Ask]:
    """Asks one program, without any privilege, which then ends well."""
    unit = project / "systemd/hotplugd-udevrules@.service"
    line = [sys.executable, "-m", "tests.support.lab.confine", str(unit)]
    line += words(udev_rules_helper.__name__, [str(folder)])
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, ExitStack() as undo, subprocess.Popen(line, stdin=theirs.fileno()) as process:
        theirs.close()
        ours.settimeout(20)

        def one(name: str, text: str | bytes, beside: Sequence[int] | None = None) -> str:
            file = os.memfd_create("text")
            undo.callback(os.close, file)
            os.pwrite(file, text.encode() if isinstance(text, str) else text, 0)
            socket.send_fds(ours, [name.encode()], [file] if beside is None else beside)
            return ours.recv(udev_rules_helper.LIMITS.answer).decode()

        yield one
        ours.close()
        assert process.wait(20) == 0


@pytest.mark.usefixtures("root")
def test_it_writes_what_hotplugd_makes_and_nothing_else(ask: Ask, folder: Path) -> None:
    assert ask(NAME, GOOD) == "done"
    for line in BAD:
        assert "is none that hotplugd makes" in ask(NAME, f"{GOOD}{line}\n") or "codec" in ask(NAME, line)
        assert "is none that hotplugd makes" in ask(NAME, f"{line}\n{GOOD}") or "codec" in ask(NAME, line)
    assert [each.name for each in folder.iterdir()] == [NAME]
    assert (folder / NAME).read_text() == GOOD
    assert (folder / NAME).stat().st_mode & 0o7777 == 0o644
    assert ask(NAME, "") == "done"
    assert not (folder / NAME).exists()
    assert ask(NAME, "") == "done"


@pytest.mark.usefixtures("root")
def test_it_writes_nowhere_else(ask: Ask, folder: Path, tmp_path: Path) -> None:
    for name in ("", "x.rules", f"../{NAME}", f"/etc/udev/rules.d/{NAME}", f"{NAME}\0", NAME * 9):
        if name:
            assert ask(name, GOOD) == "not a request"
    assert ask(NAME, GOOD, []) == "not a request"
    null = os.open("/dev/null", os.O_RDONLY)
    assert ask(NAME, GOOD, [null, null]) == "not a request"
    assert "expected a file" in ask(NAME, GOOD, [null])
    os.close(null)
    assert not folder.exists()
    # Links in its folder lead nowhere.
    precious = tmp_path / "precious"
    precious.write_text("precious")
    folder.mkdir(parents=True)
    for each in (NAME, f"{NAME}.new"):
        (folder / each).symlink_to(precious)
    assert ask(NAME, GOOD) == "done"
    assert precious.read_text() == "precious"
    assert (folder / NAME).read_text() == GOOD
    assert not (folder / NAME).is_symlink()


@pytest.mark.usefixtures("root")
def test_a_text_without_end_is_none(ask: Ask, folder: Path) -> None:
    assert "expected a file" in ask(NAME, b"#" * ((16 << 20) + 1))
    assert "is none that hotplugd makes" in ask(NAME, "x" * (1 << 20))
    assert ask(NAME, GOOD) == "done"


@pytest.mark.parametrize("usb", [True, False])
def test_all_that_our_rules_become_is_fit(project: Path, usb: bool) -> None:
    for path in sorted((project / "rules").glob("*.yaml")):
        udev_rules_helper.see(ignore_rules(load([path]).rules, ["/sys/devices/pci0000:00/x/net/a"], usb=usb))


_TELL = (
    r'ENV\{(ID_MM_(DEVICE|PORT)_IGNORE|UDISKS_IGNORE|NM_UNMANAGED|MTP_NO_PROBE|HOTPLUGD_WITH_[0-9a-f]{16})\}="1"'
    r'|ENV\{ID_NET_MANAGED_BY\}="hotplugd"'
)


def test_whatever_is_taken_does_nothing_but_leave_alone() -> None:
    # As udev reads a line: keys, operators, values in quotes (udev(7)).
    token = re.compile(r'\s*,?\s*([A-Z]+)(?:\{([^}]*)\})?\s*(==|!=|\+=|-=|:=|=)\s*"([^"]*)"')
    pieces = [*GOOD.split("\n"), *BAD, "RUN", "+=", '"', "\\", "\n", ", ", END, 'ENV{X}="1"', "{", "}", "=="]
    random = Random(1)
    taken = 0
    for _ in range(20_000):
        text = "".join(random.choice(pieces) + random.choice(("", "\n", ", ")) for _ in range(4))
        try:
            udev_rules_helper.see(text)
        except udev_rules_helper.BadRules:
            continue
        taken += 1
        for line in text.split("\n"):
            if line.startswith("#"):
                assert not line.endswith("\\")
                continue
            for key, name, operator, value in token.findall(line):
                does = operator not in ("==", "!=")
                said = f'{key}{{{name}}}="{value}"'
                assert not does or key in ("GOTO", "LABEL", "IMPORT") or re.fullmatch(_TELL, said)
                assert key != "IMPORT" or said == 'IMPORT{parent}="HOTPLUGD_WITH_*"'
                assert key not in ("RUN", "PROGRAM", "TEST", "RESULT")
    assert taken > 100


def test_by_hand_it_says_who_starts_it() -> None:
    done = subprocess.run(
        [*command(), "udevrules"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "standard input is no socket" in done.stderr) == (2, True)
