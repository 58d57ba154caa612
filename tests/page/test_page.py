"""The page in a real browser: forty phones, and what devices say of themselves."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.kernel.web.test_serve import Served, serving
from tests.page.browser import browser, coloured, console, sized
from tests.support.farm import HUBS, PHONES, PORTS, Farm, farming
from tests.support.lab.wait import eventually

_HOSTILE = {
    "shelf-1/11": "<script>window.hacked=1</script><img src=x onerror='window.hacked=2'>",
    "shelf-1/12": "\u202eelgooG \x1b[31m\n",
    "shelf-2/11": "W" * 4096,
    "shelf-2/12": "</ul></section>' onfocus='window.hacked=3' autofocus x='",
}
# The lightness of colours, and their contrast (WCAG 2.2, 1.4.3).
_CONTRAST = """
const light = (colour) => {
  const parts = colour.match(/[0-9.]+/g).slice(0, 3).map((each) => each / 255);
  const [r, g, b] = parts.map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
return [...document.querySelectorAll(".tile")].flatMap((tile) => {
  const back = light(getComputedStyle(tile).backgroundColor);
  return [...tile.querySelectorAll("span, time")].filter((each) => each.textContent).map((each) => {
    const text = light(getComputedStyle(each).color);
    return (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
  });
}).reduce((one, other) => Math.min(one, other));
"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


class Rack:
    """The page of a farm."""

    def __init__(self, driver: Chrome, farm: Farm, served: Served) -> None:
        self.driver = driver
        self.farm = farm
        self.served = served

    def show(self, port: int = 0) -> None:
        self.driver.get(f"http://127.0.0.1:{port or self.served.port}/")
        self.until(lambda: len(self.all(".tile")) >= HUBS * PORTS)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element("css selector", selector)

    def tile(self, place: str) -> WebElement:
        return self.one(f'.tile[aria-label^="{place}: "]')

    def says(self, place: str) -> str:
        return self.tile(place).get_attribute("aria-label") or ""

    def looks(self, place: str) -> str:
        return (self.tile(place).get_attribute("class") or "").removeprefix("tile ")

    def until(self, check: Callable[[], object]) -> None:
        eventually(check, pause=0.05)

    def is_bad(self, place: str) -> bool:
        return self.looks(place) == "bad"

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    @property
    def focused(self) -> str:
        return self.driver.switch_to.active_element.get_attribute("aria-label") or ""

    def is_narrow(self) -> bool:
        found: bool = self.driver.execute_script(
            "const root = document.scrollingElement; return root.scrollWidth <= root.clientWidth"
        )
        return found


@pytest.fixture
def farm() -> Farm:
    made = Farm()
    made.fill()
    return made


@pytest.fixture
def rack(chromium: Chrome, farm: Farm, tmp_path: Path) -> Iterator[Rack]:
    sized(chromium, 1280, 900)
    coloured(chromium, "light")
    with farming(tmp_path / "c.sock", farm), serving(tmp_path) as served:
        yield Rack(chromium, farm, served)
        chromium.get("about:blank")
        console(chromium)


def test_each_port_has_a_tile_laid_out_like_the_hubs(rack: Rack) -> None:
    rack.show()
    assert [each.text for each in rack.all("#groups h2")] == [f"shelf-{hub + 1}" for hub in range(HUBS)]
    assert len(rack.all("#groups section:nth-of-type(1) .tile")) == PORTS
    assert rack.one("#summary").text == f"{HUBS * PHONES} attached, {HUBS * (PORTS - PHONES)} free"
    said = rack.says("shelf-2/3")
    assert said.startswith("shelf-2/3: attached, Fairphone 5, in runner-13, since ")
    assert said.endswith(", 480 Mbit/s")
    assert (rack.looks("shelf-2/3"), rack.looks("shelf-2/11")) == ("good", "free")
    assert rack.tile("shelf-2/3").text.splitlines()[:2] == ["3", "attached"]
    # Nothing is refused by its own policy, and nothing is asked of others.
    assert console(rack.driver) == []
    assert rack.served.get("/page/stream", host="evil.example")[0] == 421


def test_a_plug_and_an_unplug_are_seen(rack: Rack) -> None:
    rack.show()
    rack.tile("shelf-1/12").click()
    rack.press(Keys.ESCAPE)
    rack.farm.plug("shelf-1/12")
    rack.until(lambda: rack.says("shelf-1/12").startswith("shelf-1/12: attached, Pixel 9, in runner-99"))
    # The tile is the one that had the focus before.
    assert rack.focused.startswith("shelf-1/12: attached")
    rack.farm.pull("shelf-1/3")
    rack.until(lambda: rack.says("shelf-1/3") == "shelf-1/3: free")
    assert console(rack.driver) == []


def test_problems_are_on_top_and_lead_to_their_tiles(rack: Rack) -> None:
    rack.farm.lasting = {"problems": [rack.farm.problem("shelf-4/2", "adb says unauthorized")]}
    rack.show()
    (problem,) = rack.all("#problem-list li")
    assert problem.text == "shelf-4/2: adb says unauthorized"
    assert problem.location["y"] < rack.one("#groups").location["y"]
    assert rack.looks("shelf-4/2") == "bad"
    rack.one(".problem").click()
    assert rack.focused.startswith("shelf-4/2: problem, ")
    assert rack.driver.title == "(1) hotplugd"


def is_stale(rack: Rack) -> bool:
    """It says so everywhere, and nothing of it is green."""
    words = {each.text for each in rack.all(".tile .word")}
    colours = {each.value_of_css_property("background-color") for each in rack.all(".tile")}
    return (
        rack.one("#stale").text.startswith("STALE: ")
        and words == {"stale: was attached", "stale: was free"}
        and len(colours) == 1
        and rack.driver.title.startswith("STALE")
        and "stale: was attached" in rack.says("shelf-1/1")
    )


def test_without_the_daemon_it_is_stale_until_that_is_back(
    chromium: Chrome, farm: Farm, tmp_path: Path
) -> None:
    with serving(tmp_path) as served:
        rack = Rack(chromium, farm, served)
        with farming(tmp_path / "c.sock", farm):
            rack.show()
        eventually(lambda: is_stale(rack), 5.0, pause=0.05)
        assert "events are not heard" in rack.one("#stale").text
        with farming(tmp_path / "c.sock", farm):
            rack.until(lambda: rack.looks("shelf-1/1") == "good" and not rack.one("#stale").is_displayed())
            rack.until(lambda: rack.says("shelf-1/1").startswith("shelf-1/1: attached"))


def test_without_serve_it_is_stale_at_once(rack: Rack) -> None:
    rack.show()
    rack.served.process.kill()
    eventually(lambda: is_stale(rack), 5.0, pause=0.05)
    assert "connection to hotplugd serve is cut" in rack.one("#stale").text


_TOLD = """
const done = arguments[0]; let told = 0;
new MutationObserver(() => { told++ }).observe(
  document.getElementById("stale"), { childList: true, characterData: true, subtree: true });
setTimeout(() => done(told), 3000);
"""


def test_silence_is_stale_whatever_the_clock_says(rack: Rack) -> None:
    rack.show()
    rack.served.process.send_signal(signal.SIGSTOP)
    # The clock is set back, and stands still.
    rack.driver.execute_script("Date.now = () => 0;")
    try:
        eventually(lambda: is_stale(rack), 30.0, pause=0.2)
        assert "nothing was heard for 15 seconds" in rack.one("#stale").text
        # It is an alert: each change would be read aloud.
        assert rack.driver.execute_async_script(_TOLD) == 0
    finally:
        rack.served.process.send_signal(signal.SIGCONT)
    rack.until(lambda: rack.looks("shelf-1/1") == "good")


def test_a_host_that_slept_is_stale_at_once(rack: Rack) -> None:
    rack.show()
    rack.served.process.send_signal(signal.SIGSTOP)
    rack.driver.execute_script("const now = Date.now; Date.now = () => now.call(Date) + 3600000;")
    try:
        eventually(lambda: is_stale(rack), 5.0, pause=0.2)
    finally:
        rack.served.process.send_signal(signal.SIGCONT)
    rack.until(lambda: rack.looks("shelf-1/1") == "good")


class Relay:
    """Hands on what browsers and the page say, until it says nothing any more to those who are there."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._lost: set[socket.socket] = set()
        self._there: list[socket.socket] = []
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self) -> None:
        """As a router that forgets connections."""
        self._lost.update(self._there)

    def close(self) -> None:
        for each in (self._listening, *self._there):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                one, _ = self._listening.accept()
                other = socket.create_connection(("127.0.0.1", self._to))
                self._there += one, other
                for pair in ((one, other), (other, one)):
                    threading.Thread(target=self._hand, args=pair, daemon=True).start()

    def _hand(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while raw := one.recv(1 << 16):
                if one not in self._lost:
                    other.sendall(raw)
            if one not in self._lost:
                other.shutdown(socket.SHUT_WR)


# It is shown until the next connection is there: for less time than a look takes on a busy machine.
_NOTE_STALE = """
new MutationObserver(() => { window.wasStale ||= !document.getElementById("stale").hidden })
  .observe(document.getElementById("stale"), {attributes: true})
"""


def test_a_connection_that_is_lost_without_a_word_is_made_anew(rack: Rack) -> None:
    with closing(Relay(rack.served.port)) as relay:
        rack.show(relay.port)
        rack.driver.execute_script(_NOTE_STALE)
        relay.lose()
        eventually(lambda: rack.driver.execute_script("return window.wasStale"), 60.0, pause=0.2)
        rack.farm.pull("shelf-1/3")
        rack.until(lambda: rack.says("shelf-1/3") == "shelf-1/3: free")
        assert not rack.one("#stale").is_displayed()
        rack.driver.get("about:blank")


def test_what_is_open_is_of_now(rack: Rack) -> None:
    rack.show()
    rack.tile("shelf-1/3").click()
    rack.until(lambda: "rule phones" in rack.one("#explain").text)
    rack.farm.pull("shelf-1/3")
    rack.until(lambda: rack.one("#details-title").text == "shelf-1/3: free")
    rack.until(lambda: rack.one("#explain").text == "Nothing is plugged in.")
    assert "runner-3" not in rack.one("#facts").text
    assert console(rack.driver) == []


def test_a_further_problem_leaves_the_focus_where_it_is(rack: Rack) -> None:
    one, other = rack.farm.problem("shelf-4/2", "one"), rack.farm.problem("shelf-4/3", "other")
    rack.farm.lasting = {"problems": [one]}
    rack.show()
    rack.driver.execute_script("document.querySelector('.problem').focus()")
    rack.farm.lasting = {"problems": [other, one]}
    rack.farm.happens("device.problem", "shelf-4/3")
    rack.until(lambda: len(rack.all(".problem")) == 2)
    assert rack.driver.switch_to.active_element.text == "shelf-4/2: one"
    # Of one that is over it goes to the next.
    rack.farm.lasting = {"problems": [other]}
    rack.farm.happens("device.problem", "shelf-4/3")
    rack.until(lambda: len(rack.all(".problem")) == 1)
    assert rack.driver.switch_to.active_element.text == "shelf-4/3: other"


def test_the_keyboard_alone_opens_and_closes_a_port(rack: Rack) -> None:
    rack.farm.happens("device.add", "shelf-1/2")
    rack.show()
    rack.press(Keys.TAB)
    rack.until(lambda: rack.focused.startswith("shelf-1/1: "))
    rack.press(Keys.ARROW_RIGHT)
    assert rack.focused.startswith("shelf-1/2: ")
    rack.press(Keys.END, Keys.HOME, Keys.ARROW_DOWN, Keys.ARROW_UP, Keys.ARROW_RIGHT, Keys.ENTER)
    rack.until(lambda: rack.one("#details").is_displayed())
    rack.until(lambda: "rule phones" in rack.one("#explain").text)
    assert rack.one("#details-title").text == "shelf-1/2: attached"
    assert "matches (rules.d/phones.yaml:6)" in rack.one("#explain").text
    rack.until(lambda: "device.add" in rack.one("#history").text)
    assert rack.one("#details").aria_role == "dialog"
    assert rack.one("#details").accessible_name == "shelf-1/2: attached"
    # Neither way a serial number is told, with masks instead.
    text = rack.one("#details").text
    assert ("R5CT" in text, "<serial-" in text) == (False, True)
    rack.press(Keys.ESCAPE)
    rack.until(lambda: not rack.one("#details").is_displayed())
    assert rack.focused.startswith("shelf-1/2: ")
    # The row below has the same column.
    rack.press(Keys.ARROW_DOWN)
    assert rack.tile("shelf-1/2").location["x"] == rack.driver.switch_to.active_element.location["x"]
    assert console(rack.driver) == []


def test_what_a_device_says_is_text(rack: Rack) -> None:
    for place, name in _HOSTILE.items():
        rack.farm.plug(place, serial=f"R5{name[:3]}", product=name, to="runner-99")
    problems = [rack.farm.problem(place, f"no such thing: {name}") for place, name in _HOSTILE.items()]
    rack.farm.lasting = {"problems": problems}
    rack.show()
    for place in _HOSTILE:
        rack.until(partial(rack.is_bad, place))
        rack.tile(place).click()
        rack.until(lambda: "rule phones" in rack.one("#explain").text)
        rack.until(lambda: "device.add" in rack.one("#history").text)
        body: str = rack.driver.execute_script("return document.body.textContent")
        assert ("\u202e" in body, "\x1b" in body, len(rack.tile(place).text) < 1000) == (False, False, True)
        assert len(rack.driver.execute_script("return document.scripts")) == 1
        assert rack.all("img") == []
        assert rack.driver.execute_script("return window.hacked") is None
        assert rack.is_narrow()
        rack.press(Keys.ESCAPE)
    assert "<script>window.hacked=1</script>" in rack.says("shelf-1/11")
    assert "\\u202eelgooG \\x1b[31m\\x0a" in rack.says("shelf-1/12")
    assert console(rack.driver) == []


def test_the_policy_lets_no_script_in(rack: Rack) -> None:
    rack.show()
    rack.driver.execute_script(
        "const made = document.createElement('div'); document.body.append(made);"
        "try { made.innerHTML = '<img src=x onerror=\"window.hacked=1\">'; }"
        "catch (error) { window.said = error.name }"
    )
    assert rack.driver.execute_script("return [window.said, window.hacked]") == ["TypeError", None]
    assert any("Trusted" in each for each in console(rack.driver))


def test_no_width_has_a_scroll_bar_across(rack: Rack) -> None:
    rack.farm.lasting = {"problems": [rack.farm.problem("shelf-1/1", "W" * 300)]}
    rack.show()
    for width in (1280, 480, 320):
        sized(rack.driver, width, 700)
        assert rack.is_narrow()
        rack.tile("shelf-1/1").click()
        rack.until(lambda: "rule phones" in rack.one("#explain").text)
        box = rack.one("#details").rect
        assert (box["x"] >= 0, box["x"] + box["width"] <= width) == (True, True)
        assert rack.driver.execute_script(
            "const it = document.getElementById('details'); return it.scrollWidth <= it.clientWidth"
        )
        rack.press(Keys.ESCAPE)


def test_it_can_be_read_in_either_scheme(rack: Rack) -> None:
    farm = rack.farm
    del farm.attached["shelf-1/5"]
    farm.lasting = {
        "problems": [farm.problem("shelf-1/1", "adb says unauthorized")],
        "pending": [
            {**farm.named("shelf-1/2"), "project": "default", "instance": "x", "action": "add", "entry": "",
             "rule": "r", "why": "it is stopped"}
        ],
        "unmatched": [farm.named("shelf-1/5")],
    }  # fmt: skip
    rack.show()
    looks = {rack.looks(f"shelf-1/{port}") for port in range(1, PORTS + 1)}
    assert looks == {"bad", "waiting", "good", "idle", "free"}
    for scheme, colour in (("light", "rgba(244, 245, 247, 1)"), ("dark", "rgba(20, 23, 26, 1)")):
        coloured(rack.driver, scheme)
        assert rack.one("body").value_of_css_property("background-color") == colour
        assert rack.driver.execute_script(_CONTRAST) >= 4.5
