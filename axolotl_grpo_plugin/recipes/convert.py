"""Convert the keys of a recipe into an Axolotl config. `Conversion` says what became of each key."""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from axolotl_grpo_plugin.config import PLUGIN
from axolotl_grpo_plugin.findings import stop
from axolotl_grpo_plugin.recipes.keys import RENAMED, is_recipe
from axolotl_grpo_plugin.recipes.rewards import (
    OF_THE_EXAMPLE,
    REWARDS,
    WITHOUT_COUNTERPART,
    arguments_of,
)
from axolotl_grpo_plugin.recipes.trl_fields import free_fields, key_of_axolotl

PACKAGE = "axolotl_grpo_plugin"
# The layout that open-r1's and X-R1's format rewards pay. Their scripts have such a prompt.
LAYOUT = (
    "Reason step by step between <think> and </think>. "
    "Then write the final answer between <answer> and </answer>."
)
_LAYOUT_REWARDS = {"format", "soft_format", "tag_count", "think_format_reward"}
_QUESTIONS = ("problem", "question", "prompt")  # columns that the transforms read without a key
HELD_OUT = 200  # rows; their scripts answer all rows of the test split

# TRL's defaults where Axolotl has another one, or none.
_DEFAULTS = {
    "num_train_epochs": 3,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "learning_rate": 1e-6,
    "lr_scheduler_type": "linear",
    "optim": "adamw_torch_fused",
    "max_grad_norm": 1.0,
    "weight_decay": 0.0,
    "seed": 42,
    "logging_steps": 10,
    "save_strategy": "steps",
    "save_steps": 500,
    "num_generations": 8,
    "max_completion_length": 256,
}
_PROMPT = 512  # tokens; the default of max_prompt_length in the TRL of these recipes

_LEFT_OUT = {
    "dataset_configs": "their script reads dataset_config",
    "num_processes": "`axolotl-grpo train` starts a process for each GPU that does not serve vLLM",
    "vllm_device": "`axolotl-grpo train` lets vLLM serve on the last GPU",
    "log_completions": "each completion is in the rollout log: axolotl-grpo view OUTPUT_DIR",
    "num_completions_to_print": "grpo_show_steps prints a prompt group",
    "log_level": "output_dir/debug.log has the whole log",
    "logging_strategy": "the trainer logs by steps",
    "logging_first_step": "the first step is logged if logging_steps is 1",
    "overwrite_output_dir": "a new run in the same folder is refused or resumed",
    "do_train": "`axolotl-grpo train` trains",
    "do_eval": "eval_strategy says it",
    "benchmarks": "run `axolotl-grpo eval CONFIG --data math500` after the training",
    "callbacks": "Axolotl's plugins take their place",
    "push_to_hub_revision": "hub_model_id and hub_revision take its place",
    "overwrite_hub_revision": "Axolotl has no such option",
    "wandb_run_group": "set WANDB_RUN_GROUP in the environment",
    "wandb_log_unique_prompts": "the rollout log has all prompts",
    "log_unique_prompts": "the rollout log has all prompts",
    "code_language": "rewards.code runs Python",
    "code_provider": "rewards.code has a sandbox of its own",
    "code_eval_test_batch_size": "rewards.code has a sandbox of its own",
    "parallel_code_exec_per_proc": "rewards.code has a sandbox of its own",
    "e2b_router_url": "rewards.code has a sandbox of its own",
    "morph_router_url": "rewards.code has a sandbox of its own",
    "enforce_same_language": "rewards.code runs Python",
    "script_num_iterations": "trl.num_iterations says it",
    "dataset_streaming": "Axolotl's GRPO reads whole datasets",
    "ignore_bias_buffers": "it concerns DPO only",
    "lora_task_type": "it is CAUSAL_LM",
    "use_bnb_nested_quant": "Axolotl quantizes with nested constants",
    "bnb_4bit_quant_type": "Axolotl quantizes to nf4",
}
_TRACKERS = {
    "tensorboard": {"use_tensorboard": True},
    "mlflow": {"use_mlflow": True},
    "comet_ml": {"use_comet": True},
    "trackio": {"use_trackio": True},
}


class Line(NamedTuple):
    """A key of the recipe and its fate: the key in the config, or the reason why it is left out."""

    key: str
    fate: str


