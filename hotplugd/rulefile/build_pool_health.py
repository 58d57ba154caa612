"""Builds what a pool says of its devices' health from nodes, as `build_pools` does it with pools."""

from __future__ import annotations

from typing import Final

from hotplugd.model.pool_file import PoolFile
from hotplugd.rulefile.decode import Decoder, Field
from hotplugd.rulefile.parse import YamlMapping, YamlScalar
from hotplugd.rulefile.tables import Table
from hotplugd.rules.duration import seconds
from hotplugd.rules.pool_health import Flap, Ready

# The word that `ready` takes in place of a command.
_ADB: Final = "adb"
_MOST_WORDS: Final = 64
_MOST_FILES: Final = 16


def flap_of(decoder: Decoder, field: Field, table: Table) -> Flap | None:
    """How often a device may be plugged in; None where that is not said as it should be.

    table  the keys of `flap`
    """
    fields = decoder.fields(field.value, table, field.name)
    texts = [decoder.text(fields[key]) for key in ("count", "within") if key in fields]
    match texts:
        case [str(count), str(within)]:
            return Flap(int(count), seconds(within) or 0.0)
    return None


def ready_of(decoder: Decoder, field: Field, table: Table) -> Ready | None:
    """How it is found out whether a device is ready; None where that is not said as it should be.

    table  the keys of `ready`
    """
    value = field.value
    if isinstance(value, YamlScalar) and value.text == _ADB:
        return Ready()
    if not isinstance(value, YamlMapping):
        decoder.wrong_type(value, f"`{_ADB}` or keys and values", field.name)
        return None
    fields = decoder.fields(value, table, field.name)
    command = decoder.texts(fields["command"]) if "command" in fields else ()
    if len(command) > _MOST_WORDS:
        decoder.error(fields["command"].name.span, f"more than {_MOST_WORDS} words")
    spans = {
        key: seconds(text) or 0.0
        for key in ("within", "every", "timeout")
        if key in fields and (text := decoder.text(fields[key])) is not None
    }
    return Ready(command, **spans) if command else None


def files_of(decoder: Decoder, field: Field, table: Table) -> tuple[PoolFile, ...]:
    """The files that a pool puts inside, without those that something is wrong with.

    table  the keys of an item
    """
    items = decoder.items(field, field.key.name)
    if len(items) > _MOST_FILES:
        decoder.error(field.name.span, f"more than {_MOST_FILES} files")
        return ()
    found: list[PoolFile] = []
    for item in items:
        fields = decoder.fields(item, table)
        texts = {name: text for name in fields if (text := decoder.text(fields[name])) is not None}
        match texts:
            case {"source": str(source), "path": str(path)}:
                mode = texts.get("mode", "0600").zfill(4)
                file = PoolFile(source, path, int(texts.get("uid", "0")), int(texts.get("gid", "0")), mode)
                found.append(file)
    return tuple(found)
