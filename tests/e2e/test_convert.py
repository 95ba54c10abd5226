"""Recipes in the form of open-r1, X-R1 and TRL, and Axolotl's example. Each becomes a config that `check` accepts."""

import json
import re

import pytest
import yaml

from axolotl_grpo_plugin.commands.check import check, machine_of
from axolotl_grpo_plugin.recipes.convert import LAYOUT, Conversion
from tests.conftest import invoke, refused

MATH = "axolotl_grpo_plugin.rewards.math.accuracy_reward_func"
SOFT = "axolotl_grpo_plugin.rewards.format.think_soft_format_reward_func"
PLAIN = {"model_name_or_path": "Qwen/Qwen2.5-1.5B-Instruct", "dataset_name": "AI-MO/NuminaMath-TIR", "use_vllm": True}
X_R1 = {
    "model_name_or_path": "Qwen/Qwen2.5-0.5B",
    "model_revision": "main",
    "torch_dtype": "bfloat16",
    "dataset_name": "xiaodongguaAIGC/X-R1-750",
    "dataset_configs": ["train"],
    "num_processes": 3,
    "wandb_project": "X-R1",
    "bf16": True,
    "use_vllm": True,
    "vllm_device": "auto",
    "vllm_gpu_memory_utilization": 0.7,
    "do_eval": True,
    "eval_strategy": "steps",
    "eval_steps": 20,
    "gradient_accumulation_steps": 4,
    "gradient_checkpointing": True,
    "gradient_checkpointing_kwargs": {"use_reentrant": False},
    "learning_rate": 3.0e-06,
    "log_level": "info",
    "logging_steps": 10,
    "lr_scheduler_type": "cosine",
    "max_prompt_length": 256,
    "num_generations": 12,
    "max_completion_length": 1024,
    "max_steps": -1,
    "num_train_epochs": 2,
    "output_dir": "output/X-R1-0.5B",
    "overwrite_output_dir": True,
    "per_device_eval_batch_size": 4,
    "per_device_train_batch_size": 4,
    "push_to_hub": False,
    "report_to": ["wandb"],
    "save_strategy": "epoch",
    "seed": 42,
    "warmup_ratio": 0.1,
}
LORA = {
    "use_peft": True,
    "lora_r": 64,
    "lora_alpha": 128,
    "lora_dropout": 0.05,
    "lora_target_modules": ["q_proj", "v_proj"],
}
OPEN_R1 = {
    **PLAIN,
    "attn_implementation": "sdpa",
    "dataset_config": "default",
    "dataset_prompt_column": "problem",
    "system_prompt": "Think in <think> tags. Answer in <answer> tags.",
    "bf16": True,
    "gradient_accumulation_steps": 4,
    "hub_model_id": "me/Qwen2.5-1.5B-GRPO",
    "hub_strategy": "every_save",
    "push_to_hub": True,
    "learning_rate": 2.0e-05,
    "lr_scheduler_type": "cosine_with_min_lr",
    "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
    "num_generations": 16,
    "max_completion_length": 2048,
    "per_device_train_batch_size": 16,
    "report_to": ["tensorboard"],
    "reward_funcs": ["accuracy", "format", "tag_count"],
    "reward_weights": [1.0, 0.5, 0.25],
    "save_steps": 0.1,
    "mask_truncated_completions": True,
    "loss_type": "dr_grpo",
    "scale_rewards": False,
    "epsilon_high": 0.28,
    "top_entropy_quantile": 0.5,
    "benchmarks": ["math_500"],
}
SHAPED = {
    **PLAIN,
    "reward_funcs": ["accuracy", "cosine", "repetition_penalty", "length", "reasoning_steps"],
    "cosine_min_value_wrong": -0.5,
    "cosine_max_len": 4000,
    "repetition_n_grams": 4,
}
CODE = {
    **PLAIN,
    "dataset_name": "open-r1/verifiable-coding-problems-python",
    "reward_funcs": ["code", "code_format"],
    "reward_weights": [1.0, 0.1],
    "code_language": "python",
}
TRL = {
    "model_name_or_path": "Qwen/Qwen2-0.5B-Instruct",
    "dtype": "bfloat16",
    "datasets": [{"path": "trl-lib/DeepMath-103K", "split": "train"}],
    "reward_funcs": ["accuracy_reward", "think_format_reward", "get_soft_overlong_punishment"],
    "use_vllm": True,
    "vllm_mode": "colocate",
    "vllm_tensor_parallel_size": 1,
    "per_device_train_batch_size": 8,
    "report_to": "none",
    "steps_per_generation": 4,
}
AXOLOTL = {
    "base_model": "Qwen/Qwen2.5-1.5B-Instruct",
    "rl": "grpo",
    "vllm": {"gpu_memory_utilization": 0.2},
    "trl": {
        "use_vllm": True,
        "vllm_mode": "colocate",
        "beta": 0.0,
        "max_completion_length": 512,
        "reward_funcs": ["gsm8k_grpo.correctness_reward_func", "gsm8k_grpo.int_reward_func"],
        "vllm_max_model_len": 800,
        "num_generations": 16,
    },
    "chat_template": "qwen_25",
    "datasets": [{"path": "skrishna/gsm8k_only_answer", "type": "gsm8k_grpo.axo_gsm8k_transform"}],
    "skip_prepare_dataset": True,
    "output_dir": "outputs/r1",
    "sequence_len": 800,
    "wandb_entity": None,
    "gradient_accumulation_steps": 8,
    "micro_batch_size": 16,
    "num_epochs": 1,
    "optimizer": "adamw_torch_fused",
    "lr_scheduler": "constant_with_warmup",
    "learning_rate": 1.0e-6,
    "bf16": True,
    "warmup_steps": 100,
}
RECIPES = {
    "x-r1": X_R1,
    "x-r1-lora": {**X_R1, **LORA},
    "x-r1-qlora": {**X_R1, **LORA, "load_in_4bit": True},
    "open-r1": OPEN_R1,
    "shaped": SHAPED,
    "code": CODE,
    "trl": TRL,
    "axolotl": AXOLOTL,
}


