"""Makes the symbolic links of one instance inside, and takes them away, once its nodes were seen.

A rule may name other links while its device is attached, which changes nothing in the entry. So what is made
is written to a journal before, and goes when no rule asks for it or its entry is gone, also where another
hotplugd made it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hotplugd.aio.tasks import Activity
from hotplugd.model.entry import MARK_LINKS, is_ours, links_of, target_of
from hotplugd.model.problem import Problem
from hotplugd.model.text import quoted
from hotplugd.model.values import Entry, Inside, Instance, InstanceName, Link, Node
from hotplugd.plan.change import Attachment
from hotplugd.reconcile.ports import Ports
from hotplugd.reconcile.retry_queue import RetryQueue


@dataclass(frozen=True, slots=True)
class Task:
    """A link to make, or to remove if target is empty. device and rule are for messages."""

    path: str
    target: str
    entry: str = ""
    device: str = ""
    rule: str = ""


class Symlinks:
    """The links of one instance. changed is called with the paths of links that were made or removed."""

    def __init__(
        self, name: InstanceName, ports: Ports, activity: Activity, changed: Callable[[Iterable[str]], None]
    ) -> None:
        self._name = name
        self._ports = ports
        self._changed = changed
        # The links that exist, or are about to, by path; and what the journal says.
        self._links = dict(ports.link_journal.take(name))
        self._noted = dict(self._links)
        # Entries of version 1 whose links were read already: some may have been removed since.
        self._read: set[str] = set()
        self._wrong: list[Problem] = []
        self._queue = RetryQueue[Task](activity, self._carry_out, lambda left: left, self._failed)

    def forget(self) -> None:
        """The instance restarted or stopped: its /dev is new."""
        self._links.clear()
        self._queue.forget()
        self._wrong.clear()
        self._note()

    def has(self, instance: Instance) -> None:
        """The instance has these entries."""
        if self._read:
            self._read &= instance.entries.keys()
        for entry in instance.entries.values():
            if MARK_LINKS in entry.config:
                self.read(entry)

    def ends(self, entry: Entry) -> None:
        """The entry is about to be removed or changed, or was."""
        self.read(entry)
        self._note()

    def read(self, entry: Entry) -> None:
        """Take over the links of an entry of version 1, which has them in a mark."""
        if (links := links_of(entry)) and entry.name not in self._read and is_ours(entry):
            self._read.add(entry.name)
            for path in links:
                self._links.setdefault(path, Link(target_of(entry), entry.name))

    def paths(self, attachments: Iterable[Attachment]) -> frozenset[str]:
        """The paths at which links should be, or are."""
        return (
            frozenset(link for attachment in attachments for link in attachment.want.links)
            | self._links.keys()
        )

    def link(self, attachments: Iterable[Attachment], instance: Instance, inside: Inside | None) -> None:
        """Make what is missing and remove what is not wanted, given what was seen inside."""
        if inside is None or inside.error or self._ports.dry_run or self._queue.is_busy:
            return
        self._find(list(attachments), instance, inside)
        self._note()
        self._queue.run()

    def problems(self) -> list[Problem]:
        """The links that could not be made."""
        return self._wrong + [
            Problem(task.device, task.rule, f"cannot make {task.path} in {self._name}: {message}")
            for task, message in self._queue.problems()
        ]

    def _find(self, attachments: Sequence[Attachment], instance: Instance, inside: Inside) -> None:
        wanted = {
            link: Task(
                link,
                attachment.want.target,
                attachment.entry.name,
                str(attachment.want.device),
                attachment.want.rule.name,
            )
            for attachment in attachments
            if attachment.verified
            for link in attachment.want.links
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
                # Also a link that gets another target: the journal must never lack a link that exists.
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
        self._queue.unconfirmed -= {task for task in self._queue.unconfirmed if task.path in inside.nodes}

    def _ending(self, attachments: Sequence[Attachment], instance: Instance) -> list[tuple[str, Link]]:
        """The links that no rule wants any more, and those of entries that are gone.

        Of an entry that is neither gone nor as it should be nobody knows yet.
        """
        attached: dict[str, set[tuple[str, str]]] = {}
        for attachment in attachments:
            pairs = attached.setdefault(attachment.entry.name, set())
            pairs |= {(link, attachment.want.target) for link in attachment.want.links}
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
            self._ports.link_journal.note(self._name, self._noted)

    def _doubt(self, unseen: set[Task]) -> None:
        """A look does not show these, though they were carried out: try again after a pause."""
        for task in sorted(unseen, key=lambda task: task.path)[:1]:
            reason = (
                "it was done, and is not to be seen: a folder on the way is a link, or something undoes it"
            )
            self._queue.fail(task, reason)

    async def _carry_out(self, task: Task) -> None:
        await self._ports.server.link(self._name, task.path, task.target)
        self._queue.unconfirmed.add(task)
        self._changed([task.path])

    def _failed(self, task: Task, reason: str, pause: float) -> None:
        self._ports.log.warning(
            "link.problem",
            device=task.device,
            rule=task.rule,
            instance=str(self._name),
            path=task.path,
            reason=reason,
            retry_in=pause,
        )


def _in_the_way(name: InstanceName, task: Task, node: Node) -> Problem:
    what = f"a link to {quoted(node.target)}" if node.target else "no link"
    message = f"{task.path} in {name} is there already, and is {what}; take it away, or give another `link`"
    return Problem(task.device, task.rule, message)
