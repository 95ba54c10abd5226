"""`axolotl grpo check` reports broken configs, and accepts the shipped ones."""

import json
import os
import re

import pytest
import yaml

from tests.e2e.conftest import ROOT, axolotl

pytestmark = pytest.mark.seconds(60)

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
QUICKSTART = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
OURS = "axolotl_grpo_plugin.rewards.gsm8k."
REWARDS = """
import re

def signature(prompts, completions):
    return [0.0] * len(completions)

def one_for_all(prompts, completions, **columns):
    return [1.0]

def none(prompts, completions, **columns):
    print("no return")

def raises(prompts, completions, **columns):
    return [columns["nope"] for _ in completions]

def infinite(prompts, completions, **columns):
    return [float("inf")] * len(completions)

def on_strings(prompts, completions, **columns):
    return [float(bool(re.search("<answer>", each))) for each in completions]

def no_dotall(prompts, completions, **columns):
    layout = r"<reasoning>.*</reasoning>.*<answer>.*</answer>"
    return [float(bool(re.match(layout, each[0]["content"]))) for each in completions]

def boxed(prompts, completions, answer, **columns):
    found = [re.search(r"boxed{(.*)}", each[0]["content"]) for each in completions]
    return [float(bool(one) and one[1] == gold) for one, gold in zip(found, answer)]

def substrings(prompts, completions, **columns):
    tags = ("<reasoning>", "</reasoning>", "<answer>", "</answer>")
    return [sum(tag in each[0]["content"] for tag in tags) / 4 for each in completions]

def in_gold(prompts, completions, answer, **columns):
    return [float(each[0]["content"] in gold) for each, gold in zip(completions, answer)]
"""
VLLM = {"use_vllm": True, "vllm_mode": "server"}
COLOCATE = {"use_vllm": True, "vllm_mode": "colocate"}
SIXTEEN = {"micro_batch_size": 16, "trl": {"num_generations": 8}}

