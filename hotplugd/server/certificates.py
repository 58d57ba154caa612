"""The certificates that servers are pinned to: no other one is believed."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from hotplugd.model.ports import Refused


def pinned(address: str, ours: Path) -> Path:
    """The file of the server's certificate, as `lxc remote add` keeps it. Raises Refused where there is none.

    address  an https:// URL
    ours     the file of our own certificate, beside which those of servers are kept
    """
    host = urlsplit(address).hostname or ""
    path = ours.with_name("servercerts") / f"{host}.crt"
    if not path.is_file():
        raise Refused(
            f"the certificate of {address} is not known; put it in {path}, as `lxc remote add` does"
        )
    return path
