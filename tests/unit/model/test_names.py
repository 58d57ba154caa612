"""Which serial numbers tell devices apart."""

from __future__ import annotations

import pytest

from hotplugd.model.names import is_serial


@pytest.mark.parametrize("text", ["R5CT10ABCDE", "X", "12", "01", "00001"])
def test_a_serial_number_tells_devices_apart(text: str) -> None:
    assert is_serial(text)


@pytest.mark.parametrize("text", ["", "0", "1", "0000000000", "xxxx", "------", "٣"])
def test_a_placeholder_does_not(text: str) -> None:
    assert not is_serial(text)
