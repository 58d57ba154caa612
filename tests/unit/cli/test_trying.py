"""Trying rules without a device: `test`, `explain --as` and `check --devices`."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hotplugd.app.record import record
from hotplugd.cli import main
from tests.support.devices import console, phone, plugged
from tests.support.usb_tree import Sockets

RULES = """rules:
  - name: phone
    description: For the farm.
    match: {serial: R5C001, port: 1-1}
    attach: {to: runner-1, link: /dev/phone, user: shell, group: "plugdev", mode: "0660"}
  - {name: off, enabled: false, match: {serial: R5C002}, attach: {to: runner-2}}
  - {name: odd, match: {id: "0403:6001", subsystem: tty}, attach: {to: "{port}"}}
"""
TESTS = """tests:
  - {name: good, device: {serial: R5C001, port: 1-1}, to: runner-1}
  - {name: bad, device: {serial: R5C001, port: 1-2}, to: runner-1}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "r.yaml").write_text(RULES)
    made = tmp_path / "config.yaml"
    made.write_text(f"rules: {tmp_path / 'r.yaml'}\ncontrol: {tmp_path / 'none.sock'}\n")
    return made


def run(*words: object) -> Result:
    done = CliRunner().invoke(main, list(map(str, words)))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


class TestTests:
    def test_each_that_fails_is_told_with_its_place(self, config: Path, tmp_path: Path) -> None:
        file = tmp_path / "t.yaml"
        file.write_text(TESTS)
        done = run("test", file, "--config", config)
        assert (done.exit_code, done.stdout) == (1, "")
        head, _, caret, summary = done.stderr.splitlines()
        assert head.startswith(
            f"{file}:3:12: error: test 'bad': the device goes nowhere, for no rule takes it"
        )
        assert caret.endswith("rule 'phone': port: wants '1-1', has '1-2'")
        assert summary == "1 of 2 tests failed"

    def test_all_may_pass(self, config: Path, tmp_path: Path) -> None:
        file = tmp_path / "t.yaml"
        file.write_text(TESTS.replace("1-2", "1-1"))
        done = run("test", file, "--rules", tmp_path / "r.yaml")
        assert (done.exit_code, done.stdout, done.stderr) == (0, "2 tests, all passed\n", "")
        document = json.loads(run("test", file, "--config", config, "--json").stdout)
        assert [each["name"] for each in document["tests"]] == ["good", "bad"]
        assert document["diagnostics"] == []

    def test_a_device_may_be_in_a_port_with_a_name(self, config: Path, tmp_path: Path) -> None:
        (tmp_path / "r.yaml").write_text(
            "hubs: {shelf-1: {path: 'pci-0000:00:14.0-usb-0:3', ports: {4: 2}}}\n"
            "rules: [{name: r, match: {location: shelf-1/4}, attach: {to: 'slot-{location}'}}]\n"
        )
        file = tmp_path / "t.yaml"
        file.write_text("tests: [{name: a, device: {location: shelf-1/4, serial: X}, to: slot-shelf-1-4}]\n")
        assert run("test", file, "--config", config).stdout == "1 test, all passed\n"
        done = run("explain", "--as", "location=shelf-1/4", "--config", config)
        assert "goes to default/slot-shelf-1-4" in done.stdout
        file.write_text("tests: [{name: a, device: {location: shelf-1/5}, to: slot-shelf-1-4}]\n")
        done = run("test", file, "--config", config)
        assert f"{file}:1:28: error: no port is called 'shelf-1/5'" in done.stderr

    def test_broken_rules_fail_them_all(self, config: Path, tmp_path: Path) -> None:
        (tmp_path / "r.yaml").write_text("rules: [{}]\n")
        file = tmp_path / "t.yaml"
        file.write_text(TESTS)
        done = run("test", file, "--config", config)
        assert done.exit_code == 1
        assert "a rule needs `name` and `match`" in done.stderr
        assert "test 'bad'" not in done.stderr

    def test_a_file_that_is_none_is_told(self, config: Path, tmp_path: Path) -> None:
        (tmp_path / "u.yaml").write_bytes(b"tests: \xff\n")
        done = run("test", tmp_path / "none.yaml", tmp_path / "u.yaml", "--config", config)
        assert done.exit_code == 1
        assert f"{tmp_path}/none.yaml: error: cannot be read: No such file or directory" in done.stderr
        assert "is not UTF-8" in done.stderr