# Keys added to the quickstart -> number of GPUs, level, and words of the finding.
TABLE = {
    # keys that nothing reads (pains 3, 9; axolotl-0.21 2)
    "a misspelt key of trl": (
        {"trl": {"rewrad_funcs": ["a.b"]}},
        (0, "error", "trl.rewrad_funcs", "Did you mean `trl.reward_funcs`?"),
    ),
    "the cookbook's vllm_max_model_len": (
        {"trl": {"vllm_max_model_len": 800}},
        (0, "error", "trl.vllm_max_model_len", "Did you mean `vllm.max_model_len`?"),
    ),
    "a key of TRL's that Axolotl has not": (
        {"trl": {"steps_per_generation": 4}},
        (0, "error", "trl.steps_per_generation", "ignores it. Remove it"),
    ),
    "a misspelt key": (
        {"learning_rat": 1e-5},
        (0, "warning", "learning_rat:", "Did you mean `learning_rate`?"),
    ),
    "a key that resembles one of Axolotl's": (
        {"kl_beta": 0.1},
        (0, "warning", "kl_beta:", "Did you mean `rl_beta`?"),
    ),
    "a value of Axolotl's as a key": (
        {"grpo": True},
        (0, "warning", "grpo:", "ignores it. Remove it, or name its plugin"),
    ),
    "words of Axolotl's messages": (
        {"weights": 1},
        (0, "warning", "weights:", "ignores it. Remove it, or name its plugin in `plugins:`."),
    ),
    "TRL's run_name": (
        {"run_name": "x"},
        (0, "warning", "run_name:", "ignores it. Remove it, or name its plugin"),
    ),
    "vllm_max_model_length": (
        {"trl": {"vllm_max_model_length": 800}},
        (0, "error", "trl.vllm_max_model_length", "Did you mean `vllm.max_model_len`?"),
    ),
    "a key in the wrong block": (
        {"num_generations": 4},
        (0, "error", "num_generations:", "Did you mean `trl.num_generations`?"),
    ),
    "a key that nobody knows": (
        {"my_note": "x"},
        (0, "warning", "my_note:", "ignores it"),
    ),
    "another plugin's key without the plugin": (
        {"liger_glu_activation": True},
        (
            0,
            "warning",
            "liger_glu_activation:",
            "name its plugin from axolotl.integrations.liger",
        ),
    ),
    "another plugin's switch, off": (
        {"use_swanlab": False},
        (0, "warning", "use_swanlab:", "from axolotl.integrations.swanlab"),
    ),
    "another plugin's key that resembles one of Axolotl's": (
        {"lm_eval_batch_size": 4},
        (0, "warning", "lm_eval_batch_size:", "from axolotl.integrations.lm_eval"),
    ),
    "a misspelt key of a dataset": (
        {"datasets": [{**QUICKSTART["datasets"][0], "splt": "train"}]},
        (0, "error", "datasets[0].splt", "Did you mean `split`?"),
    ),
    "max_prompt_length": (
        {"max_prompt_length": 512},
        (0, "error", "max_prompt_length:", "Did you mean `grpo_max_prompt_length`?"),
    ),
    "max_prompt_len": (
        {"max_prompt_len": 512},
        (0, "warning", "max_prompt_len:", "never reads it. Set grpo_max_prompt_length"),
    ),
    "a misspelt key of ours": (
        {"grpo_max_promt_length": 512},
        (0, "error", "grpo_max_promt_length:", "Did you mean `grpo_max_prompt_length`?"),
    ),
    "generation_kwargs": (
        {"trl": {"generation_kwargs": {"seed": 1}}},
        (0, "warning", "trl.generation_kwargs", "never reads it. Remove it"),
    ),
    "chat_template_kwargs": (
        {"trl": {"chat_template_kwargs": {"enable_thinking": False}}},
        (0, "warning", "trl.chat_template_kwargs", "never reads it. Remove it"),
    ),
    "reward_num_workers without a data producer": (
        {"trl": {"reward_num_workers": 4}},
        (0, "warning", "trl.reward_num_workers", "Set trl.use_data_producer: true, or remove it"),
    ),
    "vllm_lora_sync without a data producer": (
        {
            "adapter": "lora",
            "lora_r": 8,
            "lora_alpha": 16,
            "lora_target_linear": True,
            "trl": {**VLLM, "vllm_lora_sync": True},
        },
        (2, "error", "trl.vllm_lora_sync", "Add trl.use_data_producer: true"),
    ),
    "vLLM's block without vLLM": (
        {"vllm": {"max_model_len": 128}},
        (0, "warning", "vllm.max_model_len", "Set trl.use_vllm: true, trl.vllm_mode: server"),
    ),
    "a server's key beside colocate": (
        {"trl": COLOCATE, "vllm": {"enforce_eager": True}},
        (1, "warning", "vllm.enforce_eager", "Set trl.vllm_mode: server"),
    ),
    # imports and datasets (pains 12, axolotl-0.21 3)
    "no such reward module": (
        {"trl": {"reward_funcs": ["rewards.code_based.fn"]}},
        (0, "error", "trl.reward_funcs[0]", "there is no module"),
    ),
    "a module that imports what is not installed": (
        {"trl": {"reward_funcs": ["imports_nothing.fn"]}},
        (0, "error", "imports 'no_such_package'", "Install no_such_package", "Traceback"),
    ),
    "a misspelt reward": (
        {"trl": {"reward_funcs": [OURS + "correctnes_reward_func"]}},
        (0, "error", "Did you mean `correctness_reward_func`?"),
    ),
    "a path of a file": (
        {"trl": {"reward_funcs": ["own/rewards.raises"]}},
        (0, "error", "a file's path", "Write it as own.rewards.raises"),
    ),
    "a bare name": (
        {"trl": {"reward_funcs": ["correctness"]}},
        (0, "error", "not a path of a function"),
    ),
    "a transform in a longer path": (
        {
            "datasets": [
                {**QUICKSTART["datasets"][0], "type": "axolotl_grpo_plugin.transforms.gsm8k.gsm8k"}
            ]
        },
        (0, "error", "only in a top-level module"),
    ),
    "a transform of the docs that is not shipped": (
        {"datasets": [{**QUICKSTART["datasets"][0], "type": "rwd.gsm8k_transform"}]},
        (0, "error", "there is no module 'rwd'"),
    ),
    "SFT's type": (
        {"datasets": [{**QUICKSTART["datasets"][0], "type": "chat_template"}]},
        (0, "error", "datasets[0]", "type", "axolotl_grpo_plugin.gsm8k"),
    ),
    "no type": (
        {"datasets": [{**QUICKSTART["datasets"][0], "type": None}]},
        (0, "error", 'no column "prompt"', "`type:`"),
    ),
    "a dataset that is not there": (
        {"datasets": [{**QUICKSTART["datasets"][0], "path": "./rows.jsonl"}]},
        (0, "error", "datasets[0].path", "no such file"),
    ),
    "rows of another task": (
        {"datasets": [{**QUICKSTART["datasets"][0], "type": "axolotl_grpo_plugin.countdown"}]},
        (0, "error", 'no column "nums"'),
    ),
    "a row without a label": (
        {"datasets": [{"path": "unlabelled.jsonl", "type": "axolotl_grpo_plugin.gsm8k"}]},
        (0, "error", "row 9", 'no "#### <number>"'),
    ),
    "a model that is not there": (
        {"base_model": "./models/mine"},
        (0, "error", "base_model", "no such folder"),
    ),
    "the plugin by a second path": (
        {"plugins": ["axolotl_grpo_plugin.plugin.GRPOPlugin"]},
        (0, "error", "not the plugin's path"),
    ),
    "a plugin that is not there": (
        {"plugins": [*QUICKSTART["plugins"], "no_such_package.Plugin"]},
        (0, "error", "plugins (no_such_package.Plugin)", "cannot be loaded: ModuleNotFoundError"),
    ),
    # rewards (pains 1, 7, 14; axolotl-0.21 4)
    "a reward without **columns": (
        {"trl": {"reward_funcs": ["own_rewards.signature"]}},
        (0, "error", "cannot be called as TRL does"),
    ),
    "one score for all": (
        {"trl": {"reward_funcs": ["own_rewards.one_for_all"]}},
        (0, "error", "returned 1 scores for"),
    ),
    "no return": (
        {"trl": {"reward_funcs": ["own_rewards.none"]}},
        (0, "error", "returned None"),
    ),
    "a column that is not there": (
        {"trl": {"reward_funcs": ["own_rewards.raises"]}},
        (0, "error", "raised KeyError: 'nope'", 'columns["nope"]'),
    ),
    "TRL's accuracy on GSM8K": (
        {"trl": {"reward_funcs": ["trl.rewards.accuracy_reward"]}},
        (0, "error", "missing 1 required positional argument: 'solution'"),
    ),
    "infinity": (
        {"trl": {"reward_funcs": ["own_rewards.infinite"]}},
        (0, "error", "returned infinity"),
    ),
    "chat messages taken for text": (
        {"trl": {"reward_funcs": ["own_rewards.on_strings"]}},
        (0, "error", "raised TypeError", "re.search"),
    ),
    "a pattern that no line break passes": (
        {"trl": {"reward_funcs": ["own_rewards.no_dotall"]}},
        (0, "warning", "in the layout that the prompt asks for, earns 0"),
    ),
    "a reward for another layout": (
        {"trl": {"reward_funcs": ["own_rewards.boxed"]}},
        (0, "warning", "in the layout that the prompt asks for, earns 0"),
    ),
    "substrings as a format": (
        {"trl": {"reward_funcs": ["own_rewards.substrings"]}},
        (0, "warning", "the prompt, repeated as the completion, earns 1"),
    ),
    "an empty answer is in every gold": (
        {"trl": {"reward_funcs": ["own_rewards.in_gold"]}},
        (0, "warning", "an empty completion earns 1"),
    ),
    "a reward twice": (
        {"trl": {"reward_funcs": [OURS + "int_reward_func"] * 2}},
        (0, "error", "named twice"),
    ),
    "async_prefetch alone": (
        {"trl": {"async_prefetch": True}},
        (0, "error", "trl.async_prefetch", "crashes"),
    ),
    "context parallel": (
        {"context_parallel_size": 2},
        (2, "error", "context_parallel_size"),
    ),
    "held-out rows of no dataset": (
        {"test_datasets": None},
        (0, "error", "grpo_held_out_rows", "no test_datasets"),
    ),
    # the batch (pains 13, axolotl-0.21 8)
    "X-R1's 1 x 3 / 3 on three ranks": (
        {"micro_batch_size": 1, "gradient_accumulation_steps": 1, "trl": {"num_generations": 3}},
        (
            3,
            "error",
            "trl.num_generations",
            "num_generations x processes (3 x 3 = 9)",
            "Set gradient_accumulation_steps: 3",
        ),
    ),
    "X-R1's 4 x 3 / 6 on three ranks": (
        {"micro_batch_size": 4, "gradient_accumulation_steps": 1, "trl": {"num_generations": 6}},
        (3, "error", "trl.num_generations", "num_generations x processes (6 x 3 = 18)"),
    ),
    "xLR's 4 x 7 / 14 on seven ranks": (
        {"micro_batch_size": 4, "gradient_accumulation_steps": 1, "trl": {"num_generations": 14}},
        (7, "error", "trl.num_generations", "num_generations x processes (14 x 7 = 98)"),
    ),
    "no whole groups": (
        {"micro_batch_size": 4, "trl": {"num_generations": 8}},
        (0, "error", "not a multiple of num_generations (8)"),
    ),
    "num_generations unset": (
        {"micro_batch_size": 4, "trl": {"num_generations": None}},
        (0, "error", "not a multiple of num_generations (8)"),
    ),
    "gdpo": (
        {"rl": "gdpo", "micro_batch_size": 4, "trl": {"num_generations": 5}},
        (0, "error", "not a multiple of num_generations (5)"),
    ),
    "the evaluation's batch": (
        {"eval_strategy": "steps", "eval_steps": 5, "eval_batch_size": 4},
        (0, "error", "eval_batch_size", "not a multiple of num_generations (8)"),
    ),
    "a generation batch of no whole steps": (
        {**SIXTEEN, "trl": {"num_generations": 8, "generation_batch_size": 24}},
        (0, "error", "not a multiple of micro_batch_size"),
    ),
    "one completion a prompt": (
        {"trl": {"num_generations": 1}},
        (0, "error", "is too few"),
    ),
    # lengths (pains 3, axolotl-0.21 8)
    "no room for a completion": (
        {"trl": {**COLOCATE, "max_completion_length": 4096}, "vllm": {"max_model_len": 128}},
        (1, "error", "so they are dropped", "No row is left"),
    ),
    "some prompts too long": (
        {"sequence_len": 79, "trl": {"max_completion_length": 32}},
        (0, "warning", "prompts", "so they are dropped", "The longest has"),
    ),
    "prompts that nothing drops": (
        {"trl": COLOCATE, "vllm": {"max_model_len": 80}, "datasets": [{"path": "chats.jsonl"}]},
        (1, "error", "so vLLM ends the run at the first of them"),
    ),
    "more than the model can hold": (
        {"trl": COLOCATE, "vllm": {"max_model_len": 100000}},
        (1, "error", "vllm.max_model_len", "that the model can hold"),
    ),
    # where it runs (pains 6, 18)
    "a server and a trainer on one GPU": (
        {"trl": VLLM, "vllm": {"max_model_len": 128}},
        (1, "error", "set trl.vllm_mode: colocate"),
    ),
    "vLLM without a mode on one GPU": (
        {"trl": {"use_vllm": True}},
        (1, "error", "this config wants 2", "set trl.vllm_mode: colocate"),
    ),
    "more GPUs to serve than there are": (
        {"trl": VLLM, "vllm": {"tensor_parallel_size": 4}},
        (4, "error", "4 for vLLM"),
    ),
    # settings that seldom learn (pains 3, 5)
    "LoRA at full training's rate": (
        {
            "adapter": "lora",
            "lora_r": 8,
            "lora_alpha": 16,
            "lora_target_linear": True,
            "learning_rate": 1e-6,
        },
        (0, "warning", "learning_rate", "an adapter hardly changes"),
    ),
    "QLoRA with merged weights": (
        {
            "adapter": "qlora",
            "load_in_4bit": True,
            "lora_r": 8,
            "lora_alpha": 16,
            "lora_target_linear": True,
            "trl": VLLM,
        },
        (2, "error", "load_in_4bit", "Set trl.vllm_lora_sync: true"),
    ),
    "two completions a prompt": (
        {"trl": {"num_generations": 2}},
        (0, "warning", "trl.num_generations", "Set it to 8 or more"),
    ),
    "weights for one reward too many": (
        {"trl": {"reward_weights": [1.0, 2.0]}},
        (0, "error", "trl.reward_weights", "2 weights for 5 rewards"),
    ),
    "format alone": (
        {"trl": {"reward_funcs": [OURS + "soft_format_reward_func"]}},
        (0, "warning", "trl.reward_funcs", "none pays for a right answer"),
    ),
    "no max_completion_length": (
        {"trl": {"max_completion_length": None}},
        (0, "warning", "trl.max_completion_length", "after 20 tokens"),
    ),
    # what is there already (pains 16, 17)
    "an earlier run's folder": (
        {"output_dir": "./used"},
        (0, "warning", "output_dir (./used)", "checkpoint-5"),
    ),
    "a checkpoint that is not there": (
        {"resume_from_checkpoint": "./outputs/checkpoint-7"},
        (0, "error", "resume_from_checkpoint", "no such folder"),
    ),
    # what Axolotl says itself
    "a word for a number": (
        {"max_steps": "many"},
        (0, "error", "max_steps: Input should be a valid integer", "Axolotl refuses it"),
    ),
    # what is of another type than a key wants
    "no path for a reward": (
        {"trl": {"reward_funcs": [None]}},
        (0, "error", "trl.reward_funcs", "Axolotl refuses it"),
    ),
    "a number for the rewards": (
        {"trl": {"reward_funcs": 5}, "grpo_reward_isolation": {"a.b": "inline"}},
        (0, "error", "trl.reward_funcs", "Axolotl refuses it"),
    ),
    "a list for their arguments": (
        {"grpo_reward_args": ["a"]},
        (0, "error", "grpo_reward_args", "Axolotl refuses it"),
    ),
    "a word for context parallel": (
        {"context_parallel_size": "two"},
        (0, "error", "context_parallel_size: Input should be", "Axolotl refuses it"),
    ),
    "a dataset without a list": (
        {"datasets": {"path": "x"}},
        (0, "error", "Axolotl refuses it"),
    ),
    "a number for a dataset's path": (
        {"datasets": [{"path": 5, "type": "axolotl_grpo_plugin.gsm8k"}]},
        (0, "error", "datasets[].path: Input should be", "Axolotl refuses it"),
    ),
    "a number for the plugins": ({"plugins": 5}, (0, "error", "plugins", "Axolotl refuses it")),
    "a word for vLLM's block": (
        {"trl": VLLM, "vllm": "x"},
        (2, "error", "vllm", "Axolotl refuses it"),
    ),
    "no generations": (
        {"trl": {"num_generations": 0}},
        (0, "error", "trl.num_generations", "is too few"),
    ),
    "a model's name with a space": (
        {"base_model": "Qwen/Qwen2.5 0.5B"},
        (0, "error", "base_model", "neither a folder nor a name that the Hugging Face hub allows"),
    ),
    "no model's name": (
        {"base_model": ""},
        (0, "error", "base_model", "neither a folder nor a name that the Hugging Face hub allows"),
    ),
    "a reward that ends the process": (
        {"trl": {"reward_funcs": ["exits.fn"]}},
        (0, "error", "exits cannot be imported: SystemExit"),
    ),
    # what Axolotl finds out late
    "a DeepSpeed config that is not there": (
        {"deepspeed": "deepspeed_configs/zero3_bf16.json"},
        (2, "error", "deepspeed", "`axolotl fetch deepspeed_configs`"),
    ),
    "a DeepSpeed config that is broken": (
        {"deepspeed": "unlabelled.jsonl"},
        (2, "error", "deepspeed", "not JSON"),
    ),
    "unused columns": (
        {"remove_unused_columns": True},
        (0, "error", "remove_unused_columns", "Remove it"),
    ),
    "colocated pairs of three": (
        {"trl": COLOCATE, "vllm": {"tensor_parallel_size": 2}},
        (3, "error", "vllm.tensor_parallel_size", "3 is not a multiple of 2"),
    ),
    "an unknown rl": ({"rl": "gpro"}, (0, "error", "rl: 'gpro'", "Set rl: grpo")),
}


