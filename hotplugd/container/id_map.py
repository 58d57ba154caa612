"""Who is root in a user namespace, by its maps (user_namespaces(7)). For our programs, too."""

from __future__ import annotations

from collections.abc import Iterable


def outside_of_root(lines: Iterable[str]) -> int | None:
    """Who user or group 0 of the namespace is, as its parent counts; None where nobody is.

    lines  of /proc/PID/uid_map or gid_map: the first number inside, the first outside, how many
    """
    for line in lines:
        first, outside, _ = map(int, line.split())
        if first == 0:
            return outside
    return None
