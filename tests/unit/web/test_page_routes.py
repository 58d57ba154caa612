"""The page over HTTP: what is forwarded, to whom, how much of it, and that nothing else is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hotplugd.app import endpoints
from hotplugd.app.control import serve
from hotplugd.app.control_request import ControlRequest, Handler
from hotplugd.app.endpoints import Endpoint
from hotplugd.web import page_routes
from hotplugd.web.limits import LIMITS, Limits
from hotplugd.web.server import Listen, application, serving
from tests.support.farm import Farm

AT = "http://localhost"


class Site:
    """A page that is served, and a browser's part of it."""

    def __init__(self, client: aiohttp.ClientSession, farm: Farm) -> None:
        self.client = client
        self.farm = farm

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.client.get(f"{AT}{path}", headers=headers) as response:
            return response.status, await response.text()

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[AsyncIterator[tuple[str, str]]]:
        """Pairs of an event's name and its data."""
        async with self.client.get(f"{AT}/page/stream") as response:
            assert response.status == 200, await response.text()

            async def events() -> AsyncIterator[tuple[str, str]]:
                name = ""
                async for raw in response.content:
                    word, _, rest = raw.decode().rstrip("\n").partition(": ")
                    if word == "event":
                        name = rest
                    elif word == "data":
                        yield name, rest

            yield events()


async def first(events: AsyncIterator[tuple[str, str]], name: str) -> str:
    async for event, data in events:
        if event == name:
            return data
    raise AssertionError(f"no {name}")


async def page(events: AsyncIterator[tuple[str, str]]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await first(events, "page"))
    return found


def visit(
    folder: Path,
    script: Callable[[Site], Awaitable[None]],
    farm: Farm | None = None,
    *,
    limits: Limits = LIMITS,
) -> None:
    """Run a script with the page of a farm."""

    async def work() -> None:
        known = farm or Farm()
        known.fill()
        known.loop = asyncio.get_running_loop()
        async with (
            asyncio.timeout(30),
            serve(folder / "c.sock", known.handlers()),
            serving(application(folder / "c.sock", limits=limits), Listen(folder / "web")),
            aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(folder / "web"), limit=0), read_bufsize=1 << 20
            ) as client,
        ):
            await script(Site(client, known))

    asyncio.run(work())


def tile(document: dict[str, Any], place: str) -> str:
    tiles = [each for group in document["groups"] for each in group["tiles"]]
    (found,) = [each["id"] for each in tiles if each["place"] == place]
    return str(found)


def test_whoever_looks_is_told_what_becomes_so(tmp_path: Path) -> None:
    async def script(site: Site) -> None:
        async with site.stream() as events:
            document = await page(events)
            assert document["summary"] == "40 attached, 8 free"
            site.farm.pull("shelf-1/1")
            while (await page(events))["summary"] != "39 attached, 9 free":
                pass

    visit(tmp_path, script)


def test_only_what_the_page_needs_is_asked_of_the_daemon(tmp_path: Path) -> None:
    async def script(site: Site) -> None:
        async with site.stream() as events:
            one = tile(await page(events), "shelf-1/1")
            status, text = await site.get(f"/page/explain?tile={one}")
            (section,) = json.loads(text)["sections"]
            assert (status, section["title"]) == (200, "/dev/bus/usb/1/11")
            site.farm.happens("device.add", "shelf-1/1")
            site.farm.happens("device.add", "shelf-1/2")
            await first(events, "page")
            status, text = await site.get(f"/page/history?tile={one}")
            lines = json.loads(text)["lines"]
            assert (status, len(lines), "shelf-1/1" in lines[0][1]) == (200, 1, True)
            assert "R5CT" not in text
        assert {each.partition(" ")[0] for each in site.farm.asked} == {
            "status", "topology", "pools", "explain"
        }  # fmt: skip

    visit(tmp_path, script)


def test_nothing_can_be_changed_and_no_other_name_is_passed_on(tmp_path: Path) -> None:
    async def script(site: Site) -> None:
        async with site.stream() as events:
            await first(events, "page")
            for name in ("", "%2Fdev%2Fbus%2Fusb%2F1%2F11", "shelf-1%2F1", "x" * 4000):
                assert (await site.get(f"/page/explain?tile={name}"))[0] == 404
            for path in ("/", "/page/stream", "/page/explain", "/metrics"):
                async with site.client.post(f"{AT}{path}", data=b"x") as response:
                    assert response.status == 405
            assert (await site.get("/page/explain?device=/dev/bus/usb/1/11"))[0] == 404
        assert not [each for each in site.farm.asked if each.startswith("explain")]

    visit(tmp_path, script)


