"""What a server tells of without end makes no question for each, and no listing for each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Container, Iterable

import pytest
import structlog
from structlog.testing import LogCapture

from hotplugd.app import instance_listing as module
from hotplugd.app.session import Session
from hotplugd.app.settings import Config
from hotplugd.model.values import Instance, InstanceName
from hotplugd.rules.ruleset import RuleSet
from hotplugd.server.events import START_FAILED, Lifecycle, meaning
from tests.unit.reconcile.scripted_leases import no_leases

_SOME = 100


def run(work: Callable[[Session], Awaitable[None]]) -> None:
    """Have a session, whose server is away, hear something."""

    async def main() -> None:
        log = structlog.wrap_logger(None, processors=[LogCapture()])
        session = Session("/nowhere", RuleSet(()), log, Config(udev_rules=None), no_leases(), dry_run=True)
        try:
            await work(session)
        finally:
            session.reconciler.close()

    asyncio.run(main())


def name(number: int) -> InstanceName:
    return InstanceName("default", f"c{number}")


@pytest.mark.parametrize(
    "action", ["instance-started", "instance-updated", "instance-migrated", START_FAILED]
)
def test_of_many_strangers_all_are_listed(action: str) -> None:
    async def work(session: Session) -> None:
        for number in range(_SOME):
            await session._happened(Lifecycle(action, name(number)))
        assert not session._listing._due.is_set()
        for number in range(_SOME, 2000):
            await session._happened(Lifecycle(action, name(number)))
        assert session._listing._due.is_set()
        assert sum(session.reconciler.knows(name(number)) for number in range(2000)) <= _SOME + 20

    run(work)


def test_of_those_that_are_known_each_is_asked_for() -> None:
    async def work(session: Session) -> None:
        for _ in range(20):
            for number in range(_SOME):
                await session._happened(Lifecycle("instance-started", name(number)))
        assert not session._listing._due.is_set()

    run(work)


def test_listings_have_a_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LISTINGS", (3, 60.0))

    async def work(session: Session) -> None:
        listed = 0

        async def count(_: Collection[str]) -> None:
            nonlocal listed
            listed += 1
            await session._happened(Lifecycle("profile-updated", None))

        monkeypatch.setattr(session._listing, "list_now", count)
        await session._happened(Lifecycle("profile-updated", None))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await session._listing.run()
        # And once more; the next one is due in a minute.
        assert listed == 4

    run(work)


def test_a_listing_of_some_projects_does_not_put_off_that_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(session: Session) -> None:
        async def listed(_: Collection[str]) -> list[Instance]:
            return []

        monkeypatch.setattr(session._lxd, "list", listed)
        monkeypatch.setattr(module, "_trim", lambda: None)
        session._lxd.unlisted = {"slow": "it takes long"}
        await session._listing.list_now()
        again = session._listing._unlisted_alarm
        assert again is not None
        for _ in range(9):
            await session._listing.list_now({"lab"})
        assert session._listing._unlisted_alarm is again
        assert not again.cancelled()
        session._lxd.unlisted = {}
        await session._listing.list_now({"slow"})
        assert again.cancelled()

    run(work)


def test_listings_are_taken_in_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(session: Session) -> None:
        under_way, said, trims = 0, list[float](), 0

        async def listed(_: Collection[str]) -> list[Instance]:
            return []

        async def taken(
            _: Iterable[Instance], asked: float, unlisted: Container[str], __: Collection[str]
        ) -> None:
            nonlocal under_way
            assert under_way == 0
            assert unlisted == {}
            under_way += 1
            said.append(asked)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            under_way -= 1

        def trim() -> None:
            nonlocal trims
            trims += 1

        monkeypatch.setattr(session._lxd, "list", listed)
        monkeypatch.setattr(session.reconciler, "listed_instances", taken)
        monkeypatch.setattr(module, "_trim", trim)
        await asyncio.gather(*(session._listing.list_now() for _ in range(9)))
        # Each was asked for after the one before.
        assert said == sorted(set(said))
        assert len(said) == 9
        # What a listing leaves behind is looked for now and then alone: that takes long.
        assert trims == 2

    run(work)


_PROFILE = '{{"type":"lifecycle","metadata":{{"action":"profile-updated","source":"/1.0/profiles/x{}"}}}}'


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["?project=evil"], {"evil"}),
        (["?project=evil", "?project=evil2", "?project=evil"], {"evil", "evil2"}),
        # Of the default project's, instances of others may have them.
        ([""], set()),
        (["?project=default"], set()),
        (["?project=evil", "", "?project=evil"], set()),
    ],
)
def test_a_profile_concerns_its_project_alone(
    monkeypatch: pytest.MonkeyPatch, sources: list[str], expected: set[str]
) -> None:
    async def work(session: Session) -> None:
        asked: list[set[str]] = []

        async def note(only: Collection[str]) -> None:
            asked.append(set(only))

        monkeypatch.setattr(session._listing, "list_now", note)
        for source in sources:
            for happened in meaning(_PROFILE.format(source)):
                await session._happened(happened)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await session._listing.run()
        assert asked == [expected]

    run(work)
