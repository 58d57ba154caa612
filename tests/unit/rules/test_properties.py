from __future__ import annotations

import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotplugd.model.values import Device
from hotplugd.rulefile.load import Loaded, parse
from hotplugd.rules.match import unmet
from hotplugd.rules.ruleset import Decision, RuleSet
from tests.unit.devices import EVERY, tty, usb
from tests.unit.rulefile.golden import BAD, GOOD

TEXTS = st.sampled_from([each.read_bytes() for each in (*GOOD, *BAD)])
WORDS = "rules: hubs: name: match: attach: to: path: ports: location: serial any not parent 0403 a é"
MARKS = [
    "\n",
    "  ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    ": ",
    "'",
    '"',
    "*a",
    "&a ",
    "!!str ",
    "<<",
    "~",
    "|",
    ">",
]
PIECES = st.sampled_from([*WORDS.split(), *MARKS, "---", "#", "\t", "\0", "?"])
# Few values, so that rules and devices often have the same.
VALUES = ["a", "b", "0403", "1-4", "18d1"]
PATTERNS = st.sampled_from(["a", "b", "a*", "*", "?", "a|b", "[ab]", "0403"])
NUMBERS = st.sampled_from(["0403", "18d1", "04*", "*", "????"])


def quoted(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    one = strategy.map(lambda text: f"'{text}'")
    return st.one_of(one, st.lists(one, min_size=1, max_size=2).map(lambda each: f"[{', '.join(each)}]"))


KEYS = st.one_of(
    st.tuples(st.sampled_from(["serial", "kernel", "driver"]), quoted(PATTERNS)),
    st.tuples(
        st.just("port"), quoted(st.sampled_from(["1-4.2", "1-*", "*.2", "?-4*", "1-[24]", "2-1", "*"]))
    ),
    st.tuples(st.sampled_from(["vendor_id", "product_id"]), quoted(NUMBERS)),
    st.tuples(st.just("id"), quoted(st.sampled_from(["0403:18d1", "18d1:0403", "*", "0403:*"]))),
    st.tuples(st.just("subsystem"), quoted(st.sampled_from(["usb", "tty", "block", "*"]))),
    st.tuples(st.just("property"), quoted(PATTERNS).map(lambda value: f"{{P: {value}}}")),
)


def mapping(keys: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in dict(keys).items()) + "}"


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    more = st.one_of(
        st.tuples(st.sampled_from(["not", "parent"]), inner),
        st.tuples(
            st.just("any"), st.lists(inner, min_size=1, max_size=3).map(lambda each: f"[{', '.join(each)}]")
        ),
    )
    return st.lists(st.one_of(KEYS, more), min_size=1, max_size=3).map(mapping)


MATCHES = st.recursive(st.lists(KEYS, min_size=1, max_size=3).map(mapping), nested, max_leaves=6)


def loaded(matches: list[str]) -> Loaded:
    found = parse(
        "rules:\n"
        + "".join(
            f"  - {{name: r{number}, match: {match}, ignore: true}}\n" for number, match in enumerate(matches)
        ),
        "x",
    )
    assert not found.errors, found.errors[0].render()
    return found


def devices() -> st.SearchStrategy[Device]:
    value = st.sampled_from(["", *VALUES])
    number = st.sampled_from(["0403", "18d1", ""])
    made = st.builds(
        lambda port, vendor, product, serial, peer, own: usb(
            port, vendor, product, serial, attrs={"peer": peer}, properties={"P": own}
        ),
        st.sampled_from(VALUES),
        number,
        number,
        value,
        value,
        value,
    )
    return st.one_of(made, st.builds(tty, made, st.sampled_from(VALUES)), st.sampled_from(EVERY))


def first(rules: RuleSet, device: Device) -> str:
    return next((rule.name for rule in rules.rules if unmet(rule.match, device) is None), "")


@given(st.binary(max_size=300))
def test_no_bytes_make_parsing_raise(raw: bytes) -> None:
    for each in parse(raw, "x").diagnostics:
        each.render()


# The limit is the test's own, of processor time: others on the machine take the rest.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(TEXTS, st.data())
def test_no_broken_file_makes_parsing_raise_or_wait(raw: bytes, data: st.DataObject) -> None:
    raw = raw[:4000]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw)))
        piece = data.draw(PIECES).encode()
        raw = raw[:at] + piece + raw[at + data.draw(st.integers(0, 3)) :]
    started = time.process_time()
    shown = "\n".join(each.render() for each in parse(raw, "x").diagnostics)
    assert time.process_time() - started < 2
    assert all(line.isprintable() for line in shown.split("\n") if line.isascii())


@given(st.lists(PIECES, max_size=40).map("".join))
def test_no_text_makes_parsing_raise(text: str) -> None:
    for each in parse(text, "x").diagnostics:
        shown = each.render()
        assert each.line >= 1
        assert each.column >= 1
        assert "\x1b" not in shown


@given(st.lists(MATCHES, min_size=1, max_size=6), devices())
def test_the_index_changes_no_decision(matches: list[str], device: Device) -> None:
    rules = loaded(matches).rules
    decided = rules.decide(device)
    assert (decided.rule.name if decided is not None else "") == first(rules, device)


@given(st.lists(MATCHES, min_size=1, max_size=6), devices())
def test_explaining_decides_the_same(matches: list[str], device: Device) -> None:
    rules = loaded(matches).rules
    verdicts = rules.explain(device)
    decided = rules.decide(device)
    assert [each.rule for each in verdicts if each.failed is None] == ([decided.rule] if decided else [])
    assert len(verdicts) == len(rules.rules) or verdicts[-1].failed is None


@given(st.lists(MATCHES, min_size=1, max_size=4), devices())
def test_a_rule_that_can_never_match_never_decides(matches: list[str], device: Device) -> None:
    found = loaded(matches)
    warned = [each.message.split("'")[1] for each in found.diagnostics if "can never" in each.message]
    decided = found.rules.decide(device)
    assert decided is None or decided.rule.name not in warned


def test_many_rules_cost_what_few_do() -> None:
    def cost(count: int, key: str) -> float:
        values = [f"{n:04x}:0001" if key == "id" else f"S{n}" for n in range(count)]
        rules = loaded([f"{{{key}: '{value}'}}" for value in values]).rules
        device = usb(vendor=f"{count - 1:04x}", product="0001", serial=f"S{count - 1}")
        assert rules.decide(device) == Decision(rules.rules[-1])
        best = 9.0
        for _ in range(20):
            started = time.perf_counter()
            for _ in range(100):
                rules.decide(device)
            best = min(best, time.perf_counter() - started)
        return best

    for key in ("serial", "id"):
        assert cost(10_000, key) <= 2 * cost(100, key)
