"""Check keys, imports and paths of a raw config. Axolotl's validation reports values of a wrong type."""

import json
import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin.args import GRPOArgs
from axolotl_grpo_plugin.checks.ignored import check_ignored
from axolotl_grpo_plugin.checks.rewards import check_rewards, check_scoring
from axolotl_grpo_plugin.checks.sampling import check_dynamic_sampling
from axolotl_grpo_plugin.checks.tools import check_tools
from axolotl_grpo_plugin.checks.trl_args import check_trl_args
from axolotl_grpo_plugin.config import PLUGIN, block, dicts, is_named, plugins_of
from axolotl_grpo_plugin.findings import Finding, at, correct_path, first_line, nearest
from axolotl_grpo_plugin.inputs import check_file, check_model, check_transform
from axolotl_grpo_plugin.load import reward_refs
from axolotl_grpo_plugin.paths import PACKAGED
from axolotl_grpo_plugin.serving.address import check_address
from axolotl_grpo_plugin.transforms.gsm8k import instructions
from axolotl_grpo_plugin.transforms.rows import DatasetError

_PACKAGE = "axolotl_grpo_plugin"


def check_keys(cfg: Any) -> Iterator[Finding]:
    """Check this plugin's keys, because Axolotl drops unknown keys silently."""
    for key in cfg:
        if str(key).startswith("grpo_") and key not in GRPOArgs.model_fields:
            yield Finding(at(cfg, key), "no such key", nearest(key, GRPOArgs.model_fields))


def check_blocks(cfg: Any) -> Iterator[Finding]:
    """Check that blocks hold keys, because Axolotl's message for another value names no key."""
    for key in ("trl", "vllm"):
        if cfg.get(key) and not isinstance(cfg[key], dict):
            yield Finding(
                at(cfg, key), "not a block of keys", "Write each as `key: value` below it"
            )


def check_datasets(cfg: Any) -> Iterator[Finding]:
    """Check that transforms import by Axolotl's rule, and that local files exist and are not empty."""
    for key in ("datasets", "test_datasets"):
        entries = cfg.get(key)
        if entries and (not isinstance(entries, list) or len(dicts(entries)) < len(entries)):
            yield Finding(at(cfg, key), "not a list of datasets", "Begin each with `- path:`")
        for number, dataset in enumerate(dicts(cfg.get(key))):
            yield from check_transform(dataset.get("type"), at(cfg, f"{key}[{number}].type"))
            yield from check_file(dataset.get("path"), at(cfg, f"{key}[{number}].path"))


def check_deepspeed(cfg: Any) -> Iterator[Finding]:
    """Check that the DeepSpeed config exists and is JSON. Axolotl opens it only to train."""
    file = cfg.get("deepspeed")
    if not isinstance(file, str) or not file:
        return
    where = at(cfg, f"deepspeed ({file})")
    try:
        json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        fix = correct_path()
        if file.startswith("deepspeed_configs/"):
            fix = "Download it with `axolotl fetch deepspeed_configs`"
        yield Finding(where, error.strerror or "cannot be read", fix)
    except ValueError as error:
        yield Finding(where, f"not JSON: {first_line(error)}", "Correct the file")


def check_template(cfg: Any) -> Iterator[Finding]:
    """Check that the chat template file exists; Axolotl would otherwise use the path itself as the template."""
    template = cfg.get("chat_template_jinja")
    if isinstance(template, str) and template.endswith(".jinja") and not os.path.isfile(template):
        fix = f"{correct_path()}, or copy the shipped templates with `axolotl grpo fetch`"
        yield Finding(at(cfg, f"chat_template_jinja ({template})"), "no such file", fix)


def check_examples(cfg: Any) -> Iterator[Finding]:
    """Check the format of worked examples here, because Axolotl hides errors of a transform's factory."""
    examples = dicts(cfg.get("grpo_examples"))
    if all(isinstance(each.get(key), str) for each in examples for key in ("question", "answer")):
        try:
            instructions(examples=examples)
        except DatasetError as error:
            yield Finding(at(cfg, "grpo_examples"), str(error), 'End the answer in "#### <answer>"')


def check_prompt_template(cfg: Any) -> Iterator[Finding]:
    """Check that `grpo_prompt_template` has a place for the question, and no key that it replaces beside it."""
    template = cfg.get("grpo_prompt_template")
    if not isinstance(template, str) or not template:
        return
    if "{question}" not in template:
        fix = "Write {question} where the question belongs"
        yield Finding(at(cfg, "grpo_prompt_template"), "it has no place for the question", fix)
    for key in ("grpo_system_prompt", "grpo_system_in", "grpo_examples"):
        if cfg.get(key):
            what = "not used, because grpo_prompt_template is the whole prompt"
            yield Finding(at(cfg, key), what, "Remove one of the two keys")


def check_held_out(cfg: Any) -> Iterator[Finding]:
    """Check that held-out rows have a dataset, and that no other generation runs beside them."""
    if cfg.get("grpo_eval_steps"):
        where = at(cfg, "grpo_eval_steps")
        if not cfg.get("grpo_held_out_rows"):
            yield Finding(where, "there are no held-out rows to answer", "Set grpo_held_out_rows")
        if block(cfg, "trl").get("async_prefetch"):
            what = "held-out answers would make completions of trl.async_prefetch greedy, too"
            yield Finding(where, what, "Remove one of the two keys")
    if cfg.get("grpo_held_out_rows") and not cfg.get("test_datasets"):
        what = "there are no test_datasets to take the rows from"
        fix = "Add test_datasets, or remove the key"
        yield Finding(at(cfg, "grpo_held_out_rows"), what, fix)


def check_plugin(cfg: Any) -> Iterator[Finding]:
    """Check that a config which uses this plugin names it, by its own path.

    With a second path, Axolotl would add the plugin's keys twice.
    """
    plugins = cfg.get("plugins")
    if isinstance(plugins, str):
        yield Finding(at(cfg, f"plugins ({plugins})"), "not a list", f"Write - {PLUGIN}")
        return
    wrong = [
        Finding(at(cfg, f"plugins ({name})"), "not the plugin's path", f"Write {PLUGIN}")
        for name in map(str, plugins_of(cfg))
        if name.replace(":", ".") != PLUGIN
        and (name.startswith(_PACKAGE) or get_close_matches(name, [PLUGIN, _PACKAGE], 1, 0.8))
    ]
    yield from wrong
    if not wrong and not is_named(cfg) and (used := next(_used(cfg), None)):
        what = f"the plugin is not listed, but {used} needs it"
        yield Finding(at(cfg, "plugins"), what, f"Add - {PLUGIN}")


def _used(cfg: Any) -> Iterator[str]:
    """Yield the keys and paths of a config that only this plugin understands or protects."""
    yield from (str(key) for key in cfg if str(key).startswith("grpo_"))
    values = [cfg.get("base_model"), *(reward.key for reward in reward_refs(cfg))]
    for dataset in dicts(cfg.get("datasets")):
        values += [dataset.get("path"), dataset.get("type")]
    yield from (str(value) for value in values if str(value).startswith((PACKAGED, f"{_PACKAGE}.")))


def check_config(cfg: Any) -> Iterator[Finding]:
    """Run all checks of this module except `check_keys` and `check_plugin`."""
    for check in (
        check_ignored,
        check_blocks,
        check_rewards,
        check_scoring,
        check_datasets,
        check_model,
        check_deepspeed,
        check_template,
        check_examples,
        check_prompt_template,
        check_held_out,
        check_dynamic_sampling,
        check_address,
        check_trl_args,
        check_tools,
    ):
        yield from check(cfg)
