"""Who asked for something: the user of a process that connected to the control socket."""

from __future__ import annotations

from dataclasses import dataclass

from hotplugd.model.text import quoted


@dataclass(frozen=True, slots=True)
class Asker:
    """A user, by the kernel's word.

    uid    the process's effective user (unix(7), SO_PEERCRED)
    user   that one's name; empty where it has none
    login  the name, or else the number, of the user who logged in, whom `sudo` and `su` do not change
           (/proc/PID/loginuid); empty where nobody did
    """

    uid: int
    user: str = ""
    login: str = ""

    def __str__(self) -> str:
        name = f"uid {self.uid} ({quoted(self.user)})" if self.user else f"uid {self.uid}"
        return f"{name}, logged in as {quoted(self.login)}" if self.login not in ("", self.user) else name
