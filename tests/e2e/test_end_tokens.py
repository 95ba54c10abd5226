"""A model with two end tokens, which writes the second, stops in TRL's trainer. test_eval.py has `eval`'s answers.

The quickstart's model ends its answers with <|im_end|>. Here its tokenizer's EOS token is one that it never writes.
"""

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.evaluate.answers import AnswerJob
from axolotl_grpo_plugin.evaluate.rows import Question
from axolotl_grpo_plugin.evaluate.sampling import Sampling
from tests.conftest import MODEL, Later
from tests.e2e.scripted import trainer_of

end_tokens = Later("axolotl_grpo_plugin.repairs.end_tokens")

EOS, END, LIMIT = 1, 2, 24  # <|im_start|>, <|im_end|>, and tokens per completion
ROWS = [{"prompt": [{"role": "user", "content": "What is 2 + 2?"}]}] * 8
REWARD = "axolotl_grpo_plugin.rewards.gsm8k.int_reward_func"


@pytest.fixture
def trainer(tmp_path):
    """Make trainers with the repair. declared: the end tokens of the model. base: a class that comes after it."""
    from axolotl_grpo_plugin.scoring.dead_groups import DeadGroups
    from axolotl_grpo_plugin.scoring.rollout_log import LoggedRollouts, RolloutLog
    from axolotl_grpo_plugin.scoring.runner import RewardRunner

    runner = RewardRunner(Config({"trl": {"reward_funcs": [REWARD]}}))

    def make(declared=END, base=(), **keys):
        class Trainer(LoggedRollouts, DeadGroups, end_tokens.EndTokens, *base):
            reward_runner = runner
            rollout_log = RolloutLog(tmp_path)
            cfg = Config(keys)

            def __init__(self, model, *arguments, **options):
                model.generation_config.eos_token_id = declared
                super().__init__(model, *arguments, **options)

        return trainer_of(
            MODEL,
            [runner.reward_func(REWARD)],
            ROWS,
            eos="<|im_start|>",
            kind=Trainer,
            output_dir=str(tmp_path),
            per_device_train_batch_size=8,
            max_completion_length=LIMIT,
            mask_truncated_completions=True,
        )

    yield make
    runner.close()


@pytest.mark.parametrize(
    "declared, limit",
    [([EOS, END], LIMIT), (END, 7), (EOS, LIMIT)],  # the last one leaves it to the chat template
)
def test_training_stops_at_the_first_end_token(trainer, tmp_path, declared, limit):
    import pandas as pd

    made = trainer(declared)
    made.generation_config.max_new_tokens, passes = limit, []
    made.model.register_forward_pre_hook(lambda *_: passes.append(1))
    batch = made._generate_and_score_completions(ROWS)
    is_end = batch["completion_ids"] == END
    cut, lengths = ~is_end.any(dim=1), is_end.int().argmax(dim=1) + 1
    assert batch["completion_mask"].sum(dim=1).equal(lengths * ~cut)
    assert made._metrics["train"]["completions/clipped_ratio"] == [cut.float().mean()]
    assert pd.read_parquet(tmp_path / "train")["truncated"].tolist() == cut.tolist()
    assert cut.any() == (limit == 7) and not cut.all()
    assert len(passes) == is_end.shape[1] < LIMIT  # the generation itself stops


def test_training_asks_vllm_to_stop_at_each_end_token(trainer):
    from trl import GRPOTrainer

    class WithVllm(GRPOTrainer):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.use_vllm, self.vllm_generation = True, SimpleNamespace(generation_kwargs={"seed": 3})

    made = trainer(base=[WithVllm], grpo_trl_args={"generation_kwargs": {"stop_token_ids": [9]}})
    assert made.vllm_generation.generation_kwargs == {"seed": 3, "stop_token_ids": [EOS, END, 9]}


def test_answers_of_tools_begin_where_they_did(trainer):
    """TRL cuts chats at the tokenizer's own token. Another end token may begin a turn, as GLM's <|user|> does."""
    answer = [{"role": "tool", "name": "add", "content": "4"}]
    expected = trainer_of(MODEL, [len], ROWS, eos="<|im_start|>")._get_tool_suffix_ids(answer)
    assert trainer()._get_tool_suffix_ids(answer) == expected


def test_vllms_server_is_asked_to_stop_at_each_end_token(tmp_path):
    from axolotl_grpo_plugin.evaluate.vllm import VllmBackend

    client = MagicMock()
    job = AnswerJob(Question("rows", 0, {}, {}, "", []), Sampling(ends=(EOS, END)), 0, "vllm", "key")
    model = MagicMock(adapter=None)
    VllmBackend(Config({}), [model], tmp_path, None, 99)._complete(client, job)
    assert client.completions.create.call_args.kwargs["extra_body"]["stop_token_ids"] == (EOS, END)
