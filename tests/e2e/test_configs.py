"""Every config of the pack: Axolotl's own validation takes it, and takes all of it."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from axolotl_grpo_plugin.serving.placement import mode_of, place, serving
from tests.e2e.conftest import ROOT

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
SLURM = ROOT / "configs" / "multinode" / "slurm.sbatch"

# What Axolotl would find on the machine that a config names in its header.
CPU = {"bf16": False, "fp8": False, "tf32": False, "n_gpu": 1, "compute_capability": None}
CAPABILITY = {
    "A100": "sm_80",
    "RTX 3090": "sm_86",
    "RTX A4000": "sm_86",
    "L40S": "sm_89",
    "RTX 4090": "sm_89",
}


class Machines(NamedTuple):
    nodes: int
    gpus: int  # of each
    gpu: str


def machines(file):
    """What `# Needs:` names; None for a CPU."""
    found = re.search(
        r"# Needs: +(?:(\d+) nodes of )?(\d+) GPUs? of \d+ GB \(([\w ]+);", file.read_text()
    )
    return Machines(int(found[1] or 1), int(found[2]), found[3]) if found else None


def training_processes(given, needs):
    return place(given, [str(gpu) for gpu in range(needs.nodes * needs.gpus)]).processes


def capabilities(given, needs):
    if needs is None:
        return CPU
    capability = CAPABILITY[needs.gpu]
    return {
        "bf16": True,
        "fp8": capability >= "sm_89",
        "tf32": True,
        "n_gpu": training_processes(given, needs),
        "compute_capability": capability,
    }


def lost(given, kept, path=""):
    """The keys that were given a value and are not in what validation made of them."""
    for key, value in given.items():
        if value is None:
            continue
        if key not in kept or kept[key] is None:
            yield path + key
        elif isinstance(value, dict):
            yield from lost(value, kept[key], f"{path}{key}.")


def pack(condition=lambda file, given: True):
    """The configs of the pack that meet a condition, as pytest's parameters."""
    configs = {file: yaml.safe_load(file.read_text()) for file in CONFIGS}
    return pytest.mark.parametrize(
        ("file", "given"),
        [
            pytest.param(file, given, id=str(file.relative_to(ROOT)))
            for file, given in configs.items()
            if condition(file, given)
        ],
    )


@pack()
def test_axolotl_takes_it_whole(file, given, smollm2, monkeypatch):
    import torch
    from axolotl.cli.config import prepare_plugins
    from axolotl.utils.config import validate_config
    from axolotl.utils.dict import DictDefault
    from huggingface_hub import constants

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # a name on the hub may not be here
    cfg = DictDefault(given)
    prepare_plugins(cfg)
    if given.get("use_ray"):  # the driver validates first, and knows no GPU
        cfg = DictDefault(validate_config(cfg).to_dict())
        prepare_plugins(cfg)
    validated = validate_config(
        cfg,
        capabilities=capabilities(given, machines(file)),
        env_capabilities={"torch_version": torch.__version__.split("+")[0]},
    )
    assert list(lost(given, validated)) == []


@pack()
def test_its_header_says_what_it_needs_and_how_to_run_it(file, given):
    header = file.read_text().partition("base_model:")[0]
    for word in ("# Trains:", "# Needs:", "# Run:", "# Expect:"):
        assert word in header
    served = mode_of(given) == "server"
    ((command, path),) = re.findall(r"(axolotl (?:grpo )?train|sbatch \S+) (\S+\.yaml)", header)
    assert Path(path) == file.relative_to(ROOT)
    if command.startswith("sbatch"):
        assert ROOT / command.split()[1] == SLURM
    else:
        assert command == ("axolotl grpo train" if served else "axolotl train")
    assert ("--use-ray" in header) == bool(given.get("use_ray"))
    assert f"`{path}`" in (ROOT / "README.md").read_text()


@pack(lambda file, given: machines(file))
def test_its_batches_hold_whole_prompt_groups(file, given):
    generations = given["trl"]["num_generations"]
    ranks = training_processes(given, machines(file))
    a_rank = given["micro_batch_size"] * given["gradient_accumulation_steps"]
    assert a_rank % generations == 0  # Axolotl's data producer gives a rank whole groups
    completions, prompts = re.search(
        r"gradient_accumulation_steps: \d+ # (\d+) completions a step: (\d+) prompts",
        file.read_text(),
    ).groups()
    assert int(completions) == a_rank * ranks == int(prompts) * generations
    assert given["eval_batch_size"] * ranks % generations == 0


@pack(lambda file, given: machines(file))
def test_prompts_and_completions_fit_the_model_length(file, given):
    longest = int(re.search(r"the longest prompt has (\d+) tokens", file.read_text())[1])
    length = given["vllm"]["max_model_len"]
    assert longest + given["trl"]["max_completion_length"] <= length == given["sequence_len"]


@pack(lambda file, given: given.get("adapter") and mode_of(given) == "server")
def test_a_server_is_sent_the_adapter(file, given):
    assert given["trl"]["vllm_lora_sync"] and given["trl"]["use_data_producer"]


@pack(lambda file, given: "deepspeed" in given)
def test_the_deepspeed_file_is_there(file, given):
    assert json.loads((ROOT / given["deepspeed"]).read_text())["zero_optimization"]["stage"] == 3
    assert "deepspeed]" in file.read_text().partition("base_model:")[0]


def test_the_slurm_script_asks_for_what_its_config_needs():
    script = SLURM.read_text()
    (config,) = set(re.findall(r"configs/\S+\.yaml", script))
    needs = machines(ROOT / config)
    # The first node serves, with all that it has.
    assert serving(yaml.safe_load((ROOT / config).read_text())) == needs.gpus
    assert f"#SBATCH --nodes={needs.nodes}\n" in script
    assert f"#SBATCH --gpus-per-node={needs.gpus}\n" in script
