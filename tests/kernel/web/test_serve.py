"""`hotplugd serve` as a process, with a scripted daemon on a real socket."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hotplugd.app import endpoints
from hotplugd.app.control_request import Handler
from hotplugd.app.endpoints import Endpoint
from hotplugd.app.event_buffer import EventBuffer, Moment
from tests.support.lab.wait import eventually
from tests.support.serving import serving as control_serving
from tests.unit.web.test_metrics import POOLS, STATUS

PROJECT = Path(__file__).parents[3]
_SERVE = (sys.executable, "-m", "hotplugd", "serve")
_PROMTOOL = Path(sys.executable).parent / "promtool"


class Scripted:
    """A daemon that says always the same, and whose events the test makes."""

    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self.events = EventBuffer("1a2b3c4d")

    def happens(self, **event: object) -> None:
        def do() -> None:
            self.events.keep(Moment.now(), event)
            self.events.tell()

        self.loop.call_soon_threadsafe(do)


@contextmanager
def daemon(control: Path) -> Iterator[Scripted]:
    scripted = Scripted()
    handlers: dict[Endpoint, Handler] = {
        endpoints.STATUS: lambda _: STATUS,
        endpoints.POOLS: lambda _: POOLS,
        endpoints.HEALTH: lambda _: {"health": "degraded", "findings": []},
        endpoints.STREAM: lambda asked: scripted.events.lines(asked.query["after"], 15.0),
    }
    with control_serving(control, handlers) as scripted.loop:
        yield scripted


class Served:
    """A running `hotplugd serve`."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self.process = process

    def get(self, path: str = "/metrics", host: str = "localhost") -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers={"Host": host})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def has(self, *lines: str) -> bool:
        return set(lines) <= set(self.get()[1].splitlines())


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    (folder / "config.yaml").write_text(f"control: {folder / 'c.sock'}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(
        [
            *_SERVE, "--listen", f"127.0.0.1:{port}", "--name", "farm.example",
            "--config", folder / "config.yaml",
        ],
    ) as process:  # fmt: skip
        served = Served(port, process)
        try:
            eventually(lambda: served.get()[0] == 200)
            yield served
        finally:
            process.kill()


def test_metrics_are_of_now_and_the_daemon_may_go_and_come(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        assert served.has("hotplugd_up 0.0")
        with daemon(tmp_path / "c.sock") as running:
            free = 'hotplugd_pool_devices{pool="android",state="free"} 1.0'
            eventually(lambda: served.has("hotplugd_up 1.0", free))
            before = served.get()[1]
            assert 'hotplugd_events_total{event="attached"} 0.0' in before

            def counted() -> bool:
                # It listens only once it has come back.
                running.happens(event="device.add", after_plug="20 ms")
                return "hotplugd_attach_duration_seconds_sum 0.0" not in served.get()[1]

            eventually(counted, pause=0.1)
        eventually(lambda: served.has("hotplugd_up 0.0"))
        assert "hotplugd_pool_devices{" not in served.get()[1]
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(10) == 0


def test_what_is_there_is_for_who_asks_this_host(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        assert "<title>hotplugd</title>" in served.get("/")[1]
        none = ("/1/status", "/metrics/", "/../etc/passwd", "/page.html", "/page", "/static/page.js")
        assert [served.get(path)[0] for path in none] == [404] * len(none)
        assert served.get(host="farm.example:9417")[0] == 200
        status, text = served.get(host="evil.example")
        assert (status, "hotplugd_up" in text) == (421, False)


def test_a_place_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    done = subprocess.run(
        [*_SERVE, "--listen", "127.0.0.1:0", "--config", tmp_path / "config.yaml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "expected /PATH, HOST:PORT or [IPv6]:PORT" in done.stderr


def promtool(*words: object, text: str = "") -> str:
    done = subprocess.run(
        [_PROMTOOL, "check", *map(str, words)], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_names_and_alerts_are_as_prometheus_wants_them(tmp_path: Path) -> None:
    with serving(tmp_path) as served, daemon(tmp_path / "c.sock"):
        eventually(lambda: served.has("hotplugd_up 1.0"))
        text = served.get()[1]
    assert not promtool("metrics", text=text).strip()
    assert "7 rules found" in promtool("rules", PROJECT / "contrib" / "alerts.yaml")
    told = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    used = set(re.findall(r"\bhotplugd_\w+", (PROJECT / "contrib" / "alerts.yaml").read_text()))
    assert used <= told
    dashboard: dict[str, Any] = json.loads((PROJECT / "contrib" / "grafana.json").read_text())
    asked = [each["expr"] for panel in dashboard["panels"] for each in panel["targets"]]
    assert asked
    for each in asked:
        names = {re.sub(r"_bucket$", "", name) for name in re.findall(r"\bhotplugd_\w+", each)}
        assert names <= told, each


def test_a_place_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        (tmp_path / "config.yaml").write_text(f"control: {tmp_path / 'c.sock'}\n")
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [*_SERVE, "--listen", where, "--config", tmp_path / "config.yaml"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert f"cannot listen on {where}: " in done.stderr
