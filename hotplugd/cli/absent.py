"""What is known of a device that a command was asked for and that is not there."""

from __future__ import annotations

from pathlib import Path


def last_known(control: Path, name: str) -> str:
    """Why it is not there and where it was last seen, by the journal and the running daemon; or empty."""
    from hotplugd.app.event_views import absent, last_seen
    from hotplugd.app.history import past

    event = last_seen(past(control, name), name)
    return absent(event) if event is not None else ""