def merged(given, more):
    both = {**given}
    for key, value in more.items():
        nested = isinstance(value, dict) and isinstance(given.get(key), dict)
        both[key] = merged(given[key], value) if nested else value
    return both


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A working folder with a user's own rewards and rows."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "own_rewards.py").write_text(REWARDS)
    (folder / "own").mkdir()
    (folder / "own" / "rewards.py").write_text(REWARDS)
    (folder / "exits.py").write_text("import sys\nsys.exit()\n")
    (folder / "imports_nothing.py").write_text("import no_such_package\n")
    good = {"question": "1 + 1?", "answer": "1 + 1 = 2\n#### 2"}
    rows = [good] * 9 + [{**good, "answer": "2"}]
    (folder / "unlabelled.jsonl").write_text("\n".join(map(json.dumps, rows)))
    chat = {"prompt": [{"role": "user", "content": "1 + 1? " * 40}], "answer": "2"}
    (folder / "chats.jsonl").write_text(json.dumps(chat) + "\n")
    (folder / "used" / "checkpoint-5").mkdir(parents=True)
    import axolotl.core.trainers.grpo  # it sets environment variables  # noqa: F401

    return folder


def checked(file, gpus, **options):
    from axolotl_grpo_plugin.commands.check import check, machine_of

    return check(str(file), machine_of(gpus, options.get("memory"), None), offline=True)