def test_a_page_of_another_site_gets_nothing(tmp_path: Path) -> None:
    async def script(site: Site) -> None:
        for path in ("/page/stream", "/page/explain", "/page/history"):
            for site_of in ("cross-site", "same-site"):
                assert (await site.get(path, **{"Sec-Fetch-Site": site_of}))[0] == 403
            # As a browser says it where there is no HTTPS.
            for origin in ("http://evil.example", "null", "https://localhost.evil.example"):
                assert (await site.get(path, Origin=origin))[0] == 403
            assert (await site.get(path, Host="evil.example"))[0] == 421
        assert site.farm.asked == []
        assert (await site.get("/page/explain", Origin="http://localhost"))[0] == 404
        async with site.client.get(f"{AT}/metrics") as response:
            assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        async with site.client.get(f"{AT}/") as response:
            policy = response.headers["Content-Security-Policy"]
            assert "unsafe" not in policy
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
            assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"

    visit(tmp_path, script)


def test_so_many_look_and_ask_at_a_time_and_no_more(tmp_path: Path) -> None:
    async def script(site: Site) -> None:
        async with site.stream() as one, site.stream() as other:
            found = tile(await page(one), "shelf-1/1")
            await first(other, "page")
            assert (await site.get("/page/stream"))[0] == 503
            codes = [(await site.get(f"/page/history?tile={found}"))[0] for _ in range(30)]
            assert (codes[:10], 429 in codes) == ([200] * 10, True)
        # Those that went make room.
        async with asyncio.timeout(15):
            while (await site.get("/page/explain"))[0] == 429:
                await asyncio.sleep(0.1)

    visit(tmp_path, script, limits=Limits(streams=2))


def test_who_goes_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_routes, "_STILL", 0.05)

    async def script(site: Site) -> None:
        async with site.stream() as events:
            await first(events, "page")
            assert (await first(events, "alive")) == ""
        async with asyncio.timeout(15):
            while True:
                async with site.client.get(f"{AT}/page/stream") as response:
                    if response.status == 200:
                        return
                await asyncio.sleep(0.02)

    visit(tmp_path, script, limits=Limits(streams=1))


@pytest.mark.parametrize(
    "broken",
    [
        {"topology": {}}, {"topology": {"controllers": [None], "hubs": [], "problems": []}}, {"status": {}},
        {"status": {"attachments": 1}}, {"pools": {"pools": [{}]}},
    ],
)  # fmt: skip
def test_a_daemon_of_another_version_is_said_to_be_one(tmp_path: Path, broken: dict[str, Any]) -> None:
    farm = Farm()
    for name, document in broken.items():
        if name == "pools":
            farm.leases = [{"device": 1}]
        else:
            monkey: Any = farm
            setattr(monkey, name, lambda document=document: document)

    async def script(site: Site) -> None:
        async with site.stream() as events:
            assert "another version" in await first(events, "stale")
        assert (await site.get("/metrics"))[0] == 200

    visit(tmp_path, script, farm)


def test_without_a_daemon_the_page_is_there_and_stale(tmp_path: Path) -> None:
    async def work() -> None:
        async with (
            asyncio.timeout(30),
            serving(application(tmp_path / "c.sock"), Listen(tmp_path / "web")),
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(tmp_path / "web"))) as client,
        ):
            site = Site(client, Farm())
            assert (await site.get("/"))[0] == 200
            async with site.stream() as events:
                assert "events are not heard" in await first(events, "stale")
            assert (await site.get("/page/explain?tile=x"))[0] == 404

    asyncio.run(work())


def test_however_many_ask_for_metrics_the_daemon_is_asked_once(tmp_path: Path) -> None:
    async def script(site: Site) -> None:
        for _ in range(3):
            found = await asyncio.gather(*(site.get("/metrics") for _ in range(100)))
            assert {status for status, _ in found} == {200}
            assert all("hotplugd_up 1.0" in text for _, text in found)
        # A look in half a second, and three take less than two.
        assert site.farm.asked.count("status") <= 4

    visit(tmp_path, script)


class _Slow(Farm):
    """A farm whose daemon takes its time to explain."""

    def handlers(self) -> dict[Endpoint, Handler]:
        async def explained(asked: ControlRequest) -> object:
            await asyncio.sleep(3.0)
            return self.explain(asked)

        return {**super().handlers(), endpoints.EXPLAIN: explained}


def test_questions_that_take_long_keep_nobody_from_the_page(tmp_path: Path) -> None:
    async def script(site: Site) -> None:
        async with site.stream() as events:
            one = tile(await page(events), "shelf-1/1")
            asked = [asyncio.create_task(site.get(f"/page/explain?tile={one}")) for _ in range(9)]
            await asyncio.sleep(0)
            site.farm.pull("shelf-1/2")
            while True:
                name, data = await anext(events)
                assert name != "stale", data
                if name == "page" and json.loads(data)["summary"] == "39 attached, 9 free":
                    break
            assert not all(each.done() for each in asked)
            assert "hotplugd_up 1.0" in (await site.get("/metrics"))[1]
            for each in asked:
                each.cancel()

    visit(tmp_path, script, _Slow())
