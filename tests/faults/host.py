"""What goes wrong on a host, brought about for one process alone."""

from __future__ import annotations

from tests.support.lab.container import Container
from tests.support.lab.kernel import Console


def rules(to: str, *consoles: Console) -> str:
    """One rule: these consoles go there."""
    names = "|".join(f"vcsa{each.number}" for each in consoles)
    return (
        f"rules:\n  - name: one\n    match: {{subsystem: vc, kernel: '{names}'}}\n    attach: {{to: {to}}}\n"
    )


def there(container: Container, console: Console) -> bool:
    """Whether the console's node is inside."""
    seen = container.look(console.node)
    return seen is not None and seen.number == f"c 7:{128 + console.number}"


def ours(container: Container) -> list[str]:
    """The places of hotplugd's entries."""
    return sorted(each["path"] for name, each in container.devices.items() if name.startswith("hp-"))