@pytest.mark.parametrize("name", TABLE)
def test_reports_a_broken_config(name, desk, monkeypatch):
    monkeypatch.chdir(desk)
    fragment, (gpus, level, *words) = TABLE[name]
    file = desk / "config.yaml"
    file.write_text(yaml.safe_dump(merged(QUICKSTART, fragment)))
    before = dict(os.environ)
    made = checked(file, gpus)
    said = [str(each) for each in made.findings if each.level == level]
    assert any(all(word in line for word in words) for line in said), made.findings
    assert not [line for line in said if "the check itself failed" in line]
    assert made.ok == (not any(each.level == "error" for each in made.findings))
    assert dict(os.environ) == before


def test_training_refuses_a_misspelt_key(desk, monkeypatch):
    from axolotl.cli.config import prepare_plugins
    from axolotl.utils.dict import DictDefault

    from axolotl_grpo_plugin.findings import ConfigError

    monkeypatch.chdir(desk)
    cfg = DictDefault(merged(QUICKSTART, {"trl": {"rewrad_funcs": ["a.b"]}}))
    with pytest.raises(
        ConfigError, match=r"trl\.rewrad_funcs: .* Did you mean `trl\.reward_funcs`"
    ):
        prepare_plugins(cfg)
    prepare_plugins(DictDefault(QUICKSTART))


