import math

import pytest

from tests.conftest import Later

batch, torch = Later("axolotl_grpo_plugin.scoring.batch"), Later("torch")

NAN = math.nan


@pytest.mark.parametrize(
    "scores, filled",
    [
        ([2.0, 2.0, 2.0, NAN], [2.0, 2.0, 2.0, 2.0]),
        ([2.0, 0.0, 2.0, NAN], [2.0, 0.0, 2.0, 4 / 3]),
        ([2.0, 0.0, 2.0, math.inf], [2.0, 0.0, 2.0, 4 / 3]),
        ([NAN] * 4, [NAN] * 4),
        ([1.0, 0.0, 0.5, 0.0], [1.0, 0.0, 0.5, 0.0]),
    ],
)
def test_failed_score_is_the_mean_of_its_function_and_group(scores, filled):
    other_group, other_function = [5.0] * 4, [7.0] * 8
    table = torch.tensor([scores + other_group, other_function]).T
    expected = torch.tensor([filled + other_group, other_function]).T
    assert torch.allclose(batch.fill_missing_scores(table, 4), expected, equal_nan=True)
