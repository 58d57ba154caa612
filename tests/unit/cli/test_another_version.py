"""A daemon of another version answers otherwise than a command expects, which is told in words."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from hotplugd.cli import main

_OTHER = {"other": 1}
_PART = {"device": "/dev/x"}
_STATUS = {
    "ready": True, "server": {}, "rules": 1, "devices": 1, "attachments": [], "pending": [], "problems": [],
}  # fmt: skip


@contextmanager
def answering(path: Path, answer: object) -> Iterator[None]:
    """Whoever asks is answered this."""
    with ExitStack() as undo:
        listening = undo.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(str(path))
        listening.listen()

        def answer_all() -> None:
            with suppress(OSError):
                while True:
                    channel, _ = listening.accept()
                    with channel:
                        channel.recv(8192)
                        head = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"
                        channel.sendall(head + json.dumps(answer).encode())

        thread = threading.Thread(target=answer_all)
        thread.start()
        undo.callback(thread.join)
        undo.callback(listening.shutdown, socket.SHUT_RDWR)
        yield


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("status", _OTHER),
        ("status --json --instance c1", _OTHER),
        ("status", {**_STATUS, "attachments": [_PART]}),
        ("status", {**_STATUS, "problems": [_PART]}),
        ("status --rules", _OTHER),
        ("health", _OTHER),
        ("reload", _OTHER),
        ("attach x c1", _OTHER),
        ("undo x --json", _OTHER),
        ("pool", _OTHER),
        ("lease list", _OTHER),
        ("devices", _OTHER),
    ],
)
def test_a_key_that_is_missing_is_named(tmp_path: Path, command: str, answer: object) -> None:
    (tmp_path / "r.yaml").write_text("rules: []\n")
    config = tmp_path / "config.yaml"
    config.write_text(
        f"rules: {tmp_path / 'r.yaml'}\ncontrol: {tmp_path / 'c.sock'}\nstate: {tmp_path / 's.json'}\n"
        f"server: {tmp_path / 'none'}\n"
    )
    with answering(tmp_path / "c.sock", answer):
        done = CliRunner().invoke(main, [*command.split(), "--config", str(config)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == (2 if command == "health" else 1)
    assert re.search(r"expected `[a-z_]+` in what hotplugd answers, and it is not there", done.output)
    assert "`systemctl restart hotplugd` starts the one that is installed" in done.output
