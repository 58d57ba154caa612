"""All targets: what they are, what they start from, and which part of all cases each gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.fuzz import claims, files, heard, orders, said, server, sockets, text, things


@dataclass(frozen=True, slots=True)
class Target:
    """seeds: where to start from. share: of all cases, in percent. words: what is worth putting in."""

    run: Callable[[bytes], None]
    share: int
    seeds: Sequence[bytes] = ()
    words: Sequence[str] = ()


def _some(count: int) -> tuple[bytes, ...]:
    """Bytes for those that make choices of them: any will do, always the same."""
    random = Random(7)
    return tuple(random.randbytes(random.choice((40, 120, 300))) for _ in range(count))


TARGETS: Final[dict[str, Target]] = {
    "rule-bytes": Target(text.rule_bytes, 4, text.RULE_SEEDS, text.WORDS),
    "rule-words": Target(text.rule_words, 2, _some(20)),
    "config": Target(text.config_bytes, 5, (*text.CONFIG_SEEDS, *(b"\xff" + each for each in _some(10)))),
    "devices": Target(things.devices, 2, _some(40)),
    "device-bytes": Target(heard.device_bytes, 2, _some(40)),
    "plans": Target(things.plans, 4, _some(40)),
    "uevents": Target(things.uevents, 12, _some(20)),
    "answers": Target(server.answers, 2, _some(40)),
    "events": Target(server.events, 10, server.EVENT_SEEDS),
    "control-requests": Target(sockets.requests, 3, sockets.REQUEST_SEEDS),
    "control-replies": Target(sockets.replies, 3, sockets.REPLY_SEEDS),
    "injections": Target(sockets.injections, 3, _some(20)),
    "users": Target(sockets.users, 3, sockets.USER_SEEDS),
    "log": Target(said.log, 3, _some(20)),
    "claims": Target(claims.claims, 13, _some(40)),
    "leases": Target(claims.leases, 4, _some(40)),
    "selectors": Target(claims.selectors, 10, _some(40)),
    "hubs": Target(files.hubs, 2, _some(40)),
    "hooks": Target(files.hooks, 2, files.HOOK_SEEDS),
    "rule-tests": Target(files.rule_tests, 2, _some(40)),
    "records": Target(files.records, 1, _some(40)),
    "state-file": Target(files.state, 2, files.STATE_SEEDS),
    "cursors": Target(orders.cursors, 5, _some(40)),
    "orders": Target(orders.orders, 1, _some(40)),
}
