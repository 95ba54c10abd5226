"""Guarded tools give TRL's own trainer the numbers that the same tools give without a guard."""

import json

import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.runlog.reader import chat
from tests.environments import tools_that_fail as tools

PATH = "tests.environments.tools_that_fail."


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The batch of a trainer with plain tools, and of one with guards; the latter's metrics and log."""
    import pandas as pd
    import torch

    from axolotl_grpo_plugin.environments.run_tools import Tools
    from axolotl_grpo_plugin.environments.tool_use import ToolUse
    from axolotl_grpo_plugin.scoring.dead_groups import DeadGroups
    from axolotl_grpo_plugin.scoring.rollout_log import LoggedRollouts, RolloutLog
    from axolotl_grpo_plugin.scoring.runner import RewardRunner
    from tests.e2e.scripted import call, has_answer, make_model, rows, trainer_of, write_scripted

    folder = tmp_path_factory.mktemp("tiny")
    make_model(folder)
    wrong = call("add", a=1, c=2)
    turns = [
        [[call("add", a=20, b=22), "7"], "It is {}"],  # the second completion guesses
        [[call("fail", how="raise") + call("add", a=1, b=1), wrong], "It said {}", "more"],
        [["No tool", "<tool_call>\n{broken\n</tool_call>"], "-"],
        [[call("no_such_tool", a=1), call("add", a=3, b=4)], call("add", a=5, b=6), ["It is {}", "{}"]],
    ]
    answers = ["42", "2", "tool", "11"]
    transform, _ = rows({})
    data = [transform({"turns": json.dumps(t), "answer": a}) for t, a in zip(turns, answers, strict=True)]
    reward = "tests.e2e.scripted.has_answer"
    cfg = {"trl": {"reward_funcs": [reward]}, "grpo_reward_isolation": "inline"}
    runner = RewardRunner(Config(cfg))
    guard = Tools(Config({"grpo_tools": [PATH + "add", PATH + "fail"]}))

    class Trainer(LoggedRollouts, DeadGroups, ToolUse):
        reward_runner = runner
        rollout_log = RolloutLog(folder / "log")
        guarded_tools = guard

    def batch(reward, given=None, kind=None):
        trainer = trainer_of(
            folder,
            [reward],
            data,
            given,
            kind=kind,
            output_dir=str(folder / "out"),
            per_device_train_batch_size=8,
            num_generations=2,
            num_iterations=2,  # so that TRL computes the log-probabilities
            max_completion_length=400,
        )
        write_scripted(trainer)
        with torch.no_grad():
            output = trainer._generate_and_score_completions([r for r in data for _ in range(2)])
        return output, dict(trainer._metrics["train"])

    try:
        plain, _ = batch(has_answer, [tools.add, tools.fail])
        guarded, metrics = batch(runner.reward_func(reward), kind=Trainer)
    finally:
        guard.close()
    return plain, guarded, metrics, pd.read_parquet(folder / "log")


@pytest.mark.parametrize(
    "name", ["prompt_ids", "completion_ids", "completion_mask", "tool_mask", "advantages", "old_per_token_logps"]
)
def test_guarded_tools_give_the_batch_of_plain_ones(compared, name):
    plain, guarded, *_ = compared
    assert plain[name].equal(guarded[name]) and len(plain[name].unique()) > 1


def test_rollout_log_tells_the_tokens_of_the_model_from_those_of_tools(compared):
    _, guarded, _, log = compared
    own, all_tokens = guarded["tool_mask"] * guarded["completion_mask"], guarded["completion_mask"]
    assert log["completion_tokens"].tolist() == own.sum(dim=1).tolist()
    assert (log["completion_tokens"] + log["tool_tokens"]).tolist() == all_tokens.sum(dim=1).tolist()
    assert json.loads(log["completion"][0])[1] == {"role": "tool", "name": "add", "content": "42"}


def test_metrics_of_each_tool_add_up_to_trls(compared):
    metrics = {name: values[0] for name, values in compared[2].items()}
    unknown = 1  # TRL itself refuses no_such_tool
    calls = metrics["tools/add/calls"] + metrics["tools/fail/calls"] + unknown
    errors = metrics["tools/add/errors"] + metrics["tools/fail/errors"] + unknown
    assert metrics["tools/call_frequency"] * 8 == calls
    assert metrics["tools/failure_frequency"] * calls == pytest.approx(errors)
    assert (metrics["tools/fail/calls"], metrics["tools/fail/errors"]) == (1, 1)
    assert metrics["tools/add/timeouts"] == 0 and 0 < metrics["tools/add/seconds"] < 5


