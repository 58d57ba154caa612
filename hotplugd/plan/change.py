"""What has to change in an instance: the entry of each device as it should be and as it is. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hotplugd.model import entry as entries
from hotplugd.model.problem import Problem
from hotplugd.model.text import quoted
from hotplugd.model.values import Entry, Inside, Instance, InstanceName
from hotplugd.plan.identity import identity
from hotplugd.plan.kinds.kind import Want
from hotplugd.plan.kinds.node import NO_NODE, SEALED, wrong_mode

Action = Literal["add", "update", "repair", "remove"]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to do to one instance's entries. For `remove` the entry is the one that goes.

    device  its node on the host; for `remove` the node that it had
    frees   the target inside that is free once the change was made, or empty
    """

    action: Action
    instance: InstanceName
    entry: Entry
    device: str
    rule: str
    why: str
    want: Want | None = None
    frees: str = ""

    @property
    def identity(self) -> str:
        """The device's identity, as the entry has it."""
        return self.entry.config.get(entries.MARK_DEVICE, "")


@dataclass(frozen=True, slots=True)
class Barred:
    """An entry with which its instance could not be started, as it was then, and why it stays out."""

    entry: Entry
    why: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A device whose entry is as it should be. verified: seen inside; None where nothing can be seen now."""

    want: Want
    entry: Entry
    verified: bool | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to change in one instance, what is as it should be, and what cannot be.

    out  those of the problems that are over once the instance runs
    """

    changes: tuple[Change, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    problems: tuple[Problem, ...] = ()
    out: tuple[Problem, ...] = ()


def change_of(action: Action, want: Want, entry: Entry, why: str, frees: str = "") -> Change:
    """What to do to the entry of a device that should be in an instance."""
    return Change(action, want.instance, entry, str(want.device), want.rule.name, why, want, frees)


def removal(instance: InstanceName, entry: Entry, why: str) -> Change:
    """The removal of an entry of ours."""
    device = entry.config.get(entries.MARK_NODE) or entries.slot_of(entry)
    rule = entry.config.get(entries.MARK_RULE, "")
    return Change("remove", instance, entry, device, rule, why, frees=entries.target_of(entry))


# --- the entry as it should be -----------------------------------------------------------------------------


def entry_for(want: Want, instance: Instance, inside: Inside | None, actual: Entry | None) -> Entry | str:
    """The entry as it should be, or why it cannot be written yet: the id of a user or group is unknown."""
    config = {
        **want.kind.body(want, instance, actual),
        entries.MARK_VERSION: entries.VERSION,
        entries.MARK_INSTANCE: entries.mark_for(want.instance),
        entries.MARK_DEVICE: identity(want.device),
        entries.MARK_NODE: want.device.node or want.device.kernel,
        entries.MARK_RULE: want.rule.name,
    }
    if instance.location:
        config[entries.MARK_MEMBER] = instance.location
    if want.attach.pool:
        config[entries.MARK_POOL] = want.attach.pool
        config[entries.MARK_CLAIM] = want.claim
        if want.unit:
            config[entries.MARK_UNIT] = want.unit
    if "source" not in config:
        config[entries.MARK_SLOT] = _marked_slot(want, actual)
    name = actual.name if actual is not None else entries.name_for(want.slot)
    if instance.kind not in want.kind.owned:
        return Entry(name, config)
    if want.attach.mode is not None:
        config["mode"] = want.attach.mode
    owner = _owner(want, instance, inside, actual)
    return owner if isinstance(owner, str) else Entry(name, config | owner)


def _marked_slot(want: Want, actual: Entry | None) -> str:
    """The slot that agrees with the entry's name, which version 1 may have given."""
    slot = entries.slot_of(actual) if actual is not None else ""
    return slot if actual is not None and entries.name_for(slot) == actual.name else want.slot


def _owner(
    want: Want, instance: Instance, inside: Inside | None, actual: Entry | None
) -> dict[str, str] | str:
    """The numbers of the node's owner, or why one is not known."""
    attach, numbers = want.attach, dict[str, str]()
    for key, number, who, known in (
        ("uid", attach.uid, attach.user, inside.users if inside else {}),
        ("gid", attach.gid, attach.group, inside.groups if inside else {}),
    ):
        if number is not None:
            numbers[key] = str(number)
        elif who is not None:
            looked_up = known.get(who)
            if looked_up is not None:
                numbers[key] = str(looked_up)
            elif actual is not None and _is_number(actual.config.get(key, "")) and who not in known:
                numbers[key] = actual.config[key]
            else:
                return _no_such(key, who, instance, known=who in known)
    return numbers


def moved(entry: Entry, actual: Entry, slot: str) -> Entry | None:
    """The entry with its source at the slot's other link, which makes every server put the node in again.

    None for an entry without a source, which has to be removed first.
    """
    if "source" not in entry.config:
        return None
    first, second = entries.slot_links(slot)
    source = first if actual.config["source"] == second else second
    return Entry(entry.name, {**entry.config, "source": source})


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _no_such(key: str, who: str, instance: Instance, *, known: bool) -> str:
    what, file = ("user", "/etc/passwd") if key == "uid" else ("group", "/etc/group")
    if known:
        return (
            f"{instance.id} has no {what} '{who}' in its {file}; make one there, or use `{key}` in the rule"
        )
    when = "could not be looked up yet" if instance.running else "is looked up when the instance runs"
    return f"{what} '{quoted(who)}' of {instance.id} {when}"


# --- the entry as it is ------------------------------------------------------------------------------------


def compare(
    wants: Sequence[Want], wanted: Entry, actual: Entry, instance: Instance, inside: Inside | None
) -> Plan:
    """What has to change for the actual entry to be the wanted one, and for its nodes to be seen inside.

    wants  the devices of this one entry: one, or a GPU's card and its render node
    """
    first = wants[0]
    if why := _difference(wanted, actual):
        return Plan((_update(first, wanted, actual, why),))
    if why := _wrong_mark(wanted, actual, instance):
        # Only a mark is wrong, and a mark alone cannot be changed.
        return Plan((_update(first, moved(wanted, actual, first.slot), actual, why),))
    if entries.name_for(entries.slot_of(actual)) != actual.name:
        return Plan((_update(first, None, actual, "its marks name another device"),))
    seen = [(want, observed(want, instance, inside)) for want in wants]
    wrong = next(((want, unlike) for want, unlike in seen if unlike), None)
    if wrong is None or wrong[0].device.away:
        problems = [_problem(want, unlike, inside) for want, unlike in seen]
        attachments = [
            Attachment(want, actual, _is_verified(want, unlike, problem, instance, inside))
            for (want, unlike), problem in zip(seen, problems, strict=True)
        ]
        return Plan(attachments=tuple(attachments), problems=tuple(filter(None, problems)))
    if (again := moved(wanted, actual, first.slot)) is None or entries.is_later(actual):
        why = f"{_instead(*wrong)}, and it has to be put in anew"
        return Plan((removal(instance.id, actual, why),))
    return Plan((change_of("repair", first, again, f"{_instead(*wrong)}, and it is put in again"),))


def observed(want: Want, instance: Instance, inside: Inside | None) -> str | None:
    """What is at the device's target inside instead of it; empty where it is there.

    None where nobody looked (yet), or nobody can: into virtual machines, and for what has no target.
    """
    if inside is None or inside.error or not instance.running or not want.target:
        return None
    return want.kind.observed(want, inside)


def _difference(wanted: Entry, actual: Entry) -> str:
    """In what the entries differ, marks aside; empty where they do not."""
    keys = entries.differing(actual, wanted)
    return f"its entry differs in {', '.join(map(quoted, keys))}" if keys else ""


def _wrong_mark(wanted: Entry, actual: Entry, instance: Instance) -> str:
    """Which other instance or cluster member the entry's marks name; empty where they name this one."""
    if actual.config[entries.MARK_INSTANCE] != wanted.config[entries.MARK_INSTANCE]:
        return f"it was made for {quoted(actual.config[entries.MARK_INSTANCE])}, not for this instance"
    member = actual.config.get(entries.MARK_MEMBER, "")
    if member and member != instance.location and not instance.running:
        # Hosts that are up have no slot in common; servers that share one host have.
        return f"it was made on the cluster member {quoted(member)}"
    return ""


def _update(want: Want, wanted: Entry | None, actual: Entry, why: str) -> Change:
    """Have the actual entry be the wanted one, by way of none where it cannot become that."""
    before = entries.target_of(actual)
    if wanted is None or entries.is_later(actual):
        # A later version's marks may say what is not known here, and would be lost without its knowing.
        return removal(want.instance, actual, f"{why}, and it has to be put in anew")
    return change_of("update", want, wanted, why, frees=before if before != want.target else "")


def _problem(want: Want, unlike: str | None, inside: Inside | None) -> Problem | None:
    """What is wrong inside with a device that stays attached. unlike: as `observed` gives it."""
    message = wrong_mode(want, inside) if unlike == "" else ""
    if unlike:
        message = (
            f"{_what_is_there(unlike)} {want.target} in {want.instance}, and it is not on the host: it was "
            f"renamed inside, or its hardware is gone; stopping the instance brings back what there is"
        )
    return Problem(str(want.device), want.rule.name, message) if message else None


def _is_verified(
    want: Want, unlike: str | None, problem: Problem | None, instance: Instance, inside: Inside | None
) -> bool | None:
    """Whether the device was seen inside as it should be; None where there is no inside to see it in now."""
    unseen = inside is None or not instance.running or not want.target
    if unlike is None and (unseen or (inside is not None and want.kind.is_veiled(want, inside))):
        return None
    return unlike == "" and problem is None


def _what_is_there(unlike: str) -> str:
    return "there is no interface" if unlike == "missing" else f"{unlike} is"


def _instead(want: Want, unlike: str) -> str:
    """What is at the device's place inside. unlike: by `Kind.observed`, and not empty."""
    if unlike == "missing":
        what = "node" if entries.is_path(want.target) else "interface"
        return f"{what} {want.target} is missing inside"
    if unlike == NO_NODE:
        return f"node {want.target} is missing inside, and another file is there"
    if unlike == SEALED:
        return f"nobody inside may open node {want.target}"
    number = f", not {want.device.devnum}" if want.device.devnum is not None else ""
    return f"{want.target} inside is {unlike}{number}"
