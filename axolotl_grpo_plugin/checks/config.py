"""Check keys and paths of a raw config. Axolotl's validation reports values of a wrong type."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from axolotl_grpo_plugin.args import GRPOArgs
from axolotl_grpo_plugin.config import PLUGIN, Config, is_grpo, is_named, mappings_of
from axolotl_grpo_plugin.data.inputs import check_file, check_format, check_transform
from axolotl_grpo_plugin.findings import (
    Findings,
    correct_path,
    fault,
    finding_of,
    first_line,
    nearest,
)
from axolotl_grpo_plugin.load import reward_refs
from axolotl_grpo_plugin.paths import PACKAGED
from axolotl_grpo_plugin.recipes.keys import is_recipe
from axolotl_grpo_plugin.transforms.gsm8k import instructions
from axolotl_grpo_plugin.transforms.rows import DatasetError

_PACKAGE = "axolotl_grpo_plugin"


def check_rl(cfg: Config, use: str, in_the_cloud: bool = False) -> Findings:
    """Check that a config is for GRPO, and that a training names the plugin.

    Args:
        cfg: A config that one of our commands got.
        use: "train" or "answer". `eval` and `passrate` need no plugin under `plugins:`.
        in_the_cloud: The config came with a cloud.yaml.
    """
    if is_recipe(cfg.raw):
        yield fault(
            "recipe",
            str(cfg.file),
            "this is a recipe of TRL, open-r1 or X-R1, and no Axolotl config",
            f"Run `axolotl-grpo convert {cfg.file}`",
        )
    elif not is_grpo(cfg):
        fix = "Use `axolotl train` for it"
        if use == "answer" or is_named(cfg) or cfg.trl:
            fix = "Set rl: grpo, or gdpo"
        if in_the_cloud:
            fix = "Set provider: modal in cloud.yaml"
        yield fault("not-grpo", f"rl ({cfg.value_at('rl')})", "not grpo or gdpo", fix)
    elif use == "train" and not is_named(cfg) and not any(check_plugin(cfg)):
        yield fault("no-plugin", "plugins", "the GRPO plugin is not listed", f"Add - {PLUGIN}")


def check_keys(cfg: Config) -> Findings:
    """Check this plugin's keys, because Axolotl drops unknown keys silently."""
    known = GRPOArgs.model_fields
    for key in cfg.raw:
        if str(key).startswith("grpo_") and key not in known:
            yield fault("unknown-key", key, "no such key", nearest(key, known))


def check_blocks(cfg: Config) -> Findings:
    """Check that blocks hold keys, because Axolotl's message for another value names no key."""
    # The raw values, because the typed view of a wrong block is empty.
    for key in ("trl", "vllm"):
        if cfg.value_at(key) and not isinstance(cfg.value_at(key), dict):
            yield fault(
                "no-block", key, "not a block of keys", "Write each as `key: value` below it"
            )
    if not isinstance(cfg.value_at("grpo_columns") or {}, dict):
        yield fault("no-map", "grpo_columns", "not a map", "Write {question: q, answer: a}")


def check_datasets(cfg: Config) -> Findings:
    """Check that transforms import by Axolotl's rule, and that local files exist and are not empty."""
    for key in ("datasets", "test_datasets"):
        written = cfg.value_at(key)
        datasets = mappings_of(written)
        if written and written != datasets:
            yield fault("no-list", key, "not a list of datasets", "Begin each with `- path:`")
        for number, dataset in enumerate(datasets):
            yield from check_transform(dataset.get("type"), f"{key}[{number}].type")
            path, ds_type = dataset.get("path"), dataset.get("ds_type")
            yield from check_format(dataset, f"{key}[{number}].ds_type")
            yield from check_file(path, f"{key}[{number}].path", ds_type)


def check_deepspeed(cfg: Config) -> Findings:
    """Check that the DeepSpeed config exists and is JSON. Axolotl opens it only to train."""
    file = cfg.deepspeed
    if not isinstance(file, str) or not file:
        return
    where = f"deepspeed ({file})"
    try:
        json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        fix = correct_path()
        if file.startswith("deepspeed_configs/"):
            fix = "Download it with `axolotl fetch deepspeed_configs`"
        yield fault("no-file", where, error.strerror or "cannot be read", fix)
    except ValueError as error:
        yield fault("no-json", where, f"not JSON: {first_line(error)}", "Correct the file")


