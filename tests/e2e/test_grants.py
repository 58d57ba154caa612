"""What members of a group may ask a real daemon for: what the configuration grants, within the rules."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.wait import eventually

_USER, _GROUP = 61000, 61001
# Debian's Python: the tests' own may be where only root can go.
_ASK = """
import http.client, json, socket, sys
class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(sys.argv[1])
connection = Unix("localhost", timeout=60)
connection.request("POST" if sys.argv[3] else "GET", sys.argv[2], sys.argv[3] or None)
response = connection.getresponse()
print(json.dumps([response.status, json.loads(response.read())]))
"""


def ask(running: Daemon, path: str, words: Mapping[str, object] | None = None) -> tuple[int, dict[str, Any]]:
    """What a member of the group is answered."""
    body = json.dumps(words) if words is not None else ""
    done = subprocess.run(
        ["/usr/bin/python3", "-c", _ASK, str(running.control), path, body],
        user=_USER, group=_USER, extra_groups=[_GROUP], capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    status, document = json.loads(done.stdout)
    return status, document


def take(running: Daemon, more: str) -> None:
    """Have the daemon take a configuration with this, too."""
    running.config.write_text(running.config.read_text() + more)
    assert running.ask("reload").returncode == 0
    # It serves anew then.
    eventually(lambda: running.ask("status").returncode != 3)


def there(container: Container, console: Console) -> bool:
    return container.look(console.node) is not None


@pytest.mark.usefixtures("root")
def test_a_group_moves_what_the_rules_give_to_its_instances(
    containers: tuple[Container, Container], console: Console, daemon: StartDaemon
) -> None:
    one, two = containers
    console.plug()
    match = f"{{subsystem: vc, kernel: vcsa{console.number}}}"
    running = daemon(f"rules: [{{name: screen, match: {match}, attach: {{to: {one}}}}}]")
    running.folder.chmod(0o711)
    allowed = f"{{group: '{_GROUP}', may: [read, attach, detach, undo], instances: [{one}, {two}]}}"
    take(running, f"allow: [{allowed}]\n")
    eventually(lambda: there(one, console))
    device = {"device": console.node}
    assert ask(running, "/1/status")[1]["attachments"][0]["instance"] == str(one)
    status, answer = ask(running, "/1/attach", {**device, "instance": str(two)})
    assert (status, answer["taken"], answer["done"]) == (200, True, True)
    assert (there(one, console), there(two, console)) == (False, True)
    status, answer = ask(running, "/1/attach", {**device, "instance": "elsewhere"})
    assert status == 403
    assert "elsewhere, for which you may not attach" in answer["error"]
    status, answer = ask(running, "/1/attach", {"device": "/dev/tty", "instance": str(one)})
    assert status in (403, 409)
    assert ask(running, "/1/reload", {})[0] == 403
    status, answer = ask(running, "/1/undo", device)
    assert (status, answer["taken"]) == (200, True)
    eventually(lambda: there(one, console) and not there(two, console))
    assert running.ask("detach", console.node).returncode == 0
    status, answer = ask(running, "/1/undo", device)
    assert (status, "only root may undo it" in answer["error"]) == (403, True)
    assert not there(one, console)
    events = [json.loads(line) for line in running.log().splitlines() if line.startswith("{")]
    by_hand = ("attach.", "detach.", "undo.")
    asked = [(each["event"], each["uid"]) for each in events if each["event"].startswith(by_hand)]
    assert asked[:3] == [("attach.asked", _USER), ("attach.asked", _USER), ("attach.refused", _USER)]
    assert ("detach.asked", 0) in asked
    assert asked[-1] == ("undo.refused", _USER)


@pytest.mark.usefixtures("root")
def test_a_group_that_is_not_there_is_a_problem(daemon: StartDaemon) -> None:
    running = daemon("rules: []")
    take(running, "allow: [{group: no-such-group, may: read}]\n")
    (problem,) = json.loads(running.ask("status", "--json").stdout)["problems"]
    assert "this host has no group 'no-such-group'" in problem["message"]
