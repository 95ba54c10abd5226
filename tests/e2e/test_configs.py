"""Axolotl and `axolotl-grpo check` accept every config of the pack, and its header is true."""

import os
import re
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.serving.nodes import place_on_nodes
from axolotl_grpo_plugin.serving.placement import mode_of, place, serving
from tests.e2e.conftest import ROOT, axolotl, environment, finish, start

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
VARIANTS = ROOT / "docs" / "variants.md"
SLURM = ROOT / "configs" / "multinode" / "slurm.sbatch"


class Machines(NamedTuple):
    nodes: int
    gpus: int  # of each node
    memory: int  # GB of each GPU


def machines(file):
    """Return the machines of the header's `# Needs:`, or None for a CPU."""
    needs = re.search(r"# Needs: +(?:(\d+) nodes of )?(\d+) GPUs? of (\d+) GB", file.read_text())
    return Machines(*(int(number or 1) for number in needs.groups())) if needs else None


def training_processes(given, needs):
    gpus = [str(gpu) for gpu in range(needs.gpus)]
    if needs.nodes > 1:
        return place_on_nodes(Config(given), gpus, needs.nodes).processes
    return place(Config(given), gpus).processes


def pack(condition=lambda file, given: True):
    """Parametrize a test with the configs of the pack that meet a condition."""
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
def test_check_reports_nothing(file, given, smollm2, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    # The other nodes must reach the server, and no shipped config knows the first one's address.
    public = given.get("vllm", {}).get("host") == "0.0.0.0"
    found = [each.where for each in reported(given, file, tmp_path)]
    assert found == ["vllm.host (0.0.0.0)"] * public


def reported(given, file, folder):
    """Return the findings of `axolotl-grpo check`, on the machines of a config's header."""
    from axolotl_grpo_plugin.commands.check import check, machine_of

    copy = folder / file.name  # a run of the pack may have filled its output_dir
    copy.write_text(yaml.safe_dump({**given, "output_dir": str(folder / "new")}))
    nodes, gpus, memory = machines(file) or (1, 0, None)
    checked = check(str(copy), machine_of(gpus, memory, None, nodes), offline=True)
    assert checked.memory.startswith("estimate ") is bool(gpus)
    return [each for each in checked.findings if each.level != "skipped"]


def merged(given, lines):
    """Return a config with other lines. A key without a value is removed."""
    blocks = {
        key: merged(given[key], value)
        for key, value in lines.items()
        if isinstance(value, dict) and isinstance(given.get(key), dict)
    }
    return {key: value for key, value in (given | lines | blocks).items() if value is not None}


@pytest.mark.parametrize("lines", re.findall(r"(?s)```yaml\n(.+?)```", VARIANTS.read_text()))
def test_check_accepts_the_variants_of_the_docs(lines, smollm2, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    file = ROOT / re.match(r"# (\S+)", lines)[1]
    given = yaml.safe_load(file.read_text())
    changed = merged(given, yaml.safe_load(lines))
    assert changed != given
    assert reported(changed, file, tmp_path) == []


@pack()
def test_header_names_needs_and_command(file, given):
    header = file.read_text().partition("base_model:")[0]
    for word in ("# Trains:", "# Needs:", "# Run:", "# Expect:"):
        assert word in header
    ((command, path),) = re.findall(r"(axolotl(?:-grpo)? train|sbatch .+) (\S+\.yaml)", header)
    assert Path(path) == file.relative_to(ROOT)
    if command.startswith("sbatch"):
        *requests, script = command.split()[1:]
        assert ROOT / script == SLURM
        needs = machines(file)
        script_requests = re.findall(r"^#SBATCH (--(?:nodes|gpus-per-node)=\d+)", SLURM.read_text(), re.MULTILINE)
        assert (requests or script_requests) == [f"--nodes={needs.nodes}", f"--gpus-per-node={needs.gpus}"]
        assert serving(Config(given)) == needs.gpus  # the first node serves with all its GPUs
    else:
        assert command == "axolotl-grpo train"
    assert f"`{path}`" in (ROOT / "docs/configs.md").read_text()


@pytest.mark.slow
@pack(lambda file, given: not machines(file) and "judge" not in file.parts)  # see test_rehearse
def test_cpu_config_trains_with_the_command_of_its_header(file, given, request, tmp_path, smollm2):
    """In a folder that `axolotl-grpo fetch` filled. A local copy of GSM8K stands in for the hub's."""
    axolotl("grpo", "fetch", cwd=tmp_path)
    (tmp_path / "models").symlink_to(smollm2.parent)
    if any(each["path"] == "openai/gsm8k" for each in given["datasets"]):
        rows = tmp_path / "openai" / "gsm8k" / "main"
        rows.mkdir(parents=True)
        (rows / "train.jsonl").symlink_to(request.getfixturevalue("gsm8k") / "train.jsonl")
        configs = "configs:\n- config_name: main\n  data_files: main/train.jsonl\n"
        (rows.parent / "README.md").write_text(f"---\n{configs}---\n")
    path = environment()["PATH"]
    if mode_of(Config(given)) == "server":
        path = f"{request.getfixturevalue('vllm').parent}{os.pathsep}{path}"
    header = file.read_text().partition("base_model:")[0]
    (config,) = re.findall(r"axolotl-grpo train (\S+)", header)
    printed = finish(start("grpo", "train", config, "--max-steps", 2, cwd=tmp_path, PATH=path))
    assert "2/2" in printed
    assert (tmp_path / given["output_dir"] / "run.yaml").exists()


@pack(lambda file, given: machines(file))
def test_batches_hold_whole_prompt_groups(file, given):
    generations = given["trl"]["num_generations"]
    ranks = training_processes(given, machines(file))
    per_rank = given["micro_batch_size"] * given["gradient_accumulation_steps"]
    if given["trl"].get("use_data_producer"):
        assert per_rank % generations == 0  # it gives each rank whole groups
    completions, prompts = re.search(
        r"gradient_accumulation_steps: \d+ # (\d+) completions per step: (\d+) prompts", file.read_text()
    ).groups()
    assert int(completions) == per_rank * ranks == int(prompts) * generations


@pack(lambda file, given: machines(file) and "vllm" in given)
def test_prompts_and_completions_fit_the_model_length(file, given):
    longest = re.search(r"(?:longest prompt has|more than) (\d+) tokens", file.read_text())[1]
    length = given["vllm"]["max_model_len"]
    assert int(longest) + given["trl"]["max_completion_length"] <= length == given["sequence_len"]


def test_slurm_script_requests_the_nodes_of_its_config():
    script = SLURM.read_text()
    (config,) = set(re.findall(r"configs/\S+\.yaml", script))
    needs = machines(ROOT / config)
    assert f"sbatch configs/multinode/slurm.sbatch {config}" in (ROOT / config).read_text()
    assert f"#SBATCH --nodes={needs.nodes}\n" in script
    assert f"#SBATCH --gpus-per-node={needs.gpus}\n" in script
