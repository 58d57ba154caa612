"""The file of what people decided: written whole, read strictly, and never overwritten where it is broken."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from hotplugd.app.state_file import Broken, State, StateError, StateFile, written
from hotplugd.model.asker import Asker
from hotplugd.model.lease import Lease
from hotplugd.model.values import InstanceName
from hotplugd.plan.overrides import MOST, Lasting, Override, Overrides
from hotplugd.pools.away_leases import Away, KeptLeases, Moment
from hotplugd.pools.cordons import Cordon, Cordons

OUT = Override(Lasting("serial:R5C001", "usb"), None, "2026-11-27T18:00:00+00:00", Asker(0, "root", "bob"))
IN = Override(
    Lasting("path:pci-0000:00:14.0-usb-0:2", "tty", "ttyUSB# 1.0", "0403:6001", "FT\\x0a6"),
    InstanceName("lab", "runner-1"),
    "2026-11-27T18:01:00+00:00",
    Asker(0),
    "/dev/ttyUSB0",
    "FT232R",
    "1-2",
)
BOTH = State(Overrides.made_of([OUT, IN]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lib" / "state.json"


@pytest.fixture
def file(path: Path) -> StateFile:
    """One that has something in it."""
    made = StateFile(path)
    made.write(BOTH)
    return made


def test_what_is_written_is_read(file: StateFile, path: Path) -> None:
    assert StateFile(path).read() == file.read() == BOTH
    assert list(path.parent.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_where_none_is_nothing_was_decided(path: Path) -> None:
    assert StateFile(path).read() == State()
    assert not path.parent.exists()


def test_one_that_went_is_written_again(file: StateFile, path: Path) -> None:
    path.unlink()
    file.write(State(Overrides.made_of([OUT])))
    assert [*StateFile(path).read().overrides] == [OUT]


AWAY: dict[str, object] = {
    "key": "serial:R5C001", "pool": "android", "project": "default", "instance": "job", "claim": "phone",
    "place": "", "since": "2026-11-27T18:00:00Z", "boottime": 12.5,
}  # fmt: skip
CORDON: dict[str, object] = {
    "kind": "location", "name": "shelf-1/*", "reason": "", "since": "2026-11-27T18:00:00Z",
    "by": {"uid": 0, "user": "root", "login": ""},
}  # fmt: skip


def _broken_leases() -> list[object]:
    whole: dict[str, object] = {"boot": "", "away": [AWAY], "order": ["default job phone"]}
    return [
        [],
        {"boot": ""},
        {**whole, "more": 1},
        *({**whole, "order": [each]} for each in (1, "", "default job", "default -x phone", "a b c d")),
        *(
            {**whole, "away": [{**AWAY, key: value}]}
            for key, value in (
                ("boottime", -1),
                ("boottime", True),
                ("boottime", float("nan")),
                ("boottime", "1"),
                ("instance", ""),
                ("key", "a\nb"),
                ("more", 1),
                ("socket", "usb-0:1"),
                ("socket", ["a", "b", "c"]),
                ("socket", [1]),
            )
        ),
    ]


def _broken_cordons() -> list[object]:
    changed = (
        {"kind": "shelf"},
        {"kind": "device", "name": ""},
        {"kind": "instance", "name": "job"},
        {"kind": "location", "name": "["},
        {"by": 0},
    )
    return [None, {}, *({**CORDON, **each} for each in changed)]


def test_a_file_of_before_has_no_leases_and_no_cordons(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"version": 1, "overrides": []}')
    assert StateFile(path).read() == State()


def test_leases_and_cordons_that_are_written_are_read(file: StateFile, path: Path) -> None:
    job = InstanceName("default", "job")
    away = Away("serial:R5C001", "android", Lease(job, "phone"), "pci-0", Moment(12.5, "2026-11-27"))
    cordon = Cordon("location", "shelf-1/*", "dust", "2026-11-27", Asker(0, "root"))
    in_socket = replace(away, key="serial:R5C002", socket=("pci-0-usb-0:1", "pci-0-usbv3-0:5"))
    # What a device calls itself keeps the others from nothing.
    odd = replace(away, key="serial:\x00")
    state = State(
        leases=KeptLeases("1a2b3c4d", (away, in_socket, odd), ((job, "phone"),)),
        cordons=Cordons.made_of([cordon]),
    )
    file.write(state)
    read = StateFile(path).read()
    assert read == replace(state, leases=replace(state.leases, away=(away, in_socket)))


def _broken() -> list[bytes]:
    whole = written(BOTH)
    document = json.loads(whole)
    (first, second) = document["overrides"]
    return [
        b"",
        whole[:-20],
        b"\0" * len(whole),
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b"{}",
        json.dumps({**document, "version": 2}).encode(),
        json.dumps({**document, "version": True}).encode(),
        json.dumps({**document, "more": []}).encode(),
        *(json.dumps({**document, "leases": each}).encode() for each in _broken_leases()),
        *(json.dumps({**document, "cordons": [each]}).encode() for each in _broken_cordons()),
        json.dumps({"version": 1, "overrides": {}}).encode(),
        json.dumps({"version": 1, "overrides": [first] * (MOST + 1)}).encode(),
        *(
            json.dumps({"version": 1, "overrides": [second, each]}).encode()
            for each in (
                None,
                {},
                {**first, "more": 1},
                {**first, "device": 1},
                {**first, "device": "a\nb"},
                {**first, "model": "x" * 1025},
                {**first, "project": "default"},
                {**second, "instance": "-x"},
                {**second, "instance": "../etc"},
                {**first, "by": {"uid": -1, "user": "", "login": ""}},
                {**first, "by": {"uid": True, "user": "", "login": ""}},
                {**first, "by": {"uid": 1 << 32, "user": "", "login": ""}},
                {**first, "by": 0},
                {**first, "of": {**first["of"], "identity": ""}},
                {**first, "of": {**first["of"], "subsystem": ""}},
            )
        ),
    ]


@pytest.mark.parametrize("raw", _broken())
def test_a_broken_one_says_so_and_is_left_until_it_is_set_aside(path: Path, raw: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(raw)
    file = StateFile(path)
    with pytest.raises(Broken, match="is broken: "):
        file.read()
    with pytest.raises(StateError, match="another program has written"):
        file.write(BOTH)
    assert path.read_bytes() == raw
    aside = file.set_aside()
    assert aside.read_bytes() == raw
    assert file.aside() == [aside]
    file.write(BOTH)
    assert StateFile(path).read() == BOTH


def test_a_large_one_is_not_read(file: StateFile, path: Path) -> None:
    with path.open("ab") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(Broken, match="larger than the 4 MiB"):
        file.read()


def test_what_another_program_wrote_is_not_overwritten_until_it_was_read(file: StateFile, path: Path) -> None:
    other = StateFile(path)
    other.read()
    other.write(State(Overrides.made_of([OUT])))
    with pytest.raises(StateError, match="another program has written"):
        file.write(BOTH)
    assert [*file.read().overrides] == [OUT]
    file.write(BOTH)
    assert StateFile(path).read() == BOTH


@pytest.mark.parametrize("way", ["folder", "fifo", "link"])
def test_what_is_no_file_is_neither_waited_for_nor_followed(path: Path, tmp_path: Path, way: str) -> None:
    path.parent.mkdir()
    if way == "folder":
        path.mkdir()
    elif way == "fifo":
        os.mkfifo(path)
    else:
        (tmp_path / "secret").write_bytes(written(BOTH))
        path.symlink_to(tmp_path / "secret")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(StateError):
        StateFile(path).read()
    assert os.listdir("/proc/self/fd") == before


def test_without_a_place_to_write_nothing_is_changed(file: StateFile, path: Path) -> None:
    (path.parent / "state.json.new").mkdir()
    with pytest.raises(StateError, match="cannot be written"):
        file.write(State())
    assert StateFile(path).read() == BOTH


def test_more_than_there_is_room_for_is_refused(file: StateFile) -> None:
    every = [replace(OUT, of=Lasting(f"serial:{number}", "usb")) for number in range(MOST + 1)]
    file.write(State(Overrides.made_of(every[:-1])))
    with pytest.raises(StateError, match="1000 devices have an override already"):
        file.write(State(Overrides.made_of(every)))
    with pytest.raises(StateError, match="cannot be kept"):
        file.write(State(Overrides.made_of([replace(OUT, of=Lasting("serial:" + "x" * 1024, "usb"))])))