class Conversion:
    """The config that a recipe becomes.

    Attributes:
        config: The keys of the config, in the order of the shipped ones.
        lines: A line for each key of the recipe, and for each choice that the recipe leaves open.
        left_out: The keys of the recipe without a counterpart.
        processes: The number of training processes that the recipe names, else None.
    """

    def __init__(self, recipe: Mapping[str, Any], name: str):
        """Convert a recipe.

        Args:
            recipe: The keys of a YAML of TRL, open-r1, X-R1, or of Axolotl's GSM8K example.
            name: The name of its file without the suffix, for the output folder.
        """
        self.lines: list[Line] = []
        self.left_out: list[str] = []
        self._rest = dict(recipe)
        self.processes: int | None = recipe.get("num_processes")
        self._name = name
        self._trl: dict[str, Any] = {}
        self._vllm: dict[str, Any] = {}
        self._trl_args: dict[str, Any] = {}
        if is_recipe(recipe):
            self.config = self._of_trl()
        else:
            self.config = self._of_axolotl()

    def _of_trl(self) -> dict[str, Any]:
        if "model_name_or_path" not in self._rest:
            stop(
                "no-model",
                "model_name_or_path",
                "the recipe names no model",
                "Add the key to the recipe",
            )
        config = {"base_model": self._move("model_name_or_path"), "plugins": [PLUGIN], "rl": "grpo"}
        config |= {"trl": self._trl, "vllm": self._vllm}
        rewards = self._add_rewards()
        config |= self._datasets(rewards)
        config |= self._prompt(rewards)
        config |= self._precision()
        config |= self._adapter()
        config |= self._reports()
        config |= self._hub()
        config |= self._schedule()
        config |= self._lengths()
        config |= self._same_names()
        config.setdefault("output_dir", f"./outputs/{self._name}")
        if self._trl.get("use_vllm"):
            self._trl.setdefault("vllm_mode", "server")
            if config.get("adapter") == "qlora":
                self._trl |= {"vllm_lora_sync": True, "use_data_producer": True}
                self._say("load_in_4bit", "trl.vllm_lora_sync sends only the adapter to vLLM")
        else:
            del config["vllm"]
            for key in self._vllm:
                self._say(key, f"left out: it needs use_vllm (vllm.{key})")
        if self._trl_args:
            config["grpo_trl_args"] = self._trl_args
        return config

    def _say(self, key: str, fate: str) -> None:
        self.lines.append(Line(key, fate))

    def _move(self, key: str) -> Any:
        """Take a key that has another name in the config. Return its value."""
        self._say(key, f"-> {RENAMED[key]}")
        return self._rest.pop(key)

    def _leave_out(self, key: str, reason: str) -> None:
        self._rest.pop(key, None)
        self.left_out.append(key)
        self._say(key, f"left out: {reason}")

    def _add_rewards(self) -> list[str]:
        """Write trl.reward_funcs, their weights and grpo_reward_args. Return the recipe's names."""
        names = self._rest.pop("reward_funcs", None)
        if names is None:
            names = ["accuracy", "format"]
            self._say(
                "reward_funcs", "missing: accuracy and format, their scripts' defaults, are written"
            )
        names = [names] if isinstance(names, str) else list(names)
        weights = self._rest.pop("reward_weights", None)
        if weights is not None and len(weights) != len(names):
            stop(
                "reward-weights",
                "reward_weights",
                f"{len(weights)} weights for {len(names)} reward functions",
                "Correct the recipe",
            )
        paths, kept_weights, arguments = [], [], {}
        for index, name in enumerate(names):
            path = REWARDS.get(name) or (name if "." in name else None)
            if path is None:
                reason = WITHOUT_COUNTERPART.get(name, "no reward here has this name")
                self.left_out.append(f"reward_funcs: {name}")
                self._say(f"reward_funcs: {name}", f"left out: {reason}")
                continue
            if path in paths:
                self._say(f"reward_funcs: {name}", "left out: it is the reward of the line above")
                continue
            paths.append(path)
            self._say(f"reward_funcs: {name}", f"-> {path}")
            if weights is not None:
                kept_weights.append(weights[index])
            before = set(self._rest)
            if values := arguments_of(name, self._rest):
                arguments[path] = values
            for key in sorted(before - set(self._rest)):
                self._say(key, f"-> grpo_reward_args of {path}")
            if name == "cosine":
                length = self._rest.get("max_completion_length", _DEFAULTS["max_completion_length"])
                arguments[path]["max_len"] = length
                self._say(
                    "cosine_max_len", f"-> max_len: {length} tokens; theirs counts characters"
                )
        if not paths:
            stop(
                "no-reward",
                "reward_funcs",
                f"none of {', '.join(names)} has a counterpart",
                "Write a reward: docs/writing-a-reward.md",
            )
        self._trl["reward_funcs"] = paths
        if kept_weights:
            self._trl["reward_weights"] = kept_weights
        self._arguments = arguments
        for key in [key for key in self._rest if re.match("cosine_|repetition_(n_|max_)", key)]:
            self._leave_out(key, "its reward is not in reward_funcs")
        return names

    def _datasets(self, rewards: list[str]) -> dict[str, Any]:
        """Return datasets, and test_datasets if the recipe evaluates."""
        mixture = self._rest.pop("datasets", None)
        entries = []
        if isinstance(mixture, list):
            for entry in mixture:
                entries.append(
                    {key: entry[key] for key in ("path", "name", "split") if key in entry}
                )
        else:
            path = self._rest.pop("dataset_name", None)
            if path is None:
                stop("no-data", "dataset_name", "the recipe names no dataset", "Add the key")
            entry = {"path": path}
            name = self._rest.pop("dataset_config", None)
            if name not in (None, "default"):
                entry["name"] = name
            entries.append(entry)
        self._say("dataset_name, dataset_config", "-> datasets: path, name")
        split = self._rest.pop("dataset_train_split", "train")
        transform, columns = self._transform(rewards)
        for entry in entries:
            entry.setdefault("split", split)
            entry["type"] = f"{PACKAGE}.{transform}"
        config: dict[str, Any] = {"datasets": entries}
        held_out = self._rest.pop("dataset_test_split", "test")
        if self._rest.get("eval_strategy", "no") != "no":
            config["test_datasets"] = [{**entry, "split": held_out} for entry in entries]
        config["skip_prepare_dataset"] = True
        if "test_datasets" in config:
            config["grpo_held_out_rows"] = HELD_OUT
            self._say(
                "eval_strategy", f"-> test_datasets, grpo_held_out_rows: {HELD_OUT} of their rows"
            )
            steps = self._rest.pop("eval_steps", None)
            if isinstance(steps, int):
                config["grpo_eval_steps"] = steps
                self._say("eval_steps", "-> grpo_eval_steps")
        elif "eval_steps" in self._rest:
            self._leave_out("eval_steps", "the recipe evaluates nothing")
        self._rest.pop("eval_strategy", None)
        config["eval_strategy"] = "no"  # of Axolotl's own evaluation, which has no rewards
        if columns:
            config["grpo_columns"] = columns
        return config

    def _transform(self, rewards: list[str]) -> tuple[str, dict[str, str]]:
        """Return the transform of the rows, and the columns that it must be told."""
        column = self._rest.pop("dataset_prompt_column", None)
        columns: dict[str, str] = {}
        if {"code", "binary_code"} & set(rewards):
            transform = "code"
        elif column is None or column in _QUESTIONS:
            transform = "math"
        else:
            transform, columns = "qa", {"question": column, "answer": "solution"}
        if column is not None:
            fate = f"-> grpo_columns: {columns}" if columns else f"read by {PACKAGE}.{transform}"
            self._say("dataset_prompt_column", fate)
        return transform, columns

    def _prompt(self, rewards: list[str]) -> dict[str, Any]:
        config: dict[str, Any] = {}
        if self._rest.get("system_prompt"):
            config["grpo_system_prompt"] = self._move("system_prompt")
            config["grpo_system_in"] = "system"
        elif _LAYOUT_REWARDS & set(rewards):
            config["grpo_system_prompt"] = LAYOUT
            config["grpo_system_in"] = "system"
            self._say(
                "system_prompt", "missing: grpo_system_prompt asks for the layout of the rewards"
            )
        else:
            self._say("system_prompt", "missing: the transform's own prompt asks for the answer")
        self._rest.pop("system_prompt", None)
        if template := self._rest.pop("chat_template", None):
            config |= {"chat_template": "jinja", "chat_template_jinja": template}
            self._say("chat_template", "-> chat_template_jinja")
        return config

    def _precision(self) -> dict[str, Any]:
        config: dict[str, Any] = {}
        for key in ("bf16", "fp16"):
            if key in self._rest:
                config[key] = self._rest.pop(key)
        for key in ("torch_dtype", "dtype"):
            dtype = self._rest.pop(key, None)
            if dtype in ("bfloat16", "float16"):
                config.setdefault("bf16" if dtype == "bfloat16" else "fp16", True)
            if dtype is not None:
                self._say(key, f"{dtype} -> {', '.join(config) or 'float32'}")
        return config

    def _adapter(self) -> dict[str, Any]:
        """Return the keys of LoRA. Without use_peft, the recipe's own keys of LoRA have no effect."""
        names = [key for key in self._rest if re.match(r"lora_|use_rslora|use_dora", key)]
        if not self._rest.pop("use_peft", False):
            for key in names:
                self._leave_out(key, "use_peft is not true, so the recipe trains all weights")
            return {}
        quantized = bool(self._rest.get("load_in_4bit"))
        config: dict[str, Any] = {"adapter": "qlora" if quantized else "lora"}
        self._say("use_peft", f"-> adapter: {config['adapter']}")
        config |= {"lora_r": 16, "lora_alpha": 32, "lora_dropout": 0.05}  # TRL's defaults
        for key in names:
            if key in RENAMED:
                config[RENAMED[key]] = self._move(key)
            elif key not in _LEFT_OUT:
                config[key] = self._rest.pop(key)
        target = config.get("lora_target_modules")
        if target in (None, "all-linear", ["all-linear"]):
            config.pop("lora_target_modules", None)
            config["lora_target_linear"] = True
        return config

    def _reports(self) -> dict[str, Any]:
        reported = self._rest.pop("report_to", [])
        trackers = [reported] if isinstance(reported, str) else list(reported or [])
        config: dict[str, Any] = {}
        for tracker in trackers:
            config |= _TRACKERS.get(tracker, {})
        if "wandb" in trackers:
            config["wandb_project"] = self._rest.pop("wandb_project", self._name)
        for key in ("wandb_project", "wandb_entity"):
            if key in self._rest and "wandb" in trackers:
                config[key] = self._rest.pop(key)
            elif key in self._rest:
                self._leave_out(key, "report_to has no wandb")
        if trackers:
            self._say("report_to", f"-> {', '.join(config) or 'nothing'}")
        return config

    def _hub(self) -> dict[str, Any]:
        names = [key for key in self._rest if key.startswith("hub_")]
        if not self._rest.pop("push_to_hub", False):
            self._say("push_to_hub", "false: no hub_model_id is written")
            for key in names:
                self._leave_out(key, "push_to_hub is not true")
            return {}
        config = {}
        if revision := self._rest.pop("hub_model_revision", None):
            config["hub_revision"] = revision
        for key in ("hub_model_id", "hub_strategy"):
            if key in self._rest:
                config[key] = self._rest.pop(key)
        self._say("push_to_hub", "-> hub_model_id")
        return config

    def _schedule(self) -> dict[str, Any]:
        """Return the keys of steps and rates, with TRL's defaults where Axolotl's differ."""
        if self._rest.get("max_steps") == -1:
            del self._rest["max_steps"]
            self._say("max_steps", "-1: num_epochs says the length")
        config: dict[str, Any] = {}
        for key, default in _DEFAULTS.items():
            if key in ("num_generations", "max_completion_length"):
                continue
            if key == "save_steps" and config["save_strategy"] != "steps":
                self._rest.pop(key, None)
                continue
            if key == "num_train_epochs" and "max_steps" in self._rest and key not in self._rest:
                continue
            ours = RENAMED.get(key, key)
            if key in self._rest and key in RENAMED:
                config[ours] = self._move(key)
            else:
                config[ours] = self._rest.pop(key, default)
        if config["lr_scheduler"] == "cosine_with_min_lr":
            rates = self._rest.pop("lr_scheduler_kwargs", {}) or {}
            config["lr_scheduler"] = "cosine"
            config["cosine_min_lr_ratio"] = rates.get("min_lr_rate", 0.1)
            self._say("lr_scheduler_kwargs", "-> cosine_min_lr_ratio")
        for key in ("learning_rate", "weight_decay"):
            config[key] = float(config[key])
        self._set_generation_batch(config["micro_batch_size"])
        return config

    def _set_generation_batch(self, micro_batch: int) -> None:
        """Write trl.generation_batch_size, which counts the completions of all processes."""
        steps = self._rest.get("steps_per_generation")
        if steps is None:
            return
        if self.processes is None:
            reason = f"set trl.generation_batch_size to {steps} x {micro_batch} x processes"
            self._leave_out("steps_per_generation", reason)
            return
        del self._rest["steps_per_generation"]
        self._trl["generation_batch_size"] = steps * micro_batch * self.processes
        self._say("steps_per_generation", "-> trl.generation_batch_size")

    def _lengths(self) -> dict[str, Any]:
        """Write the lengths, and let sequence_len hold prompt and completion."""
        for key in ("num_generations", "max_completion_length"):
            self._trl[key] = self._rest.pop(key, _DEFAULTS[key])
        prompt = self._rest.get("max_prompt_length") or _PROMPT
        length = prompt + self._trl["max_completion_length"]
        config = {"sequence_len": length}
        if "max_prompt_length" in self._rest:
            config["grpo_max_prompt_length"] = self._move("max_prompt_length")
        else:
            self._say(
                "max_prompt_length", f"missing: sequence_len leaves {prompt} tokens for prompts"
            )
        self._vllm["max_model_len"] = length
        return config

    def _same_names(self) -> dict[str, Any]:
        """Return the other keys that Axolotl knows. Write those of TRL to their blocks."""
        config: dict[str, Any] = {}
        for key, value in list(self._rest.items()):
            if key in _LEFT_OUT:
                self._leave_out(key, _LEFT_OUT[key])
                continue
            place = self._place(key)
            if place is None:
                self._leave_out(key, "Axolotl, TRL and this plugin have no such key")
                continue
            del self._rest[key]
            block, _, name = place.rpartition(".")
            holder = {"": config, "trl": self._trl, "vllm": self._vllm}.get(block, self._trl_args)
            holder[name] = value
            if place != key:
                self._say(key, f"-> {place}")
        if self._arguments:
            config["grpo_reward_args"] = self._arguments
        return config

    @staticmethod
    def _place(key: str) -> str | None:
        """Return the dotted key of the config for a key of the recipe, None if there is none."""
        from axolotl.utils.schemas.config import AxolotlInputConfig
        from trl import GRPOConfig

        if key in RENAMED:
            return RENAMED[key]
        if key in free_fields():
            return f"grpo_trl_args.{key}"
        is_field = any(field.name == key for field in fields(GRPOConfig))
        if is_field and (ours := key_of_axolotl(key)):
            return ours
        return key if key in AxolotlInputConfig.model_fields else None

    def _of_axolotl(self) -> dict[str, Any]:
        """Convert Axolotl's own example: its rewards and its transform become this package's."""
        config = self._rest
        trl = config.get("trl")
        if config.get("rl") not in ("grpo", "gdpo") or not isinstance(trl, dict):
            stop(
                "no-recipe",
                self._name,
                "neither a recipe of TRL nor an Axolotl config for GRPO",
                "Name a YAML with model_name_or_path, or with rl: grpo and trl:",
            )
        plugins = config.get("plugins") or []
        if PLUGIN not in plugins:
            self._say("plugins", f"-> {PLUGIN} is added")
        paths = []
        for path in trl.get("reward_funcs") or []:
            ours = OF_THE_EXAMPLE.get(path.rpartition(".")[2], path)
            if ours != path:
                self._say(f"trl.reward_funcs: {path}", f"-> {ours}")
            paths.append(ours)
        new_trl = {**trl, "reward_funcs": paths}
        vllm = dict(config.get("vllm") or {})
        for key in [key for key in new_trl if key in RENAMED and RENAMED[key].startswith("vllm.")]:
            vllm.setdefault(RENAMED[key].partition(".")[2], new_trl.pop(key))
            self._say(f"trl.{key}", f"-> {RENAMED[key]}")
        converted: dict[str, Any] = {"base_model": config.pop("base_model", None)}
        converted |= {"plugins": [*dict.fromkeys([*plugins, PLUGIN])]}
        converted |= {"rl": config.pop("rl"), "trl": new_trl, "vllm": vllm}
        for key in ("plugins", "trl", "vllm"):
            config.pop(key, None)
        for key in ("datasets", "test_datasets"):
            if key in config:
                converted[key] = [self._dataset_of_example(entry) for entry in config.pop(key)]
        for key in [key for key, value in config.items() if value is None]:
            del config[key]
            self._say(key, "left out: it is empty")
        return converted | config

    def _dataset_of_example(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        kind = str(entry.get("type"))
        if not kind.endswith(("axo_gsm8k_transform", "oai_gsm8k_transform")):
            return dict(entry)
        split = entry.get("split", "train")
        self._say(f"datasets: {kind}", f"-> openai/gsm8k with {PACKAGE}.gsm8k")
        return {"path": "openai/gsm8k", "name": "main", "split": split, "type": f"{PACKAGE}.gsm8k"}
