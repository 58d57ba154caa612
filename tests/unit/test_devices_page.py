"""The page on the devices that people have: each of its rules does to such a device what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hotplugd.app.udev_ignore import ignore_rules
from hotplugd.rulefile.cases import failure, parse_cases
from hotplugd.rulefile.load import parse

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "devices.md"
PARTS = re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]


def blocks(part: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", part, re.DOTALL)


@pytest.mark.parametrize("part", PARTS, ids=[each.partition("\n")[0] for each in PARTS])
def test_what_a_part_says_of_its_devices_is_so(part: str) -> None:
    rules, tests = blocks(part)
    loaded = parse(rules, "rules.yaml")
    assert [each.render() for each in loaded.diagnostics] == []
    cases, wrong = parse_cases(tests, "tests.yaml")
    assert [each.render() for each in wrong] == []
    assert len(cases) >= 1
    failures = [found.render() for each in cases if (found := failure(each, loaded.rules)) is not None]
    assert not failures, "\n".join(failures)


def test_each_rule_takes_some_device_of_its_tests() -> None:
    for part in PARTS:
        rules, tests = blocks(part)
        loaded = parse(rules, "rules.yaml").rules
        cases, _ = parse_cases(tests, "tests.yaml")
        decisions = [loaded.decide(each.device) for each in cases]
        taken = {each.rule.name for each in decisions if each is not None}
        assert taken == {each.name for each in loaded.rules}, part.partition("\n")[0]


def test_the_table_leads_to_every_part() -> None:
    titles = [each.partition("\n")[0] for each in PARTS]
    anchors = {title.lower().replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE.read_text("utf-8"))) == anchors
    assert len(titles) >= 20


TOLD = {
    "Modems that switch their mode": 'ENV{HOTPLUGD_WITH_[0-9a-f]{16}}=="1", SUBSYSTEM=="tty", ',
    "Cameras with MTP or PTP": 'ENV{ID_USB_INTERFACES}=="\\*:060101:\\*", ',
    "USB disks": 'ENV{HOTPLUGD_WITH_[0-9a-f]{16}}=="1", SUBSYSTEM=="block", ENV{DEVTYPE}=="partition", ',
    "Wi-Fi": 'SUBSYSTEM=="net", ATTR{address}=="00:c0:ca:98:12:34", ',
}


@pytest.mark.parametrize(("title", "line"), TOLD.items(), ids=TOLD)
def test_the_host_s_software_is_told_where_the_page_says_so(title: str, line: str) -> None:
    (part,) = (each for each in PARTS if each.startswith(f"{title}\n"))
    known = parse(blocks(part)[0], "rules.yaml").rules
    text = ignore_rules(known, usb=True) + ignore_rules(known, usb=False)
    assert re.search(f"^.*{line}.*ENV{{ID_MM_DEVICE_IGNORE}}", text, re.MULTILINE)
