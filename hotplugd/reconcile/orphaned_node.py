"""A node inside an instance, without an entry for it."""

from __future__ import annotations

from dataclasses import dataclass

from hotplugd.model import entry as entries
from hotplugd.model.values import Node
from hotplugd.plan.change import Change


@dataclass(frozen=True, slots=True)
class OrphanedNode:
    """A node that may be inside, and whose entry has gone.

    cleared  the server was asked once more to take it away
    """

    change: Change
    cleared: bool = False

    @property
    def path(self) -> str:
        """Where it was."""
        return entries.target_of(self.change.entry)

    def __str__(self) -> str:
        """What is wrong where it is still there."""
        what = "its entry is gone, and its node is still there"
        return f"{what}; " + (
            "restarting the instance takes it away, unless another entry puts it there"
            if self.cleared
            else "the server is asked to take it away"
        )

    def is_at(self, node: Node | None) -> bool:
        """Whether what was seen at its path is its node."""
        return node is not None and node.devnum is not None and entries.is_for(self.change.entry, node.devnum)
