"""Debian's chromium without a screen, by chromedriver."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

_FLAGS: Final = (
    "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--force-color-profile=srgb", "--hide-scrollbars", "--disable-background-networking",
)  # fmt: skip


@contextmanager
def browser(profile: Path) -> Iterator[Chrome]:
    """A browser with nothing of anybody's. profile: an empty folder"""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or "/usr/bin/chromium"
    flags = [*_FLAGS, f"--user-data-dir={profile}"]
    # As root chromium has no sandbox of its own to go into.
    for each in [*flags, "--no-sandbox"] if os.geteuid() == 0 else flags:
        options.add_argument(each)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        driver.set_page_load_timeout(20)
        driver.set_script_timeout(20)
        yield driver
    finally:
        driver.quit()


def sized(driver: Chrome, width: int, height: int) -> None:
    """Show pages in so many pixels of CSS."""
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )


def coloured(driver: Chrome, scheme: str) -> None:
    """Prefer a colour scheme: `light` or `dark`."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def console(driver: Chrome) -> list[str]:
    """What the browser complained of since it was asked last."""
    found: list[dict[str, Any]] = driver.get_log("browser")  # type: ignore[no-untyped-call]
    return [f"{each['level']}: {each['message']}" for each in found]
