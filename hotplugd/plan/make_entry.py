"""The entry that a device becomes in an instance: its kind's keys, our marks, and its owner inside. Pure."""

from __future__ import annotations

from hotplugd.model import entry as entries
from hotplugd.model.text import quoted
from hotplugd.model.values import Entry, Inside, Instance
from hotplugd.plan.identity import identity
from hotplugd.plan.kinds.kind import Want


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
