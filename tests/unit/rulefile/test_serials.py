"""The serial numbers and addresses that rule files name, also where the files are broken."""

from __future__ import annotations

import pytest

from hotplugd.rulefile.serials import named_serials


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("rules:\n  - {name: a, match: {serial: R5C1234, id: '18d1:4ee7'}}", {"R5C1234"}),
        ("match:\n  serial: [AB12345, 'CD12345']\n  kernel: tty*", {"AB12345", "CD12345"}),
        ("match:\n  serial:\n    - AB12345\n    - CD12345", {"AB12345", "CD12345"}),
        ("property: {ID_SERIAL_SHORT: XY1, ID_MODEL: Pixel}", {"XY1"}),
        ("attr: {uniq: 'aa bb', product: x}", {"aa bb"}),
        ("mac: '02:00:00:aa:bb:01'\nmachine: here", {"02:00:00:aa:bb:01"}),
        ("serial: 'R5CT1*'", {"R5CT1"}),
        ("serial: 'R5C*|AB12345'", {"AB12345"}),
        ("serial: '*'", set()),
        ("# two have one serial: see below\nname: x", set()),
        ("a: &x {serial: AB12345}\nb: *x\nc: &y [*y]", {"AB12345"}),
    ],
)
def test_values_are_found_in_yaml(text: str, found: set[str]) -> None:
    assert set(named_serials(text)) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("rules: [\n  {match: {serial: R5C1234, id: '18d1:4ee7'}\n\tx", {"R5C1234"}),
        ("\t\nserial:\n  - AB12345 # anna\n  - 'CD12345'\nname: EF12345", {"AB12345", "CD12345"}),
        ("\t\nserial = [AB12345, CD12345]", {"AB12345", "CD12345"}),
        ("\t\nID_SERIAL_SHORT: XY1", {"XY1"}),
    ],
)
def test_values_are_found_where_it_is_no_yaml(text: str, found: set[str]) -> None:
    assert set(named_serials(text)) == found
