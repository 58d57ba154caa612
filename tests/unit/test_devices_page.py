"""The pages on the devices that people have: each of their rules does to such a device what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hotplugd.app.udev_ignore import ignore_rules
from hotplugd.rulefile.cases import failure, parse_cases
from hotplugd.rulefile.load import parse
from tests.support.device_pages import PAGES, PARTS, Part, part
from tests.vm.cases.case_device_pages import TRIED


@pytest.mark.parametrize("each", PARTS, ids=str)
def test_what_a_part_says_of_its_devices_is_so(each: Part) -> None:
    loaded = parse(each.rules, "rules.yaml")
    assert [found.render() for found in loaded.diagnostics] == []
    cases, wrong = parse_cases(each.tests, "tests.yaml")
    assert [found.render() for found in wrong] == []
    assert len(cases) >= 1
    failures = [found.render() for case in cases if (found := failure(case, loaded.rules)) is not None]
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("each", PARTS, ids=str)
def test_each_rule_takes_some_device_of_its_tests(each: Part) -> None:
    loaded = parse(each.rules, "rules.yaml").rules
    cases, _ = parse_cases(each.tests, "tests.yaml")
    decisions = [loaded.decide(case.device) for case in cases]
    taken = {decision.rule.name for decision in decisions if decision is not None}
    assert taken == {rule.name for rule in loaded.rules}


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_table_leads_to_every_part(page: Path) -> None:
    titles = [each.title for each in PARTS if each.page == page]
    anchors = {title.lower().replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]*)\)", page.read_text("utf-8"))) == anchors


def test_there_are_many_parts_and_none_has_the_title_of_another() -> None:
    assert len(PARTS) >= 40
    assert len({each.title for each in PARTS}) == len(PARTS)


TOLD = {
    "Modems that switch their mode": 'ENV{HOTPLUGD_WITH_[0-9a-f]{16}}=="1", SUBSYSTEM=="tty", ',
    "Cameras with MTP or PTP": 'ENV{ID_USB_INTERFACES}=="\\*:060101:\\*", ',
    "USB disks": 'ENV{HOTPLUGD_WITH_[0-9a-f]{16}}=="1", SUBSYSTEM=="block", ENV{DEVTYPE}=="partition", ',
    "Wi-Fi": 'SUBSYSTEM=="net", ATTR{address}=="00:c0:ca:98:12:34", ',
}


@pytest.mark.parametrize(("title", "line"), TOLD.items(), ids=TOLD)
def test_the_host_s_software_is_told_where_the_page_says_so(title: str, line: str) -> None:
    known = parse(part(title).rules, "rules.yaml").rules
    text = ignore_rules(known, usb=True) + ignore_rules(known, usb=False)
    assert re.search(f"^.*{line}.*ENV{{ID_MM_DEVICE_IGNORE}}", text, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_what_is_named_as_tried_with_the_kernel_has_a_case(page: Path) -> None:
    """case_device_pages.py runs in a virtual machine."""
    text = page.read_text("utf-8")
    found = re.findall(r"^Tried with devices of the kernel's.*?: (.*?)\.$", text, re.MULTILINE | re.DOTALL)
    named = {title for each in found for title in " ".join(each.split()).split(", ")}
    titles = {each.title for each in PARTS if each.page == page}
    assert named <= {each.title for each in TRIED.values()} & titles
