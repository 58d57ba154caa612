"""`hotplugd monitor` and `history`: what happens and happened to real devices, also over a crash."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon, command
from tests.support.lab.kernel import Console
from tests.support.lab.wait import eventually


def rules(console: Console, to: object) -> str:
    return (
        f"rules:\n  - name: screen\n    match: {{subsystem: vc, kernel: vcsa{console.number}}}\n"
        f"    attach: {{to: {to}}}\n"
    )


def there(container: Container, console: Console) -> bool:
    return container.look(console.node) is not None


@contextmanager
def monitoring(running: Daemon, *words: str) -> Iterator[Path]:
    """The file with what `monitor` prints."""
    output = running.folder / "monitor"
    with (
        output.open("wb") as file,
        subprocess.Popen(
            [*command(), "monitor", "--config", str(running.config), "--json", *words],
            stdout=file,
            stderr=subprocess.DEVNULL,
            env={**running.environment, "PYTHONUNBUFFERED": "1"},
        ) as process,
    ):
        try:
            yield output
        finally:
            process.kill()


def names(output: Path) -> list[str]:
    return [json.loads(each)["event"] for each in output.read_text().splitlines()]


def history(running: Daemon, *words: str) -> list[dict[str, Any]]:
    done = running.ask("history", "--json", *words)
    return [json.loads(each) for each in done.stdout.splitlines()]


def test_a_plug_and_a_pull_are_shown_as_they_happen(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    running = daemon(rules(console, container))
    with monitoring(running, "--all", console.node) as output:
        console.plug()
        eventually(lambda: "device.inside" in names(output))
        console.unplug()
        eventually(lambda: "device.remove" in names(output))
        assert names(output) == [
            "device.seen", "device.asked", "device.add", "device.inside",
            "device.gone", "device.asked", "device.remove",
        ]  # fmt: skip
        events = [json.loads(each) for each in output.read_text().splitlines()]
    assert {each["cause"] for each in events} == {"plug"}
    assert {each["instance"] for each in events if "instance" in each} == {container.name}
    # Those of the instance's own changes may be between.
    assert [each for each in history(running, console.node) if each in events] == events


def test_a_device_that_is_not_there_is_explained_by_its_history(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    running = daemon(rules(console, container))
    console.plug()
    eventually(lambda: there(container, console))
    console.unplug()
    eventually(lambda: any(each["event"] == "device.remove" for each in history(running, console.node)))
    done = running.ask("explain", console.node)
    assert (done.returncode, done.stdout) == (1, "")
    assert "it is not plugged in; rule screen would take it; last seen 20" in done.stderr


def test_a_crash_is_lived_through_and_what_is_attached_is_told_again(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    running = daemon(rules(console, container))
    with monitoring(running, "--all", "event=starting", "event=device.*") as output:
        console.plug()
        eventually(lambda: "device.inside" in names(output))
        running.kill()
        running.start()
        eventually(lambda: names(output).count("device.inside") == 2)
        begun, again = [each for each, name in enumerate(names(output)) if name == "starting"]
        told: list[dict[str, Any]] = json.loads(f"[{','.join(output.read_text().splitlines())}]")[again:]
        mine = [each["event"] for each in told if each.get("device") == console.node]
        assert mine == ["device.seen", "device.attached", "device.inside"]
        assert begun == 0
    # The log has both lives, each with cursors of its own.
    cursors = [json.loads(each)["cursor"] for each in running.log().splitlines()]
    assert len(set(cursors)) == len(cursors)
    assert cursors == sorted(cursors, key=lambda each: int(each.rpartition("-")[2]))


def test_an_instance_has_a_history_for_people(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    running = daemon(rules(console, container))
    console.plug()
    # Until it was looked into the server may be busy with our request, and refuse to stop it.
    eventually(lambda: any(each["event"] == "device.inside" for each in history(running, str(container))))
    container.stop()
    eventually(lambda: any(each["event"] == "instance.stopped" for each in history(running, str(container))))
    done = running.ask("history", str(container))
    assert done.returncode == 0
    stopped = next(line for line in done.stdout.splitlines() if "instance.stopped" in line)
    assert stopped.endswith(f"{container}: {console.node}")
    late = running.ask("history", str(container), "--since", "0s")
    assert f"before: {done.stdout.splitlines()[0][:10]}" in late.stdout
    assert running.ask("history", "nobody").returncode == 1