def test_accepts_a_sound_config(desk, monkeypatch):
    monkeypatch.chdir(desk)
    file = desk / "config.yaml"
    more = {"x-anchors": {"a": 1}, "wandb_nam": None, "fsdp_version": 2, "micro_batch_size": 16}
    more |= {"context_parallel_size": "1", "ddp_timeout": "3600", "grpo_reward_batch_timeout": 60}
    file.write_text(yaml.safe_dump(merged(QUICKSTART, more)))
    made = checked(file, 2)
    assert (made.findings, made.verdict) == ([], "OK")


def test_counts_all_rows_of_gsm8k(smollm2, gsm8k, tmp_path):
    given = yaml.safe_load((ROOT / "configs" / "gsm8k" / "smollm2-135m-cpu.yaml").read_text())
    rows = {"path": str(gsm8k / "train.jsonl"), "type": "axolotl_grpo_plugin.gsm8k"}
    more = {"base_model": str(smollm2), "datasets": [rows], "output_dir": str(tmp_path / "new")}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**given, **more}))
    made = checked(tmp_path / "config.yaml", 0)
    ((level, what),) = [(each.level, each.what) for each in made.findings]
    assert level == "warning"
    assert re.match(r"\d+ of 7,473 prompts \(.*%\) are longer than \d+ tokens", what)
    assert made.verdict == "OK"


