"""What others write into an instance's configuration: claims of pools, and entries that are not ours."""

from __future__ import annotations

import json
import re
from typing import Final

from hotplugd.app.pool_documents import pools_json, unleased_json, unmet_json
from hotplugd.model.claim_texts import CLAIM, LONGEST_CLAIM, MOST_CLAIMS, claim_texts
from hotplugd.model.values import Entry, Instance, InstanceName
from hotplugd.plan.desired import wants
from hotplugd.plan.foreign_entries import given, problems_of, selectors_on, taken_by, targets_of
from hotplugd.pools.claims import MOST_DEVICES, claims_of
from hotplugd.pools.leasing import Leasing
from hotplugd.rulefile.load import parse
from tests.fuzz import holds, made
from tests.fuzz.feed import Feed

_RULES: Final = parse(
    """\
hubs: {shelf-1: {path: pci-0000:00:14.0-usb-0:1, ports: {a: "4.2", b: "1"}}}
pools:
  android: {instances: '*', keep: 10m, expect: 3}
  serial: {instances: 'b*', per_instance: 2}
  none-of-yours: {instances: other}
rules:
  - {name: phones, match: {subsystem: usb}, attach: {pool: android}}
  - {name: ports, match: {subsystem: tty}, attach: {pool: serial}}
  - {name: rest, match: {subsystem: '*', not: {driver: '?*'}}, attach: {pool: none-of-yours}}
""",
    "fuzz.yaml",
).rules
_NAMES: Final = ("phone", "a", "x" * 64, "none", "android", "serial")
_WORDS: Final = (
    "android", "serial", "none", "none-of-yours", "count=2", "count=100", "count=101", "count=0", "count=",
    "serial=1A*", "serial=*", "id=18d1:4ee7", "vendor_id=18D1", "location=shelf-1/a", "location=shelf-1/*",
    "port=1-4.*", "property.ID_MODEL=*", "attr.product=x", "subsystem=usb|tty", "mac=*", "interface=ff:42:*",
    "=", "serial", "serial==", "kernel=[a-", "kernel=[!a]*[!b]*[!c]*?", "kernel=a\\", " ", "\t", "not=x",
)  # fmt: skip
_PROPER: Final = (
    "count=2", "serial=*", "location=*", "port=1-*", "property.P=?*", "kernel=*[0-9]*",
    "driver=usb", "count=3",
)  # fmt: skip
_MANY: Final = (
    "serial", "kernel", "driver", "port", "path", "property.A", "property.B", "property.C", "property.D",
)  # fmt: skip
_KNOWN: Final = frozenset({"serial", "port", "kernel", "subsystem"})
_NAME: Final = re.compile("[A-Za-z0-9_-]{1,64}")
_WHO: Final = InstanceName("default", "box")


def _text(feed: Feed) -> str:
    """What a claim says: most are right."""
    kind = feed.byte() % 32
    if kind < 2:
        return feed.text()
    if kind == 2:
        return feed.pick(_WORDS) * feed.pick((1, 400, 2000))
    if kind < 20:
        proper = dict.fromkeys(feed.several(lambda: feed.pick(_PROPER), 3))
        return " ".join([feed.pick(("android", "serial", "android", "none")), *proper])
    if kind < 26:
        # One word that may be wrong, among others that are right.
        own = [feed.pick(_PROPER), feed.text() if feed.chance(6) else feed.pick(_WORDS), feed.pick(_PROPER)]
        return " ".join(["android", *own[feed.byte() % 3 :]])
    if kind == 26:
        return " ".join(["android", *(f"{key}=*[!a]*{feed.byte()}*" for key in _MANY)])
    words = feed.several(lambda: feed.text() if feed.chance(12) else feed.pick(_WORDS), 18)
    return feed.pick((" ", " ", "\t", "  ", "")).join([feed.pick(_WORDS[:4]), *words])


def _config(feed: Feed, most: int = 20) -> dict[str, object]:
    found: dict[str, object] = {}
    for _ in range(feed.byte() % (most + 1)):
        name = feed.text() if feed.chance(12) else feed.pick((*_NAMES, f"a{feed.byte()}"))
        found[CLAIM + name] = feed.json(1) if feed.chance(24) else _text(feed)
    return found