@pytest.mark.parametrize("name", RECIPES)
def test_check_accepts_the_config_of_a_recipe(name, tmp_path):
    file = tmp_path / "grpo.yaml"
    file.write_text(yaml.safe_dump(Conversion(RECIPES[name], name).config))
    checked = check(str(file), machine_of(4, 80, None))
    assert [str(finding) for finding in checked.findings if finding.level == "error"] == []


@pytest.mark.parametrize("name", RECIPES)
def test_each_key_of_a_recipe_is_in_the_config_or_has_a_line(name):
    conversion = Conversion(RECIPES[name], name)
    said = set(re.findall(r"\w+", " ".join(f"{line.key} {line.fate}" for line in conversion.lines)))
    assert not RECIPES[name].keys() - said - keys_in(conversion.config)


def keys_in(config):
    """Return the keys of a config and of its blocks."""
    inner = [keys_in(value) for value in config.values() if isinstance(value, dict)]
    return set(config).union(*inner)


def test_keeps_the_values_of_x_r1():
    config = Conversion(X_R1, "x").config
    assert config["trl"] == {
        "reward_funcs": [MATH, SOFT],
        "num_generations": 12,
        "max_completion_length": 1024,
        "use_vllm": True,
        "vllm_mode": "server",
    }
    assert config["vllm"] == {"max_model_len": 1280, "gpu_memory_utilization": 0.7}
    assert config["grpo_system_prompt"] == LAYOUT
    assert config["test_datasets"] == [
        {"path": "xiaodongguaAIGC/X-R1-750", "split": "test", "type": "axolotl_grpo_plugin.math"}
    ]
    expected = {
        "num_epochs": 2,
        "micro_batch_size": 4,
        "learning_rate": 3e-6,
        "eval_batch_size": 4,
        "grpo_eval_steps": 20,
        "grpo_max_prompt_length": 256,
        "wandb_project": "X-R1",
    }
    assert expected.items() <= config.items()
    assert "hub_model_id" not in config


def test_keeps_the_values_of_open_r1():
    conversion = Conversion(OPEN_R1, "o")
    config = conversion.config
    assert config["trl"]["reward_weights"] == [1.0, 0.5, 0.25]
    assert config["trl"]["loss_type"] == "dr_grpo" and config["trl"]["scale_rewards"] is False
    assert config["grpo_trl_args"] == {"top_entropy_quantile": 0.5}
    assert config["lr_scheduler"] == "cosine" and config["cosine_min_lr_ratio"] == 0.1
    assert config["grpo_system_prompt"] == OPEN_R1["system_prompt"]
    assert config["hub_model_id"] == "me/Qwen2.5-1.5B-GRPO"
    assert config["use_tensorboard"] is True and "wandb_project" not in config
    assert conversion.left_out == ["benchmarks"]


