"""Interfaces that others are made on, with a kernel that has every kind of these."""

from __future__ import annotations

import pytest

from tests.kernel.host.test_netif import ABOVE, see_in_use_below
from tests.support.lab.kernel import Veth


@pytest.mark.parametrize("kind", ABOVE)
def test_one_on_which_another_is_made_is_in_use(veth: Veth, kind: str) -> None:
    veth.plug()
    see_in_use_below(veth, ABOVE[kind])
