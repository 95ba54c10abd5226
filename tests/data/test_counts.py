import pytest
from hypothesis import given
from hypothesis import strategies as st

from axolotl_grpo_plugin.data.counts import SHARES, Lengths


@given(st.lists(st.integers(0, 50), min_size=1))
def test_percentile_is_a_length_that_occurs(lengths):
    counted = Lengths(lengths)
    for share in SHARES:
        found = counted.at(share)
        assert found in lengths
        assert sum(length <= found for length in lengths) >= share * len(lengths)
        assert sum(length < found for length in lengths) < share * len(lengths)


def test_percentile_has_no_rounding_error():
    hundred = Lengths(range(1, 101))
    assert [hundred.at(share) for share in (0.07, 0.5, 0.95, 0.99, 0.999, 1.0)] == [*(7, 50, 95, 99, 100, 100)]


def test_reports_least_most_over_and_sum():
    counted = Lengths([3, 3, 8])
    counted.add([5])
    assert (counted.rows, counted.most) == (4, 8)
    assert [counted.over(limit) for limit in (2, 3, 5, 8)] == [4, 2, 1, 0]


def test_percentile_without_lengths_raises():
    with pytest.raises(ValueError, match="no lengths"):
        Lengths().at(0.5)