def test_gives_parameters_to_shaping_rewards():
    config = Conversion(SHAPED, "s").config
    shaping = "axolotl_grpo_plugin.rewards.shaping"
    assert config["grpo_reward_args"] == {
        f"{shaping}.cosine_length": {
            "by": MATH,
            "min_value_wrong": -0.5,
            "max_value_wrong": -0.5,
            "min_value_correct": 0.5,
            "max_value_correct": 1.0,
            "max_len": 256,
        },
        "trl.rewards.get_repetition_penalty_reward": {"ngram_size": 4, "max_penalty": -1.0},
        f"{shaping}.kimi_length": {"by": MATH},
    }


def test_drops_the_weight_of_a_reward_without_counterpart():
    conversion = Conversion(CODE, "c")
    assert conversion.config["trl"]["reward_weights"] == [1.0]
    assert conversion.config["datasets"][0]["type"] == "axolotl_grpo_plugin.code"
    assert conversion.left_out == ["reward_funcs: code_format", "code_language"]


def test_lora_keys_without_use_peft_have_no_effect():
    conversion = Conversion({**X_R1, **LORA, "use_peft": False}, "x")
    assert not {key for key in conversion.config if "lora" in key or key == "adapter"}
    assert set(conversion.left_out) >= {"lora_r", "lora_alpha"}


def test_replaces_the_example_of_axolotl():
    config = Conversion(AXOLOTL, "a").config
    assert config["plugins"] == ["axolotl_grpo_plugin.GRPOPlugin"]
    assert config["vllm"] == {"gpu_memory_utilization": 0.2, "max_model_len": 800}
    assert config["trl"]["reward_funcs"] == [
        "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func",
        "axolotl_grpo_plugin.rewards.gsm8k.int_reward_func",
    ]
    assert config["datasets"] == [
        {"path": "openai/gsm8k", "name": "main", "split": "train", "type": "axolotl_grpo_plugin.gsm8k"}
    ]


@pytest.mark.parametrize(
    "recipe, code",
    [
        ({**PLAIN, "reward_funcs": ["ioi_code"]}, "no-reward"),
        ({**PLAIN, "reward_weights": [1.0, 1.0, 1.0]}, "reward-weights"),
        ({"model_name_or_path": "m"}, "no-data"),
        ({"dataset_name": "d", "reward_funcs": ["format"], "use_vllm": True}, "no-model"),
        ({"base_model": "m", "datasets": []}, "no-recipe"),
    ],
)
def test_refuses_recipe_that_cannot_become_a_config(recipe, code):
    with refused(code):
        Conversion(recipe, "r")


def test_writes_a_config_and_checks_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zero.yaml").write_text(yaml.safe_dump(X_R1))
    screen = invoke("convert", "zero.yaml").output
    assert re.search("^num_train_epochs +-> num_epochs$", screen, re.MULTILINE)
    assert "wrote zero/grpo.yaml: 6 keys without a counterpart" in screen
    assert "batch     48 completions per step: 4 prompts x 12" in screen  # of three processes
    assert "errors" not in screen
    assert "has other files" in invoke("convert", "zero.yaml", code=1).output


@pytest.mark.parametrize("command", ["check", "train", "stats"])
def test_other_commands_name_convert_for_a_recipe(command, tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(PLAIN))
    assert f"Run `axolotl-grpo convert {file}`" in invoke(command, file, code=1).output


@pytest.mark.parametrize("command", ["check", "train", "convert"])
def test_commands_name_the_import_for_a_script(command, tmp_path):
    file = tmp_path / "train_grpo.py"
    file.write_text("from trl import GRPOTrainer\n")
    assert "this is a Python script" in invoke(command, file, code=1).output


def test_names_of_trl_in_a_config_are_errors_with_the_names_of_axolotl(tmp_path):
    config = Conversion(X_R1, "x").config | {"num_train_epochs": 3, "report_to": "wandb", "torch_dtype": "bfloat16"}
    file = tmp_path / "grpo.yaml"
    file.write_text(yaml.safe_dump(config))
    fixes = {
        finding.where: finding.fix
        for finding in check(str(file), machine_of(4, 80, 3)).findings
        if finding.level == "error"
    }
    assert fixes == {
        "num_train_epochs": "Write num_epochs",
        "report_to": "Write wandb_project, use_tensorboard or use_mlflow",
        "torch_dtype": "Write bf16: true, fp16: true or neither",
    }


def test_schema_has_the_keys_of_axolotl_and_of_the_plugin():
    schema = json.loads(invoke("check", "--schema").output)
    assert {"base_model", "micro_batch_size", "trl", "grpo_max_prompt_length"} <= schema["properties"].keys()
    assert "Maximum prompt length" in schema["properties"]["grpo_max_prompt_length"]["description"]


def test_check_without_a_config_is_refused():
    assert "name a config" in invoke("check", code=2).output