def test_reports_files_that_are_not_a_config(tmp_path):
    texts = {"broken": "a: [", "a list": "- a", "empty": ""}
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
        made = checked(tmp_path / f"{name}.yaml", 0)
        assert [each.level for each in made.findings] == ["error"]


def test_reports_a_failed_check_beside_the_other_findings(desk, monkeypatch):
    from axolotl_grpo_plugin.commands import check as command

    def fails(*_):
        raise KeyError("nope")

    monkeypatch.chdir(desk)
    monkeypatch.setattr(command, "check_traps", fails)
    (desk / "config.yaml").write_text(yaml.safe_dump(merged(QUICKSTART, {"my_note": 1})))
    failed, found = map(str, checked(desk / "config.yaml", 0).findings)
    assert "the check itself failed: KeyError: 'nope'. Please report it" in failed
    assert "Traceback" in failed
    assert found.startswith("my_note:")


def test_reports_each_fault_once(desk, monkeypatch):
    """One cause gives one finding, not one per row or per later check."""
    monkeypatch.chdir(desk)
    for more in ({"chat_template_jinja": "{% for message in"}, {"datasets": {"path": "x"}}):
        (desk / "config.yaml").write_text(yaml.safe_dump(merged(QUICKSTART, more)))
        assert [each.level for each in checked(desk / "config.yaml", 0).findings] == ["error"]


