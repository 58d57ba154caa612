"""Whether a network interface can leave the host's network namespace, and what leaves with it.

The kernel keeps some where they were made: the loopback, bridges, bonds, teams, VRFs, and the interfaces that
tunnels' modules bring. It says so as a feature for ethtool up to 6.11 (netns-local), and by rtnetlink
from 6.15 on; between these only what sysfs shows is known. A wireless interface moves with its whole radio
(cfg80211), which the server has the program `iw` do (lxc: network.c, lxc_netdev_move_wlan). LXD 5.0.2 moves
it there and back, with all interfaces of its radio (measured with mac80211_hwsim). Without iw it refuses one
for an instance that runs, and an instance that does not run cannot be started with it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hotplugd.aio.shortage import is_short
from hotplugd.host import rtnetlink, sysfs
from hotplugd.host.ethtool import Ethtool

_LOOPBACK: Final = "772"  # include/uapi/linux/if_arp.h: ARPHRD_LOOPBACK
_FEATURE: Final = "netns-local"
_RADIO: Final = "phy80211"
# Where servers look for it, with the folders of Zabbly's packages and of NixOS.
_PROGRAMS: Final = (
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/incus/bin:/run/current-system/sw/bin"
)
# A server from there may have an iw of its own.
_SNAP: Final = "/snap/lxd"


def why_it_stays(syspath: str) -> str:
    """Why the interface cannot leave the host; empty where it can. Raises OSError where no file can be
    opened.
    """
    if Path(syspath, _RADIO).is_dir():
        if shutil.which("iw", path=_PROGRAMS) is None and not os.path.isdir(_SNAP):
            return (
                "it is wireless and moves with its radio, which the server has the program `iw` do, and "
                "there is none: install iw on the host and restart hotplugd"
            )
        return ""
    kind = next((each for each in ("bridge", "bonding") if Path(syspath, each).is_dir()), "")
    if sysfs.attribute(syspath, "type") == _LOOPBACK:
        kind = "loopback"
    if kind or _is_local(syspath):
        what = f" ({kind})" if kind else ""
        return f"the kernel keeps it in the network namespace in which it was made{what}"
    return ""


def of_one_radio(syspath: str) -> Sequence[str]:
    """The names of the other interfaces of this one's radio; none where it has none."""
    radio = sysfs.name_of_link(f"{syspath}/{_RADIO}")
    if not radio:
        return ()
    folder, own = os.path.split(syspath)
    others = (each for each in sysfs.names(folder) if each != own)
    return sorted(each for each in others if sysfs.name_of_link(f"{folder}/{each}/{_RADIO}") == radio)


def _is_local(syspath: str) -> bool:
    """Whether the kernel says that it stays."""
    with Ethtool(os.path.basename(syspath)) as interface:
        said = interface.feature(_FEATURE)
    if said is not None:
        return said
    index = sysfs.attribute(syspath, "ifindex") or ""
    try:
        return index.isdecimal() and rtnetlink.stays(int(index))
    except (OSError, ValueError) as error:
        # It went meanwhile, or the kernel is older.
        if is_short(error):
            raise
        return False
