import pytest

from tools.countdown_problems import Kind, splits


def test_splits_share_no_numbers_in_any_order():
    kind = Kind(sizes=(2, 3), largest=20, operators="+-*/", targets=range(1, 50))
    train, test = splits(kind, seed=5, train=300, test=100)
    assert (len(train), len(test)) == (300, 100)
    for problems in (train, test):
        assert len({(problem.nums, problem.target) for problem in problems}) == len(problems)
        assert {len(problem.nums) for problem in problems} == {2, 3}
        assert all(problem.target in kind.targets for problem in problems)
        assert all(1 <= number <= 20 for problem in problems for number in problem.nums)
    numbers = [{tuple(sorted(problem.nums)) for problem in split} for split in (train, test)]
    assert not numbers[0] & numbers[1]
    assert splits(kind, seed=5, train=300, test=100) == (train, test)
    assert splits(kind, seed=6, train=300, test=100) != (train, test)


def test_refuses_more_problems_than_the_kind_has():
    kind = Kind(sizes=(2,), largest=3, operators="+", targets=range(1, 10))
    with pytest.raises(ValueError, match="fewer than 50 different problems"):
        splits(kind, seed=0, train=50, test=1)
