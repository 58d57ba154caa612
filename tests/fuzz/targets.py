"""All targets: what they are, what they start from, and which part of all cases each gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.fuzz import heard, said, server, sockets, text, things


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
    "rule-bytes": Target(text.rule_bytes, 15, text.RULE_SEEDS, text.WORDS),
    "rule-words": Target(text.rule_words, 4, _some(20)),
    "config": Target(text.config_bytes, 6, (*text.CONFIG_SEEDS, *(b"\xff" + each for each in _some(10)))),
    "devices": Target(things.devices, 8, _some(40)),
    "device-bytes": Target(heard.device_bytes, 6, _some(40)),
    "plans": Target(things.plans, 12, _some(40)),
    "uevents": Target(things.uevents, 12, _some(20)),
    "answers": Target(server.answers, 4, _some(40)),
    "events": Target(server.events, 10, server.EVENT_SEEDS),
    "control-requests": Target(sockets.requests, 6, sockets.REQUEST_SEEDS),
    "control-replies": Target(sockets.replies, 6, sockets.REPLY_SEEDS),
    "injections": Target(sockets.injections, 4, _some(20)),
    "users": Target(sockets.users, 3, sockets.USER_SEEDS),
    "log": Target(said.log, 4, _some(20)),
}
