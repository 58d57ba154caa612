"""Makes the symbolic links of one instance inside, and takes them away, once its nodes were seen.

A rule may name other links while its device is attached, which changes nothing in the entry. So what is made
is written to a journal before, and goes when no rule asks for it or its entry is gone, also where another
hotplugd made it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hotplugd.aio.tasks import Activity
from hotplugd.model.entry import MARK_LINKS, is_ours, links_of, place_of
from hotplugd.model.problem import Problem
from hotplugd.model.values import Entry, Inside, Instance, InstanceName, Link, Node, quoted
from hotplugd.plan.planner import Attachment
from hotplugd.reconcile.ports import Tools
from hotplugd.reconcile.retry_queue import RetryQueue


@dataclass(frozen=True, slots=True)
class Task:
    """A link to make, or to take away: then target is empty. device and rule are for problems."""

    path: str
    target: str
    entry: str = ""
    device: str = ""
    rule: str = ""


class Symlinks:
    """The links of one instance. changed is called when one was made or taken away."""

    def __init__(
        self, name: InstanceName, tools: Tools, activity: Activity, changed: Callable[[Iterable[str]], None]
    ) -> None:
        self._name = name
        self._tools = tools
        self._changed = changed
        # Those that are there, or about to be, by path; and what of them is noted.
        self._links = dict(tools.links.take(name))
        self._noted = dict(self._links)
        # The entries of version 1 whose marks were read: their links may have gone since.
        self._read: set[str] = set()
        self._wrong: list[Problem] = []
        self._queue = RetryQueue[Task](activity, self._carry_out, lambda left: left, self._failed)

    def forget(self) -> None:
        """There is another init, or none: its /dev is new."""
        self._links.clear()
        self._queue.forget()
        self._wrong.clear()
        self._note()

    def has(self, instance: Instance) -> None:
        """The instance has these entries."""
        if self._read:
            self._read &= instance.entries.keys()
        for each in instance.entries.values():
            if MARK_LINKS in each.config:
                self.read(each)

    def ends(self, entry: Entry) -> None:
        """An entry is about to go, or to become another, or did."""
        self.read(entry)
        self._note()

    def read(self, entry: Entry) -> None:
        """An entry of version 1, that is there or was, says itself which links it has."""
        if (links := links_of(entry)) and entry.name not in self._read and is_ours(entry):
            self._read.add(entry.name)
            for each in links:
                self._links.setdefault(each, Link(place_of(entry), entry.name))

    def paths(self, attachments: Iterable[Attachment]) -> frozenset[str]:
        """Where to look for links."""
        return frozenset(link for each in attachments for link in each.want.links) | self._links.keys()

    def link(self, attachments: Iterable[Attachment], instance: Instance, inside: Inside | None) -> None:
        """Make what is missing, where this is attached and that was seen inside."""
        if inside is None or inside.error or self._tools.dry_run or self._queue.is_busy:
            return
        self._find(list(attachments), instance, inside)
        self._note()
        self._queue.run()

    def problems(self) -> list[Problem]:
        """Which links could not be made."""
        return self._wrong + [
            Problem(each.device, each.rule, f"cannot make {each.path} in {self._name}: {message}")
            for each, message in self._queue.problems()
        ]

    def _find(self, attachments: Sequence[Attachment], instance: Instance, inside: Inside) -> None:
        wanted = {
            link: Task(link, each.want.place, each.entry.name, str(each.want.device), each.want.rule.name)
            for each in attachments
            if each.verified
            for link in each.want.links
        }
        due: list[Task] = []
        self._wrong = []
        for path, link in self._ending(attachments, instance):
            if path not in inside.nodes:
                continue
            node = inside.nodes[path]
            if node is None or node.target != link.target:
                del self._links[path]
            elif path not in wanted or wanted[path].target != link.target:
                # Also what is to lead elsewhere: what is noted is never less than what is there.
                due.append(Task(path, ""))
                wanted.pop(path, None)
        for path, task in wanted.items():
            if path not in inside.nodes:
                continue
            node = inside.nodes[path]
            if node is not None and not node.target.startswith("/dev/"):
                self._wrong.append(_in_the_way(self._name, task, node))
                continue
            self._links[path] = Link(task.target, task.entry)
            if node is None or node.target != task.target:
                due.append(task)
        self._queue.due = due
        self._doubt(self._queue.unconfirmed & set(due))
        self._queue.unconfirmed -= {each for each in self._queue.unconfirmed if each.path in inside.nodes}

    def _ending(self, attachments: Sequence[Attachment], instance: Instance) -> list[tuple[str, Link]]:
        """The links that no rule asks for any more, and those of entries that are gone.

        Of an entry that is neither gone nor as it should be nobody knows yet.
        """
        attached: dict[str, set[tuple[str, str]]] = {}
        for each in attachments:
            pairs = attached.setdefault(each.entry.name, set())
            pairs |= {(link, each.want.place) for link in each.want.links}
        return [
            (path, link)
            for path, link in self._links.items()
            if (
                (path, link.target) not in attached[link.entry]
                if link.entry in attached
                else link.entry not in instance.entries
            )
        ]

    def _note(self) -> None:
        if self._links != self._noted:
            self._noted = dict(self._links)
            self._tools.links.note(self._name, self._noted)

    def _doubt(self, unseen: set[Task]) -> None:
        """These were made, or taken away, and that is not to be seen: not again at once."""
        for task in sorted(unseen, key=lambda each: each.path)[:1]:
            reason = (
                "it was done, and is not to be seen: a folder on the way is a link, or something undoes it"
            )
            self._queue.fail(task, reason)

    async def _carry_out(self, task: Task) -> None:
        await self._tools.server.link(self._name, task.path, task.target)
        self._queue.unconfirmed.add(task)
        self._changed([task.path])

    def _failed(self, task: Task, reason: str, pause: float) -> None:
        who = str(self._name)
        self._tools.log.warning("link.problem", instance=who, path=task.path, reason=reason, retry_in=pause)


def _in_the_way(name: InstanceName, task: Task, node: Node) -> Problem:
    what = f"a link to {quoted(node.target)}" if node.target else "no link"
    message = f"{task.path} in {name} is there already, and is {what}; take it away, or give another `link`"
    return Problem(task.device, task.rule, message)