def test_skips_checks_if_the_hub_does_not_answer(desk, monkeypatch):
    from huggingface_hub import constants

    from axolotl_grpo_plugin import hub
    from axolotl_grpo_plugin.commands.check import check, machine_of

    monkeypatch.chdir(desk)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "answers", lambda: False)
    given = {"base_model": "Qwen/Qwen2.5-1.5B-Instruct", "learning_rate": 1e-6}
    given["datasets"] = [{**QUICKSTART["datasets"][0], "path": "openai/gsm8k", "name": "main"}]
    (desk / "config.yaml").write_text(yaml.safe_dump(merged(QUICKSTART, given)))
    made = check(str(desk / "config.yaml"), machine_of(0, None, None))
    said = [str(each) for each in made.findings if each.level != "warning"]
    assert {each.level for each in made.findings if each.level != "warning"} == {"skipped"}, said
    assert any("the hub does not answer" in line for line in said)


def test_refuses_a_folder_without_configs(tmp_path):
    said = axolotl("grpo", "check", tmp_path, "--offline", returncode=2)
    assert "no YAML file in this folder" in said


def test_reports_a_key_that_is_written_twice(tmp_path):
    text = yaml.safe_dump(QUICKSTART) + "trl:\n  beta: 0.1\n"
    (tmp_path / "config.yaml").write_text(text)
    said = str(checked(tmp_path / "config.yaml", 0).findings[0])
    assert said.startswith("trl: the key is written twice, and line")


