"""The keys of a pool that are about the health of its devices, as `grammar` has the others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from hotplugd.rulefile import validate, validate_pools
from hotplugd.rulefile.tables import Key
from hotplugd.rules.keys import MatchKey

READY: Final = Key(
    "ready",
    "ready",
    "How it is found out inside whether a device that is attached is ready: `adb`, or a command.",
)
"""A key of a pool, and of `attach`."""

OF_POOLS: Final = (
    READY,
    Key(
        "files",
        "files",
        "Files of the host that are put inside before the first device of the pool, such as an adbkey.",
    ),
    Key(
        "leases_file",
        "text",
        "A file inside that says which devices of the pool the instance has, as JSON: /run/phones.json.",
        text=validate_pools.inside,
        json=validate_pools.PATH_JSON,
    ),
    Key(
        "flap",
        "flap",
        "How often a device may be plugged in, and within what time; one that is more often is quarantined.",
    ),
)
"""Keys of a pool."""

FILE: Final = (
    Key(
        "source",
        "text",
        "The file's path on the host. It has to be root's, no link, and 64 KB at most.",
        text=validate_pools.source,
        json=validate_pools.PATH_JSON,
        required=True,
    ),
    Key(
        "path",
        "text",
        "Where it is inside.",
        text=validate_pools.inside,
        json=validate_pools.PATH_JSON,
        required=True,
    ),
    Key("uid", "text", "The owner's number inside, if not 0.", text=validate.uid, json=validate.NUMBER_JSON),
    Key("gid", "text", "The group's number inside, if not 0.", text=validate.gid, json=validate.NUMBER_JSON),
    Key(
        "mode",
        "text",
        'Permissions in octal. Left out, they are "0600".',
        text=validate.mode,
        json=validate.MODE_JSON,
    ),
)
"""Keys of an item of `files`."""

FLAP: Final = (
    Key(
        "count",
        "text",
        "So many times: one more is too often.",
        text=validate_pools.flap_count,
        json=validate_pools.NUMBER_JSON,
        required=True,
    ),
    Key(
        "within",
        "text",
        "In so much time, from 1s to 1h.",
        text=validate_pools.flap_within,
        json=validate_pools.SPAN_JSON,
        required=True,
    ),
)
"""Keys of `flap`."""


def ready_keys(registry: Sequence[MatchKey]) -> tuple[Key, ...]:
    """Keys of `ready`, with the match keys that templates may name."""
    return (
        Key(
            "command",
            "texts",
            "The program and its words, each of which may be a template. No shell reads them.",
            text=partial(validate_pools.word, keys=registry),
            required=True,
        ),
        Key(
            "within",
            "text",
            "A device that is not ready for so long is bad. Left out, it is 60s.",
            text=validate_pools.ready_within,
            json=validate_pools.SPAN_JSON,
        ),
        Key(
            "every",
            "text",
            "How often one that is not ready is looked at. Left out, it is 10s.",
            text=validate_pools.ready_every,
            json=validate_pools.SPAN_JSON,
        ),
        Key(
            "timeout",
            "text",
            "The command is killed after so long. Left out, it is 5s.",
            text=validate_pools.ready_timeout,
            json=validate_pools.SPAN_JSON,
        ),
    )
