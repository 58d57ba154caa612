"""Takes the picture of the documentation: `python -m tests.page.screenshot FILE` (`make screenshot`).

A made-up daemon, the real `hotplugd serve`, and chromium.
"""

from __future__ import annotations

import base64
import sys
import tempfile
from pathlib import Path

from tests.kernel.web.test_serve import serving
from tests.page.browser import browser, sized
from tests.support.farm import Farm, farming
from tests.support.lab.wait import eventually


def scene() -> Farm:
    """Forty phones, most of them well."""
    farm = Farm()
    farm.fill()
    for location in ("shelf-2/7", "shelf-3/2", "shelf-4/9"):
        del farm.attached[location]
    waiting = {
        **farm.named("shelf-2/7"), "project": "default", "instance": "runner-17", "action": "add",
        "entry": "", "rule": "phones", "why": "the instance is stopped",
    }  # fmt: skip
    farm.leases = [
        {
            **farm.named("shelf-4/9"), "pool": "android", "state": "free", "reason": "", "project": "",
            "instance": "", "claim": "", "since": "", "state_since": "2026-11-27T07:12:00+00:00",
            "present": True, "health": "good", "health_reason": "", "health_since": "",
        }
    ]  # fmt: skip
    farm.lasting = {
        "pending": [waiting], "unmatched": [farm.named("shelf-3/2")],
        "problems": [farm.problem("shelf-1/4", "adb says unauthorized: confirm the key on the phone")],
    }  # fmt: skip
    return farm


def main(target: Path) -> None:
    """Write the picture."""
    with (
        tempfile.TemporaryDirectory(prefix="hpp-") as name,
        farming(Path(name, "c.sock"), scene()),
        serving(Path(name)) as served,
        browser(Path(name, "profile")) as driver,
    ):
        sized(driver, 1470, 830)
        driver.get(f"http://127.0.0.1:{served.port}/")
        eventually(lambda: len(driver.find_elements("css selector", ".tile.good")) > 30, pause=0.1)
        sized(driver, 1470, driver.execute_script("return document.body.offsetHeight"))
        taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "webp", "quality": 80})
        target.write_bytes(base64.b64decode(taken["data"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
