"""Compares an entry with the one that its devices should have, and with what was seen inside. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from hotplugd.model import entry as entries
from hotplugd.model.problem import Problem
from hotplugd.model.text import quoted
from hotplugd.model.values import Entry, Inside, Instance
from hotplugd.plan.change import Attachment, Change, Plan, change_of, removal
from hotplugd.plan.kinds.kind import Want
from hotplugd.plan.kinds.node import NO_NODE, SEALED, wrong_mode
from hotplugd.plan.make_entry import moved


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
        # It is right but for a mark, which alone cannot be changed.
        return Plan((_update(first, moved(wanted, actual, first.slot), actual, why),))
    if entries.name_for(entries.slot_of(actual)) != actual.name:
        return Plan((_update(first, None, actual, "its marks name another device"),))
    unlike = [(want, observed(want, instance, inside)) for want in wants]
    wrong = next(((want, found) for want, found in unlike if found), None)
    if wrong is None or wrong[0].device.away:
        problems = [_problem(want, found, inside) for want, found in unlike]
        attachments = [
            Attachment(want, actual, _is_verified(want, found, problem, instance, inside))
            for (want, found), problem in zip(unlike, problems, strict=True)
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
    """That the entry's marks name another instance or cluster member; empty where they do not."""
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


def _instead(want: Want, found: str) -> str:
    """What is at the device's place inside. found: by `Kind.observed`, and not empty."""
    if found == "missing":
        what = "node" if entries.is_path(want.target) else "interface"
        return f"{what} {want.target} is missing inside"
    if found == NO_NODE:
        return f"node {want.target} is missing inside, and another file is there"
    if found == SEALED:
        return f"nobody inside may open node {want.target}"
    number = f", not {want.device.devnum}" if want.device.devnum is not None else ""
    return f"{want.target} inside is {found}{number}"