def claims(data: bytes) -> None:
    """Any claims of one instance: what they ask for is bounded, and what is wrong with them can be shown."""
    feed = Feed(data)
    many = MOST_CLAIMS + 2 if feed.chance(16) else 0
    texts = claim_texts({**_config(feed), **{f"{CLAIM}{number}": "android" for number in range(many)}})
    assert len(texts) <= MOST_CLAIMS + 1
    found, wrong = claims_of(_WHO, texts, _RULES.pools)
    assert len(found) <= MOST_CLAIMS + len(_RULES.pools)
    assert {each.name for each in wrong}.isdisjoint(each.name for each in found if each.asked)
    for problem in wrong:
        holds.can_be_shown(str(problem), problem.message, problem.hint)
        assert 0 <= problem.column <= len(problem.text) + 1
    devices = [made.device(feed) for _ in range(2)]
    for claim in found:
        assert _NAME.fullmatch(claim.name)
        assert claim.pool in _RULES.pools
        assert _RULES.pools[claim.pool].admits(_WHO)
        assert 1 <= claim.count <= MOST_DEVICES
        assert len(claim.selector) <= LONGEST_CLAIM
        holds.can_be_shown(str(claim))
        for device in devices:
            # What udevd has a say in is asked again, and what fits wholly fits as far as it is known.
            taken = claim.takes(device)
            assert not claim.may_ask_udev(device) or device.early
            assert not taken or claim.may_take(device, _KNOWN)
    # The same texts ask for the same.
    assert claims_of(_WHO, texts, _RULES.pools) == (found, wrong)


def leases(data: bytes) -> None:
    """Instances with any claims, and devices that say anything: nobody gets what is another's, or more than
    was claimed, and it can be shown.
    """
    feed = Feed(data)
    leasing = Leasing(_RULES)
    texts: dict[InstanceName, dict[str, str]] = {}
    for name in (InstanceName("default", name) for name in ("box", "other", "b-2")):
        texts[name] = claim_texts(_config(feed, 6))
        leasing.learned(name, Instance(name, running=not feed.chance(4), claims=texts[name]))
    for device in (made.device(feed) for _ in range(feed.byte() % 5)):
        leasing.judged(wants(_RULES, device))
    leasing.settle(lambda _: ())
    has: dict[tuple[InstanceName, str], int] = {}
    for key, lease in leasing.allocation.leases.items():
        found = leasing.devices.get(key)
        assert found is not None
        assert _RULES.pools[found.pool].admits(lease.instance)
        has[lease.instance, lease.claim] = has.get((lease.instance, lease.claim), 0) + 1
    for (name, claim), count in has.items():
        asked = {each.name: each.count for each in claims_of(name, texts[name], _RULES.pools)[0]}
        assert count <= asked[claim]
    # Nothing changes where nothing has changed.
    before = leasing.allocation.leases
    leasing.settle(lambda _: ())
    assert leasing.allocation.leases == before
    for problem in leasing.problems():
        holds.can_be_shown(problem.message)
    json.dumps([pools_json(leasing, {}), unmet_json(leasing), unleased_json(leasing, set())])


def selectors(data: bytes) -> None:
    """Entries of others that say anything: what they take is read, and a device is found by it."""
    feed = Feed(data)
    device = made.device(feed)
    box = made.instance(feed)
    kind = box.kind
    entries = [made.entry(feed, device) for _ in range(1 + feed.byte() % 3)]
    entries += [_foreign(feed) for _ in range(1 + feed.byte() % 3)]
    shapes: dict[str, set[tuple[bool, ...]]] = {}
    for entry in entries:
        for selector in taken_by(entry, kind):
            assert all(isinstance(each, str) for each in selector)
            shapes.setdefault(selector[0], set()).add(given(selector))
        for target in targets_of(entry):
            assert isinstance(target, str)
    on_device = [*selectors_on(device, shapes)]
    assert len(on_device) <= 1000
    for problem in problems_of(entries, box):
        holds.can_be_shown(problem.message)


_KEYS: Final = (
    "type", "vendorid", "productid", "serial", "busnum", "devnum", "source", "path", "major", "minor",
    "parent", "name", "nictype", "network", "pci", "id", "gputype", "mdev", "address", "required", "attached",
    "subsystem",
)  # fmt: skip
_TYPES: Final = (
    "usb", "unix-char", "unix-block", "unix-hotplug", "disk", "nic", "infiniband", "gpu", "pci", "tpm",
)  # fmt: skip
_TEXTS: Final = (
    "18d1", "4ee7", "1A0021", "1", "4", "/dev/bus/usb/001/004", "/dev/../dev/ttyUSB0", "//dev/x", "ttyUSB0",
    "/dev/disk/by-id/x", "/proc/self/root/dev/sdb", "/", "eth1", "physical", "188", "0", "000188", "-1",
    "0000:03:00.0", "03:00.0", "true", "TRUE", "no",
)  # fmt: skip


def _foreign(feed: Feed) -> Entry:
    """An entry in the server's own words."""
    config = {key: feed.pick(_TEXTS) for key in feed.several(lambda: feed.pick(_KEYS), 6)}
    config |= feed.texts(_KEYS, 3)
    return Entry(feed.text(), {**config, "type": feed.pick(_TYPES)})
