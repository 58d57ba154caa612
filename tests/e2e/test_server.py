"""What hotplugd builds upon in a server, asked of it directly: links in /dev, watches, whole requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.lab.api import ServerError
from tests.support.lab.container import Container
from tests.support.lab.kernel import Console
from tests.support.lab.wait import eventually, steadily
from tests.support.phones.containers import once_it_is_free

Launch = Callable[..., Container]
Consoles = Callable[[int], list[Console]]

INSIDE = "/dev/lab"
# What a server's watch is tried with is not plugged for it: of several events at once it loses some.
ZERO = "c 1:5"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where a test makes its links."""
    folder = Path("/dev/lab-links")
    folder.mkdir()
    yield folder
    for link in folder.iterdir():
        link.unlink()
    folder.rmdir()


def entry(link: Path, path: str = INSIDE) -> dict[str, str]:
    return {"type": "unix-char", "source": str(link), "path": path, "required": "false"}


def add(container: Container, **entries: dict[str, str]) -> None:
    container.patch({"devices": {**container.devices, **entries}})


def number(container: Container, path: str = INSIDE) -> str:
    seen = container.look(path)
    return seen.number if seen is not None else ""


def of(console: Console) -> str:
    return f"c 7:{128 + console.number}"


def test_a_link_comes_and_goes_and_the_node_with_it(launch: Launch, folder: Path) -> None:
    home, link = launch("c1"), folder / "slot"
    link.symlink_to("/dev/zero")
    add(home, one=entry(link))
    assert number(home) == ZERO
    link.unlink()
    eventually(lambda: number(home) == "")
    assert "one" in home.devices
    link.symlink_to("/dev/zero")
    eventually(lambda: number(home) == ZERO)


def test_a_link_that_changes_under_it_is_not_noticed_and_another_source_is(
    launch: Launch, consoles: Consoles, folder: Path
) -> None:
    home, link, fresh = launch("c1"), folder / "slot", folder / "fresh"
    first, second = consoles(2)
    for each in (first, second):
        each.plug()
    link.symlink_to(first.node)
    add(home, one=entry(link))
    fresh.symlink_to(second.node)
    fresh.rename(link)
    steadily(lambda: number(home) == of(first), 0.5)
    add(home, one=entry(link))
    assert number(home) == of(first)
    fresh.symlink_to(second.node)
    add(home, one=entry(fresh))
    assert number(home) == of(second)


def test_an_entry_whose_link_is_missing_waits_for_it_over_a_restart(launch: Launch, folder: Path) -> None:
    home, link = launch("c1"), folder / "slot"
    add(home, one=entry(link))
    assert number(home) == ""
    once_it_is_free(home.restart)
    assert number(home) == ""
    link.symlink_to("/dev/zero")
    eventually(lambda: number(home) == ZERO)


def test_an_entry_of_a_stopped_container_is_there_when_it_starts(
    launch: Launch, console: Console, folder: Path
) -> None:
    home, link = launch("c1"), folder / "slot"
    once_it_is_free(home.stop)
    console.plug()
    link.symlink_to(console.node)
    add(home, one=entry(link))
    once_it_is_free(home.start)
    assert number(home) == of(console)


def test_a_request_is_carried_out_whole_or_not_at_all(launch: Launch, console: Console, folder: Path) -> None:
    home, link = launch("c1"), folder / "slot"
    console.plug()
    link.symlink_to(console.node)
    home.run("ln", "-s", "/nowhere", "/dev/dangling")
    with pytest.raises(ServerError):
        add(home, good=entry(link), bad=entry(link, "/dev/dangling/lab"))
    assert number(home) == ""
    assert home.devices.keys().isdisjoint({"good", "bad"})


def test_an_update_without_the_description_takes_it_away(launch: Launch) -> None:
    home = launch("c1")
    home.patch({"description": "the left one"})
    home.api.request("PATCH", f"/1.0/instances/{home.name}", {"config": {"user.lab": "1"}})
    assert home.config["description"] == ""