class TestAs:
    def test_what_is_not_there_is_explained(self, config: Path) -> None:
        done = run("explain", "--as", "serial=R5C001 port=1-1", "--config", config)
        assert done.exit_code == 0
        lines = done.stdout.splitlines()
        assert lines[0] == "serial=R5C001 port=1-1"
        assert "rule phone" in done.stdout
        assert "  For the farm." in lines
        assert "goes to default/runner-1" in lines
        assert "  with link /dev/phone, mode 0660, owner shell:plugdev" in lines

    @pytest.mark.parametrize(
        ("serial", "identity"), [("X", "serial:X"), ("R5C001", "serial:R5C001"), ("0000", "port:1-4")]
    )
    def test_it_is_known_by_its_serial(self, config: Path, serial: str, identity: str) -> None:
        done = run("explain", "--as", f"id=18d1:4ee7 serial={serial} port=1-4", "--config", config)
        assert f"  identity: {identity}\n" in done.stdout

    def test_a_rule_that_is_off_is_shown_as_such(self, config: Path) -> None:
        done = run("explain", "--as", "serial=R5C002", "--config", config)
        assert "off (`enabled: false`); it would match" in done.stdout
        assert "no rule takes it" in done.stdout

    def test_why_it_goes_nowhere_is_told(self, config: Path) -> None:
        done = run("explain", "--as", "subsystem=tty id=0403:6001 port=1-4", "--json", "--config", config)
        (problem,) = json.loads(done.stdout)["problems"]
        assert problem["message"].startswith("'1-4' is no legal instance name")

    @pytest.mark.parametrize(
        ("values", "said"),
        [
            (
                "location=shelf-1/4",
                "no port is called 'shelf-1/4'; the section `hubs` of rule files gives ports",
            ),
            ("property=x", "unknown key 'property'; a name belongs to it: property.ID_MODEL"),
            ("attr.=x", "unknown key 'attr.'; a name belongs to it: property.ID_MODEL"),
            ("port=4.2", "no device can have '4.2' as its port; written as bus-port"),
            ("subsystem=tty port=x", "no device can have 'x' as its port; written as bus-port"),
            ("kernel=ttyUSB0", "no USB device is called 'ttyUSB0'; that is its port, such as 1-4.2"),
        ],
    )
    def test_what_no_device_can_have_is_told(self, config: Path, values: str, said: str) -> None:
        done = run("explain", "--as", values, "--config", config)
        assert done.exit_code == 2
        assert said in done.stderr

    def test_either_a_device_or_values_are_expected(self, config: Path) -> None:
        for words in ([], ["1-1", "--as", "serial=A"], ["--as", "serail=A"], ["--as", ""]):
            done = run("explain", *words, "--config", config)
            assert done.exit_code == 2
            assert ("not both" in done.stderr) == (len(words) == 3)
        assert "did you mean 'serial'?" in run("explain", "--as", "serail=A", "--config", config).stderr


class TestRecorded:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        made = tmp_path / "farm.json"
        made.write_text(record([phone(1), phone(3), console(1)]))
        return made

    def test_each_device_is_told_with_where_it_would_go(self, config: Path, file: Path) -> None:
        done = run("check", "--devices", file, "--config", config)
        assert done.exit_code == 0
        head, one, two, problem, left, _ = done.stdout.splitlines()
        assert head.split() == ["DEVICE", "SERIAL", "MODEL", "PORT", "RULE", "GOES", "TO", "PATH"]
        assert one.split() == [phone(1).node, "R5C001", "1-1", "phone", "runner-1", phone(1).node]
        assert two.split()[-1] == "-"
        assert problem.startswith(f"problem: {console(1).node}, rule odd: '2-1' is no legal instance name")
        assert left == "no rule takes 1 of 3 devices"

    def test_a_name_that_no_instance_can_have_is_an_error_where_all_warnings_are(
        self, config: Path, file: Path
    ) -> None:
        assert run("check", "--devices", file, "--strict", "--config", config).exit_code == 1
        (config.parent / "r.yaml").write_text(RULES.replace('"{port}"', '"box-{serial}"'))
        done = run("check", "--devices", file, "--strict", "--json", "--config", config)
        assert done.exit_code == 0
        found = {each["device"]: each for each in json.loads(done.stdout)["devices"]}
        assert found[console(1).node]["places"] == [{"instance": "box-A5001", "path": console(1).node}]
        assert found[phone(3).node]["rule"] is None

    @pytest.mark.parametrize(
        ("text", "said"),
        [("{}", "is no record of devices: expected what `hotplugd record` writes"), (None, "cannot be read")],
    )
    def test_what_is_no_record_is_told(self, config: Path, tmp_path: Path, text: str, said: str) -> None:
        file = tmp_path / "x.json"
        if text:
            file.write_text(text)
        done = run("check", "--devices", file, "--config", config)
        assert done.exit_code == 1
        assert said in done.stderr

    @pytest.mark.parametrize("number", ["1e999", "[]"])
    def test_a_number_that_no_device_has_is_damage(self, config: Path, file: Path, number: str) -> None:
        file.write_text(file.read_text().replace("189", number))
        done = run("check", "--devices", file, "--config", config)
        assert done.exit_code == 1
        assert "is no record of devices: it is damaged" in done.stderr


