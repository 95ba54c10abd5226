"""The metrics of batches that Axolotl's trainer generates beside the steps. tests/e2e/test_data_producer.py trains."""

from collections import defaultdict
from types import SimpleNamespace

import pytest

from tests.conftest import Later

torch = Later("torch")
SCORES = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [float("nan"), 1.0]]


@pytest.fixture
def trainer():
    from trl import GRPOTrainer

    from axolotl_grpo_plugin.repairs.data_producer import DataProducerRepair

    class AsyncTrainer(GRPOTrainer):
        """Stands for Axolotl's: it logs sums without weights, and counts tokens when it generates and scores."""

        def __init__(self):
            self.reward_weights = torch.tensor([0.5, 0.25])
            self.state = SimpleNamespace(num_input_tokens_seen=100)
            self._metrics = {"train": defaultdict(list), "eval": defaultdict(list)}

        def _generate_only(self, inputs, rank0_only=False):
            if not rank0_only:
                self.state.num_input_tokens_seen += 12
                self._metrics["train"]["completions/mean_length"].append(2.0)
            rollout = {"prompt_mask": torch.tensor([[0, 1], [1, 1], [0, 1], [0, 1]])}
            return rollout | {"_deferred_completion_ids_list": [[7], [7], [7, 7, 7], [7, 2]]}

        def _score(self, scores):
            self._post_advantage_hook({}, torch.tensor(scores), torch.zeros(len(scores)))
            self._metrics["train"]["reward"].append(9.0)
            self._metrics["train"]["reward_std"].append(9.0)

        def _compute_deferred_scores(self, rollout):
            self._score(SCORES)
            self._end()
            return {"num_items_in_batch": 7}

        def _score_streaming(self, rollout):
            self._score(SCORES[:2])
            self._score(SCORES[2:])
            self._end()

        def _end(self):
            self.state.num_input_tokens_seen += 12
            self._metrics["train"]["completions/mean_length"].append(1.9)  # without masked completions

        def _post_advantage_hook(self, *_, **__):
            pass

    class Trainer(DataProducerRepair, AsyncTrainer):
        pass

    return Trainer()


@pytest.mark.parametrize("rank0_only", [False, True])
def test_batch_counts_when_it_is_scored_and_with_the_weights_of_its_rewards(trainer, rank0_only):
    trainer._metrics["train"]["reward"] = [0.5]  # of the step before
    first = trainer._generate_only([], rank0_only)
    trainer._generate_only([], rank0_only)
    assert trainer.state.num_input_tokens_seen == 100
    assert trainer._metrics["train"] == {"reward": [0.5]}
    trainer._compute_deferred_scores(first)
    metrics = trainer._metrics["train"]
    assert trainer.state.num_input_tokens_seen == 100 + 5 + 7
    assert metrics["num_tokens"] == [112]
    assert metrics["completions/mean_length"] == [1.9 if rank0_only else 2.0]
    assert metrics["reward"] == pytest.approx([0.5, (0.5 + 0.25 + 0.75 + 0.25) / 4])
    assert metrics["reward_std"] == pytest.approx([torch.tensor([0.5, 0.25, 0.75, 0.25]).std().item()])


def test_chunks_have_a_reward_each(trainer):
    trainer._score_streaming(trainer._generate_only([]))
    assert trainer._metrics["train"]["reward"] == pytest.approx([(0.5 + 0.25) / 2, (0.75 + 0.25) / 2])
    assert trainer._metrics["train"]["num_tokens"] == [112]
