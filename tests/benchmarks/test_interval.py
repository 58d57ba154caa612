from statistics import median

from benchmarks.interval import interval, told


def of(ours: list[float], others: list[float]) -> tuple[float, float]:
    return interval(lambda these, those: median(these) / median(those), ours, others)


def test_the_same_values_have_no_doubt_about_their_ratio() -> None:
    assert of([2.0] * 10, [1.0] * 10) == (2, 2)


def test_values_that_differ_have_a_ratio_between_the_bounds() -> None:
    low, high = of([10 + each % 7 for each in range(100)], [10 + each % 5 for each in range(100)])
    assert low < 13 / 12 <= high
    assert low > 0.9
    assert high < 1.2


def test_the_bounds_in_words() -> None:
    assert told((1.0234, 1.2)) == "95 %: 1.02 to 1.2"