@pytest.fixture(scope="module")
def answered(compared, tmp_path_factory):
    """The answers outside a training to the rows of `compared`, and to a game that is won at the second guess."""
    from transformers import AutoTokenizer

    from axolotl_grpo_plugin.evaluate.generate import jobs_of
    from axolotl_grpo_plugin.evaluate.models import Model
    from axolotl_grpo_plugin.evaluate.rows import Question
    from axolotl_grpo_plugin.evaluate.sampling import Sampling
    from axolotl_grpo_plugin.evaluate.tools import ToolBackend
    from tests.e2e.scripted import call, make_model, write_scripted

    folder = tmp_path_factory.mktemp("tiny")
    make_model(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)

    class Script:
        engine, processing_class, asked = "script", tokenizer, []

        def load(self, model):
            write_scripted(self)

        def generate(self, jobs):
            self.asked += jobs
            turns, _ = self._generate_single_turn([job.question.ids for job in jobs])
            yield [*zip(jobs, turns, strict=True)][::-1]  # vLLM's order is that of the ends

        def close(self): ...

    def answers(prompts, **cfg):
        rows = [Question("rows", n, {}, {"answer": "70"}, prompt, [n]) for n, prompt in enumerate(prompts)]
        plans, model = [(Sampling(max_tokens=400), 2)], Model("base", folder, None, 0, "", {})
        script = Script()
        backend = ToolBackend(Config(cfg), script, tokenizer, batch_size=4)
        backend.load(model)
        jobs = jobs_of(model, rows, plans, backend.engine)
        found = {job.key: answer for batch in backend.generate(jobs) for job, answer in batch}
        backend.close()
        return [found[job.key] for job in jobs], script.asked

    prompts = [chat(prompt) for prompt in compared[3]["prompt"][::2]]
    turns = json.dumps([[call("guess", number=50), "no"], call("guess", number=70), "{}"])
    game = [{"role": "user", "content": f"turns: {turns} END"}]
    environment = "axolotl_grpo_plugin.environments.GuessNumber"
    played = answers([game], grpo_environment=environment)
    return answers(prompts, grpo_tools=[PATH + "add", PATH + "fail"]), played, folder


def test_answers_outside_a_training_call_tools_as_in_it(compared, answered):
    (answers, asked), log = answered[0], compared[3]
    logged = map(chat, log["completion"])
    chats = [answer if isinstance(answer, list) else [{"role": "assistant", "content": answer}] for answer in logged]
    assert [answer.chat for answer in answers] == chats
    assert [len(answer.ids) - answer.tool_tokens for answer in answers] == log["completion_tokens"].tolist()
    assert [answer.tool_tokens for answer in answers] == log["tool_tokens"].tolist()
    assert answers[0].text == "It is 42" and {job.sampling.max_tokens for job in asked} > {400}


def test_answers_of_an_environment_have_its_reward_and_the_prompt_that_it_makes(answered):
    won, silent = answered[1][0]
    assert (won.rewards, silent.rewards) == ({"GuessNumber": 1.0}, {"GuessNumber": 0.0})
    assert won.prompt[-1]["content"].endswith("You have 8 guesses.") and len(won.chat) == 5


def test_prompts_are_counted_with_the_tools_that_the_model_sees(answered, compared):
    from axolotl_grpo_plugin.checks.tools import shown_tools, tool_tokens
    from axolotl_grpo_plugin.data.tokenizer import FastTokenizer, open_tokenizer

    cfg = {"base_model": str(answered[2]), "grpo_tools": [PATH + "add", PATH + "fail"]}
    prompts = [chat(prompt) for prompt in compared[3]["prompt"]]
    tokenizer = open_tokenizer(Config(cfg))
    used = tool_tokens(Config(cfg), tokenizer, prompts[0])
    (plain,), tokenizer.tools = tokenizer.prompts(prompts[:1]), shown_tools(Config(cfg))
    lengths = (compared[1]["prompt_mask"]).sum(dim=1).tolist()
    assert isinstance(tokenizer, FastTokenizer) and tokenizer.prompts(prompts) == lengths
    assert (used.prompt, used.prompt - used.descriptions) == (lengths[0], plain)
