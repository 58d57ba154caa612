"""The journals of entries and of links in /dev/hotplugd."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import ClassVar

import pytest

from hotplugd.host.journals import Links, Notes
from hotplugd.host.slots import Slots
from hotplugd.model.values import Entry, InstanceName, Link

pytestmark = pytest.mark.usefixtures("root")


class TestLinksInside:
    """Those inside instances, as they are noted."""

    ONE = InstanceName("default", "one")
    FOUND: ClassVar = {"/dev/a": Link("/dev/ttyUSB0", "hp-1"), "/dev/b": Link("/dev/ttyUSB1", "hp-2")}

    @pytest.mark.usefixtures("folder")
    def test_they_are_read_by_the_next(self, folder: Path) -> None:
        folder.mkdir()
        Links("/a").note(self.ONE, self.FOUND)
        notes = Links("/a")
        notes.read()
        assert notes.names() == [self.ONE]
        assert notes.take(self.ONE) == self.FOUND
        assert notes.take(self.ONE) == {}
        assert notes.names() == []

    def test_of_none_nothing_is_left_and_each_server_has_its_own(self, folder: Path) -> None:
        folder.mkdir()
        Links("/a").note(self.ONE, self.FOUND)
        Notes("/a").read()
        (other := Links("/b")).read()
        assert other.names() == []
        Links("/a").note(self.ONE, {})
        assert os.listdir(folder) == []

    BROKEN = (
        "",
        "{",
        "[]",
        "{}",
        '{"project": "p", "name": "n"}',
        '{"project": "p", "name": "n", "links": 1}',
    )

    @pytest.mark.parametrize("text", BROKEN)
    def test_what_is_broken_goes(self, folder: Path, text: str) -> None:
        folder.mkdir()
        Links("/a").note(self.ONE, self.FOUND)
        (file,) = folder.iterdir()
        file.write_text(text)
        (notes := Links("/a")).read()
        assert (notes.names(), os.listdir(folder)) == ([], [])

    def test_half_a_link_is_none(self, folder: Path) -> None:
        folder.mkdir()
        Links("/a").note(self.ONE, self.FOUND)
        (file,) = folder.iterdir()
        links = {
            "/dev/a": ["/dev/x"],
            "/dev/b": None,
            "/etc/c": ["/dev/x", "y"],
            "/dev/../d": ["/dev/x", "y"],
        }
        file.write_text(json.dumps({"project": "default", "name": "one", "links": links}))
        (notes := Links("/a")).read()
        assert notes.take(self.ONE) == {}

    def test_without_room_nothing_is_raised(self, folder: Path) -> None:
        Links("/a").note(self.ONE, self.FOUND)
        assert not folder.exists()


class TestNotes:
    BOX = InstanceName("lab", "box")

    def entry(self, name: str = "hp-00000000000000aa") -> Entry:
        return Entry(
            name, {"type": "unix-char", "user.hotplugd.instance": "lab/box", "user.hotplugd.rule": "é"}
        )

    def again(self, server: str = "/a") -> Notes:
        """As another hotplugd finds them."""
        notes = Notes(server)
        notes.read()
        return notes

    @pytest.fixture(autouse=True)
    def made(self, folder: Path) -> Path:
        folder.mkdir()
        return folder

    def test_they_are_found_again(self) -> None:
        one, two = self.entry(), self.entry("hp-00000000000000bb")
        Notes("/a").note(self.BOX, (one,))
        Notes("/a").note(self.BOX, (one, two))
        found = self.again()
        assert found.names() == [self.BOX]
        assert found.take(self.BOX) == {one.name: one, two.name: two}
        assert found.names() == []
        assert found.take(self.BOX) == {}
        assert self.again().names() == [self.BOX]

    def test_they_are_gone_where_nothing_is_put_in(self, made: Path) -> None:
        Notes("/a").note(self.BOX, (self.entry(),))
        Notes("/a").note(self.BOX, ())
        assert list(made.iterdir()) == []
        Notes("/a").note(self.BOX, ())

    def test_another_servers_are_not_ours(self, ours: Slots) -> None:
        Notes("/a").note(self.BOX, (self.entry(),))
        assert self.again("/b").names() == []
        assert ours.names() == set()
        assert self.again("/a").names() == [self.BOX]

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "{}", '{"project": "a", "name": "b", "entries": [1]}', "[" * 9999]
    )
    def test_a_broken_one_is_none(self, made: Path, text: str) -> None:
        Notes("/a").note(self.BOX, (self.entry(),))
        (path,) = made.iterdir()
        path.write_text(text)
        assert self.again().names() == []
        assert not path.exists()

    def test_without_room_there_is_none(self, made: Path) -> None:
        made.rmdir()
        Notes("/a").note(self.BOX, (self.entry(),))
        assert self.again().names() == []
