"""`torchrun --nproc-per-node 2 scoring_on_ranks.py FOLDER`: run the reward runner in TRL's trainer.

Axolotl itself cannot run two ranks on a CPU. The completions are fixed (TRL's `rollout_func`),
because the test is about their rewards. One run has plain rewards and TRL's own completions.
"""

import json
import os
import sys
from pathlib import Path

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.rewards import gsm8k as rewards_of_gsm8k
from axolotl_grpo_plugin.scoring.dead_groups import DeadGroups
from axolotl_grpo_plugin.scoring.rollout_log import LoggedRollouts, RolloutLog
from axolotl_grpo_plugin.scoring.runner import RewardRunner
from axolotl_grpo_plugin.training.dynamic_sampling import DynamicSampling, SamplingSettings
from axolotl_grpo_plugin.transforms.gsm8k import gsm8k

OUT = Path(sys.argv[1])
RANK = int(os.environ["RANK"])
QUICKSTART = Path(__file__).parents[2] / "axolotl_grpo_plugin" / "quickstart"
MODEL = QUICKSTART / "model"
HERE = "tests.scoring.rewards_that_fail"
FORMAT = "axolotl_grpo_plugin.rewards.gsm8k.int_reward_func"

tokenizer = AutoTokenizer.from_pretrained(MODEL)
RIGHT = "<answer>18</answer>"
HANGS_ON = f"hang {RIGHT}"
ROWS = [{"prompt": "18?", "answer": RIGHT}] * 8


class Trainer(LoggedRollouts, DynamicSampling, DeadGroups):
    """The methods of a training that the ranks must agree on."""


def trainer_of(name, rewards, rows, batch, rollout=None, kind=GRPOTrainer, **more):
    """Return a trainer of the quickstart's model, with groups of four over all ranks."""
    args = GRPOConfig(
        output_dir=str(OUT / name),
        per_device_train_batch_size=batch,
        num_generations=4,
        max_completion_length=32,
        shuffle_dataset=False,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
        **more,
    )
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype="float32")
    return kind(model, rewards, args, rows, processing_class=tokenizer, rollout_func=rollout)


def train(name, texts, rewards, steps=1, aggregation="sum_then_normalize", rows=ROWS, size=None, **keys):
    """Train with `texts` as this rank's completions, in groups of four over all ranks.

    texts: also a function of a prompt and its place over all ranks. Then size is the batch of this rank.

    With dynamic sampling, the result has the rows' scores, and the batches that TRL trains on.
    """

    def rollout(prompts, trainer):
        places = range(RANK * len(prompts), (RANK + 1) * len(prompts))
        answers = [texts(*asked) for asked in zip(prompts, places, strict=True)] if callable(texts) else texts
        ids = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in answers]
        prompt_ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
        return {"prompt_ids": prompt_ids, "completion_ids": ids, "logprobs": None}

    cfg = {
        "trl": {"reward_funcs": rewards},
        "output_dir": str(OUT / name),
        "grpo_rollouts": True,
        "grpo_reward_timeout": 0.5,
        **keys,
    }
    runner = RewardRunner(Config(cfg))
    of_run = {
        "reward_runner": runner,
        "rollout_log": RolloutLog.of(Config(cfg)),
        "sampling": SamplingSettings.of(Config(cfg)),
    }
    trainer = trainer_of(
        name,
        [runner.reward_func(key) for key in rewards],
        Dataset.from_list(rows),
        size or len(texts),
        rollout,
        kind=type("Trainer", (Trainer,), of_run),
        max_steps=steps,
        multi_objective_aggregation=aggregation,
    )
    more = {}
    if keys.get("grpo_dynamic_sampling"):
        more["batches"] = record_batches(trainer)
    stopped = ""
    try:
        trainer.train()
    except SystemExit as error:
        stopped = str(error)
    finally:
        runner.close()
    result = {"log": trainer.state.log_history[:steps], "stopped": stopped, **more}
    (OUT / f"{name}-{RANK}.json").write_text(json.dumps(result))


def record_batches(trainer):
    """Return a list that will hold prompt, completion and advantage of each row, per batch."""
    batches, generate = [], trainer._generate_and_score_completions

    def recorded(inputs):
        batch = generate(inputs)
        columns = (batch[name] for name in ("prompt_ids", "completion_ids"))
        texts = (tokenizer.batch_decode(ids, skip_special_tokens=True) for ids in columns)
        batches.append([*zip(*texts, batch["advantages"].tolist(), strict=True)])
        return batch

    trainer._generate_and_score_completions = recorded
    return batches


# Four right completions; the reward hangs on one.
ONE_HANGS = [RIGHT, HANGS_ON if RANK else RIGHT]
HANGS = f"{HERE}.right_unless_it_hangs"
train("neutral", ONE_HANGS, [HANGS, FORMAT], grpo_reward_error_limit=1.0)
train("gdpo", ONE_HANGS, [HANGS, FORMAT], aggregation="normalize_then_sum", grpo_reward_error_limit=1.0)
# Half of the group fails, only on rank 1: both ranks stop.
train("stopped", [HANGS_ON] * 2 if RANK else [RIGHT] * 2, [HANGS], steps=3)

# Each rank has one group, of its own source. In the second step rank 1 has no source, in the third
# rank 0, in the fourth neither.
ROUTED = "axolotl_grpo_plugin.rewards.dispatch.dispatch"
SHORT = "axolotl_grpo_plugin.rewards.shaping.kimi_length"
SOURCES = ["sums", "more/of them", "sums", None, None, "sums", None, None]
WORDS = [f"{'so ' * count}{RIGHT}" for count in range(1, 5)]
LONGER = [f"{'so ' * count}{RIGHT}" for count in range(5, 8)] + ["so " * 20]
train(
    "sources",
    LONGER if RANK else WORDS,
    [ROUTED, SHORT],
    steps=4,
    rows=[{"prompt": f"{number}?", "answer": "18", "data_source": source} for number, source in enumerate(SOURCES)],
    grpo_reward_args={
        ROUTED: {"routes": {"sums": FORMAT, "more*": FORMAT}},
        SHORT: {"by": "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"},
    },
)


def answer(prompt, place):
    """Return a right answer for an even number, and else in one place of each group."""
    return RIGHT if int(prompt[:-1]) % 2 == 0 or place % 4 == 1 else "so so no"


# Three groups of four on two ranks, so that the second lies on both. Only odd prompts are live.
train(
    "sampling",
    answer,
    ["axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"],
    steps=4,
    rows=[{"prompt": f"{number**3}?", "answer": "18"} for number in range(40)],
    size=6,
    grpo_dynamic_sampling=True,
)

# Rewards and a transform without the runner. Nothing here needs Axolotl.
transform, how = gsm8k({})
problems = Dataset.from_json(str(QUICKSTART / "train.jsonl"))
problems = problems.map(transform, fn_kwargs={"tokenizer": tokenizer}, **how)
plain = [rewards_of_gsm8k.correctness_reward_func, rewards_of_gsm8k.strict_format_reward_func]
alone = trainer_of("plain", plain, problems, 16, max_steps=1)
alone.train()
result = {"log": alone.state.log_history[:1], "imported": "axolotl" in sys.modules}
(OUT / f"plain-{RANK}.json").write_text(json.dumps(result))