@pytest.mark.parametrize("file", CONFIGS, ids=[str(file.relative_to(ROOT)) for file in CONFIGS])
def test_accepts_the_shipped_configs(file, smollm2, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    given = yaml.safe_load(file.read_text())
    copy = tmp_path / file.name  # a run of the pack may have filled its output_dir
    copy.write_text(yaml.safe_dump({**given, "output_dir": str(tmp_path / "new")}))
    needs = re.search(r"# Needs: +(?:(\d+) nodes of )?(\d+) GPUs? of (\d+) GB", file.read_text())
    nodes, gpus, memory = (int(each or 1) for each in needs.groups()) if needs else (0, 0, 0)
    made = checked(copy, nodes * gpus, memory=memory or None)
    found = [each.where for each in made.findings if each.level != "skipped"]
    # The other nodes must reach the server, and no shipped config knows the first one's address.
    assert found == ["vllm.host (0.0.0.0)"] * (given.get("vllm", {}).get("host") == "0.0.0.0")
    assert made.memory.startswith("at least ") is bool(gpus)


@pytest.mark.parametrize("example", ["sudoku", "multi_turn", "multi_env"])
def test_knows_every_key_of_axolotls_own_grpo_configs(example):
    """The only ones that Axolotl ships; another plugin reads most of their keys."""
    import axolotl.integrations.nemo_gym as nemo_gym

    from axolotl_grpo_plugin.checks.ignored import check_ignored
    from axolotl_grpo_plugin.checks.validation import loaded_plugins
    from axolotl_grpo_plugin.config import read_config

    cfg = read_config(f"{nemo_gym.__path__[0]}/examples/nemo_gym_{example}.yaml")
    with loaded_plugins(cfg):
        assert [str(finding) for finding in check_ignored(cfg)] == []


def test_knows_every_key_of_axolotls_schema():
    from axolotl.utils.schemas.config import AxolotlInputConfig

    from axolotl_grpo_plugin.checks.ignored import check_ignored

    every = {field.alias or name: 1 for name, field in AxolotlInputConfig.model_fields.items()}
    assert [str(finding) for finding in check_ignored(every)] == []
    # Of the older keys that validators move or refuse.
    older = {"dataset_processes": 1, "evaluation_strategy": "no", "debug": False, "shard": False}
    assert [str(finding) for finding in check_ignored(older)] == []


def test_axolotl_reads_the_keys_in_passed_and_none_in_dead():
    import inspect
    from pathlib import Path

    import axolotl
    from axolotl.core.builders import rl
    from axolotl.core.trainers.grpo import GRPOStrategy

    from axolotl_grpo_plugin.checks.ignored import DEAD, PASSED

    code = inspect.getsource(rl) + inspect.getsource(GRPOStrategy)
    for key in PASSED:
        assert f"trl.{key}" in code
    package = Path(axolotl.__file__).parent
    sources = [file.read_text() for file in package.rglob("*.py")]
    for key in DEAD:
        assert not [
            text for text in sources if re.search(rf'\.{key}\b|\["{key}"\]|get\("{key}', text)
        ]


def test_reports_exactly_the_vllm_keys_that_axolotls_server_ignores(monkeypatch):
    from axolotl.cli import vllm_serve
    from axolotl.utils.dict import DictDefault
    from axolotl.utils.schemas.vllm import VllmConfig

    from axolotl_grpo_plugin.checks.ignored import check_unread

    told = []
    values = {"dtype": "float16", "host": "::1", "device": "cpu"}
    values |= {"reasoning_parser": "a", "worker_extension_cls": "a.B"}
    monkeypatch.setattr(vllm_serve, "serve", told.append)
    for key in VllmConfig.model_fields.keys() - {"serve_module"}:
        plain = {"rl": "grpo", "base_model": "m", "trl": VLLM}
        for vllm in ({}, {key: values.get(key, 3)}):
            cfg = DictDefault({**plain, "vllm": vllm})
            monkeypatch.setattr(vllm_serve, "load_cfg", lambda _, cfg=cfg: cfg)
            vllm_serve.do_vllm_serve("config", {})
        assert (told[-2] != told[-1]) is not bool(list(check_unread(cfg))), key


def test_prints_json_and_exits_with_1_on_an_error(desk):
    broken = desk / "broken.yaml"
    broken.write_text(yaml.safe_dump(merged(QUICKSTART, {"trl": {"rewrad_funcs": ["a.b"]}})))
    sound = desk / "sound.yaml"
    sound.write_text(yaml.safe_dump(QUICKSTART))
    call = ("grpo", "check", sound, broken, "--gpus", "0", "--offline")
    said = axolotl(*call, "--json", cwd=desk, returncode=1)
    first, second = json.loads(said[said.index("[\n") :])
    assert (first["ok"], first["verdict"], first["findings"]) == (True, "OK", [])
    assert (second["ok"], second["verdict"]) == (False, "1 error")
    assert second["findings"][0]["where"] == "trl.rewrad_funcs"