class TestDevices:
    def test_a_rule_that_is_none_is_told(self, config: Path) -> None:
        done = run("devices", "--rule", "phones", "--config", config)
        assert (done.exit_code, done.stdout.splitlines()[0]) == (
            0,
            "no rule is called 'phones'; did you mean 'phone'?",
        )

    def test_where_none_is_meant_that_is_said(self, config: Path) -> None:
        for words in (["--rule", "phone"], ["--instance", "none"]):
            assert run("devices", *words, "--config", config).stdout.startswith("no such device is there\n")
        assert json.loads(run("devices", "--rule", "none", "--json", "--config", config).stdout) == []


class TestFull:
    @pytest.mark.parametrize("words", [["devices", "--all"], ["record", "-"], ["devices", "--json", "--all"]])
    def test_a_full_disk_is_told(self, config: Path, words: list[str]) -> None:
        program = [sys.executable, "-m", "hotplugd", *words, "--config", str(config)]
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        said = "hotplugd: standard output cannot be written: No space left on device\n"
        assert (done.returncode, done.stderr) == (1, said)


class TestRecord:
    def test_what_is_no_file_stays_what_it_is(self, config: Path, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 1 << 20)  # all of the record has room
        done = run("record", pipe, "--config", config)
        assert done.exit_code == 0
        assert pipe.is_fifo()
        assert os.read(reader, 1 << 20).startswith(b"{")
        os.close(reader)

    def test_a_link_stays_and_its_file_is_written(self, config: Path, tmp_path: Path) -> None:
        link = tmp_path / "link"
        link.symlink_to("farm.json")
        assert run("record", link, "--config", config).exit_code == 0
        assert link.is_symlink()
        assert json.loads((tmp_path / "farm.json").read_text())["format"] == 1

    def test_an_empty_name_is_wrong_usage(self, config: Path) -> None:
        done = run("record", "", "--config", config)
        assert done.exit_code == 2
        assert "expected a file's name, or - for standard output" in done.stderr


class TestSuggest:
    @pytest.mark.parametrize("to", ["a_b", "", "ci-{serail}", "default/ci"])
    def test_a_name_that_no_instance_can_have_is_told(self, config: Path, to: str) -> None:
        done = run("suggest", "null", "--to", to, "--config", config)
        assert (done.exit_code, done.stdout) == (2, "")
        assert "Invalid value for --to: " in done.stderr


POOLED = """hubs: {shelf: {path: "pci-0000:00:14.0-usb-0:4", ports: {1: "1"}}}
pools: {android: {instances: "job-*"}}
rules:
  - name: phones
    match: {location: "shelf/1"}
    attach: {pool: android, link: "/dev/phones/{serial}", uid: 5, mode: "0660"}
"""


class TestPools:
    @pytest.fixture
    def pooled(self, config: Path) -> Path:
        (config.parent / "r.yaml").write_text(POOLED)
        return config

    def test_how_a_phone_that_nobody_has_would_be_inside_is_explained(self, pooled: Path) -> None:
        words = ("explain", "--as", "id=18d1:4ee7 serial=X location=shelf/1", "--config", pooled)
        assert run(*words).stdout.endswith(
            "pool android: goes to the instance that it is leased to\n"
            "  with link /dev/phones/X, mode 0660, owner 5\n"
        )
        document = json.loads(run(*words, "--json").stdout)
        assert document["wants"] == []
        assert document["inside"] == {
            "project": "", "instance": "", "path": "", "link": "/dev/phones/X", "mode": "0660", "owner": "5:",
        }  # fmt: skip

    def test_a_recorded_phone_would_be_of_the_pool(self, pooled: Path, tmp_path: Path) -> None:
        one = replace(plugged(Sockets().plug("4.1"), 189, 1), node="/dev/bus/usb/001/002")
        file = tmp_path / "devices.json"
        file.write_text(record([one]))
        head, row, *_ = run("check", "--devices", file, "--config", pooled).stdout.splitlines()
        assert (head.split()[-1], row.split()[-1]) == ("LOCATION", "shelf/1")
        assert "phones  (pool android)" in row

    def test_broken_rules_are_told_and_not_what_follows_from_them(self, pooled: Path, tmp_path: Path) -> None:
        (pooled.parent / "r.yaml").write_text(POOLED.replace("link:", "lnik:"))
        file = tmp_path / "t.yaml"
        file.write_text("tests: [{name: one, device: {location: shelf/1}, pool: android}]\n")
        done = run("test", file, "--config", pooled)
        assert "unknown key 'lnik'" in done.stderr
        assert "no port is called" not in done.stderr