def check_prompt_keys(cfg: Config) -> Findings:
    """Check the keys that make prompts: the chat template, worked examples and `grpo_prompt_template`."""
    name = cfg.chat_template
    if name and name.endswith(".jinja"):
        yield fault(
            "file-for-name",
            f"chat_template ({name})",
            "a file in place of a template's name",
            f"Write chat_template: jinja and chat_template_jinja: {name}",
        )
    template = cfg.chat_template_jinja
    if template and template.endswith(".jinja") and not os.path.isfile(template):
        # Axolotl would use the path itself as the template.
        yield fault(
            "no-file",
            f"chat_template_jinja ({template})",
            "no such file",
            f"{correct_path()}, or copy the shipped templates with `axolotl-grpo fetch`",
        )
    try:
        # Axolotl hides errors of a transform's factory, and its schema reports other types.
        instructions(examples=_examples(cfg))
    except DatasetError as error:
        fix = 'End the answer in "#### <answer>"'
        yield finding_of(error, "wrong-example", "grpo_examples", fix)
    where = "grpo_prompt_template"
    template = cfg.grpo_prompt_template
    if not template:
        return
    if "{question}" not in template:
        yield fault(
            "no-question",
            where,
            "it has no place for the question",
            "Write {question} where the question belongs",
        )
    for key in ("grpo_system_prompt", "grpo_system_in", "grpo_examples"):
        if cfg.value_at(key):
            yield fault(
                "unused-key",
                key,
                f"not used, because {where} is the whole prompt",
                "Remove one of the two keys",
            )


def _examples(cfg: Config) -> Sequence[Mapping[str, str]]:
    """Return the worked examples, none if the validation refuses one."""
    examples = cfg.grpo_examples
    for example in examples:
        for key in ("question", "answer"):
            if not isinstance(example.get(key), str):
                return []
    return examples


def check_held_out(cfg: Config) -> Findings:
    """Check that held-out rows have a dataset, and that no other generation runs beside them."""
    held_out, steps = cfg.grpo_held_out_rows, "grpo_eval_steps"
    if cfg.grpo_eval_steps and not held_out:
        yield fault(
            "no-held-out-rows",
            steps,
            "there are no held-out rows to answer",
            "Set grpo_held_out_rows",
        )
    for key in ("grpo_keep_best", "grpo_stop_at"):
        if cfg.value_at(key) and not cfg.grpo_eval_steps:
            what = "no step of the training answers held-out rows"
            yield fault("no-held-out-rows", key, what, "Set grpo_eval_steps")
    if cfg.grpo_eval_steps and cfg.trl.async_prefetch:
        yield fault(
            "held-out-with-prefetch",
            steps,
            "held-out answers would make completions of trl.async_prefetch greedy, too",
            "Remove one of the two keys",
        )
    if held_out and not cfg.test_datasets:
        yield fault(
            "no-held-out-rows",
            "grpo_held_out_rows",
            "there are no test_datasets to take the rows from",
            "Add test_datasets, or remove the key",
        )


def check_plugin(cfg: Config) -> Findings:
    """Check that a config which uses this plugin names it, by its own path.

    With a second path, Axolotl would add the plugin's keys twice.
    """
    plugins = cfg.value_at("plugins")  # as it is written: the typed view has a list
    if isinstance(plugins, str):
        yield fault("no-list", f"plugins ({plugins})", "not a list", f"Write - {PLUGIN}")
        return
    is_wrong = False
    for name in map(str, cfg.plugins):
        similar = get_close_matches(name, [PLUGIN, _PACKAGE], 1, 0.8)
        if name.replace(":", ".") != PLUGIN and (name.startswith(_PACKAGE) or similar):
            is_wrong = True
            yield fault(
                "plugins-path", f"plugins ({name})", "not the plugin's path", f"Write {PLUGIN}"
            )
    if not is_wrong and not is_named(cfg) and (used := next(_used(cfg), None)):
        yield fault(
            "plugin-not-listed",
            "plugins",
            f"the plugin is not listed, but {used} needs it",
            f"Add - {PLUGIN}",
        )


def _used(cfg: Config) -> Iterator[str]:
    """Yield the keys and paths of a config that only this plugin understands or protects."""
    for key in map(str, cfg.raw):
        if key.startswith("grpo_"):
            yield key
    values = [cfg.base_model, *(reward.key for reward in reward_refs(cfg))]
    for dataset in cfg.datasets:
        values += [dataset.get("path"), dataset.get("type")]
    for value in map(str, values):
        if value.startswith((PACKAGED, f"{_PACKAGE}.")):
            yield value
