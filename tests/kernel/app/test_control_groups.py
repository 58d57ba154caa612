"""Who may ask on the control socket: root, and the groups that the configuration allows."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hotplugd.app.control_client import ControlError, get, post
from hotplugd.app.control_file import AccessError, let_in
from hotplugd.app.endpoints import Endpoint
from hotplugd.app.grants import Allowed, Grants
from tests.support.lab.nobody import as_nobody
from tests.support.serving import serving

pytestmark = pytest.mark.usefixtures("root")

_NOBODY = 65534
_FARM, _LAB = 61001, 61002
_HANDLERS = {
    Endpoint("GET", "status", "read", "", dict): lambda _: {"ready": True},
    Endpoint("POST", "attach", "attach", "", dict): lambda asked: {"gids": sorted(asked.peer.gids)},
}
_GRANTS = Grants(
    ((_FARM, Allowed("farm", ("read", "attach"))), (_LAB, Allowed("lab", ("read",)))),
)
# Debian's Python: the tests' own may be where only root can go.
_ASK = """
import socket, sys
for each in range(int(sys.argv[3])):
    channel = socket.socket(socket.AF_UNIX)
    try:
        channel.connect(sys.argv[1])
        channel.sendall(f"{sys.argv[2]} HTTP/1.0\\r\\n\\r\\n".encode())
        answer = channel.makefile().read()
        print(answer.split()[1], answer.split("\\n")[-2])
    except (OSError, IndexError) as error:
        print(type(error).__name__)
"""
_HOLD = """
import socket, sys
held = [socket.socket(socket.AF_UNIX) for _ in range(100)]
for each in held:
    each.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hpc-", dir="/dev/shm") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder, "control.sock")


def ask_as(path: Path, *groups: int, what: str = "GET /1/status", often: int = 1) -> list[str]:
    """What a user without privileges is answered, who is in these groups."""
    done = subprocess.run(
        ["/usr/bin/python3", "-c", _ASK, str(path), what, str(often)],
        user=_NOBODY, group=_NOBODY, extra_groups=groups, capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    return done.stdout.splitlines()


def test_without_a_grant_only_root_connects(path: Path) -> None:
    with serving(path, _HANDLERS):
        assert ask_as(path, _FARM) == ["PermissionError"]
        assert get(path, "status") == {"ready": True}


def test_groups_get_what_they_are_granted_and_others_nothing(path: Path) -> None:
    with serving(path, _HANDLERS, _GRANTS):
        assert ask_as(path, _FARM) == ['200 {"ready": true}']
        assert ask_as(path, _FARM, what="POST /1/attach") == [f'200 {{"gids": [{_FARM}, {_NOBODY}]}}']
        assert ask_as(path, 1, 2, _LAB) == ['200 {"ready": true}']
        status, _, document = ask_as(path, _LAB, what="POST /1/attach")[0].partition(" ")
        assert status == "403"
        assert json.loads(document) == {
            "error": f"user {_NOBODY} may not attach; root may, and groups that `allow` in the "
            "configuration names"
        }
        assert ask_as(path) == ["PermissionError"]
        assert ask_as(path, 1, 2) == ["PermissionError"]
        assert post(path, "attach") == {"gids": sorted({os.getgid(), *os.getgroups()})}


def test_who_is_not_let_in_is_told_who_is(path: Path) -> None:
    config = path.with_name("config.yaml")
    config.write_text(f"control: {path}\n")
    config.chmod(0o644)
    with serving(path, _HANDLERS, _GRANTS):
        done = as_nobody("status", "--config", config)
    assert done.returncode == 1
    assert (
        f"you may not connect to {path}: root may, members of the group hotplugd, and groups" in done.stderr
    )


def test_who_gets_a_connection_all_the_same_is_refused(path: Path) -> None:
    with serving(path, _HANDLERS, _GRANTS):
        os.removexattr(path, "system.posix_acl_access")
        path.chmod(0o666)
        assert ask_as(path)[0].startswith("403 ")
        assert ask_as(path, _FARM) == ['200 {"ready": true}']


def test_a_user_who_takes_all_places_takes_only_the_own(path: Path) -> None:
    with serving(path, _HANDLERS, _GRANTS), ExitStack() as undo:
        holds = undo.enter_context(
            subprocess.Popen(
                ["/usr/bin/python3", "-c", _HOLD, str(path)],
                user=_NOBODY, group=_NOBODY, extra_groups=[_FARM], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, cwd="/",
            )
        )  # fmt: skip
        undo.callback(holds.kill)
        assert holds.stdout is not None
        assert holds.stdout.readline() == b"held\n"
        assert get(path, "status") == {"ready": True}
        assert set(ask_as(path, _FARM, often=3)) <= {"ConnectionResetError", "IndexError", "BrokenPipeError"}
        done = subprocess.run(
            ["/usr/bin/python3", "-c", _ASK, str(path), "GET /1/status", "1"],
            user=_NOBODY - 1, group=_NOBODY, extra_groups=[_LAB], capture_output=True, text=True, check=True,
            cwd="/",
        )  # fmt: skip
        assert done.stdout == '200 {"ready": true}\n'


def test_who_is_in_very_many_groups_is_known_by_the_own_alone(path: Path) -> None:
    with serving(path, _HANDLERS, _GRANTS):
        path.chmod(0o666)
        assert ask_as(path, *range(100_000, 100_300), _FARM)[0].startswith("403 ")


def test_a_folder_that_nobody_gets_through_is_told(path: Path) -> None:
    path.parent.chmod(0o700)
    with (
        pytest.raises(ControlError, match=f"run `chmod o\\+x {path.parent}`"),
        serving(path, _HANDLERS, _GRANTS),
    ):
        pass


def test_groups_that_nobody_wrote_down_stay_out_where_they_cannot_be_let_in(path: Path) -> None:
    path.parent.chmod(0o700)
    with serving(path, _HANDLERS, Grants(_GRANTS.by_group, by_default=True)):
        assert ask_as(path, _LAB) == ["PermissionError"]
        assert get(path, "status") == {"ready": True}


def test_a_file_system_without_lists_is_told() -> None:
    # proc(5) keeps no extended attributes.
    with pytest.raises(AccessError, match="has no access control lists"):
        let_in(Path("/proc/self/comm"), [_FARM])


def test_a_defect_is_told_to_the_loop(path: Path) -> None:
    def breaks(_: object) -> object:
        raise KeyError("x")

    handlers = {Endpoint("GET", "status", "read", "", dict): breaks}
    with pytest.raises(AssertionError, match="KeyError"), serving(path, handlers):
        assert " 500 " in said(path)


def said(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(str(path))
        channel.sendall(b"GET /1/status HTTP/1.0\r\n\r\n")
        return channel.makefile().read()
