"""Measure the training phase of a step: TRL's, the one of the lean step before, and the packed step.

    python -m benchmarks.packed FOLDER [--case NAME ...] [--model models/smollm2-135m-instruct] [--repeat 3]

Each measurement is one optimizer step of a GRPOTrainer in a process of its own. The completions and rewards are made up,
and the same in all arms. All else is the trainer's code. The arms alternate. FOLDER gets a JSON file per measurement.
A later call continues from these files. The first call puts the other TRL and the other commit of the plugin into FOLDER.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from zipfile import ZipFile

import torch
import trl
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from torch.utils.hooks import RemovableHandle
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from benchmarks.all import ROOT, facts

OTHER_TRL = "1.16.0"
LEAN_COMMIT = "519cae1"  # the last one with `training/lean_step.py`
PLAIN, NEWER, LEAN, PACKED = (
    "plain TRL",
    f"plain TRL {OTHER_TRL}",
    f"lean step of {LEAN_COMMIT}",
    "packed",
)
ARMS = (PLAIN, NEWER, LEAN, PACKED)

type Groups = tuple[tuple[int, tuple[int, ...]], ...]
"""The tokens of each prompt, and of its completions. They were drawn once from log-normal distributions."""

# Completions with a mean of 25 % of 256 tokens, at most 176.
NOTES: Groups = (
    (77, (111, 24, 93, 38, 38, 176, 52, 45)),
    (79, (140, 62, 96, 32, 49, 47, 25, 22)),
    (57, (16, 17, 15, 20, 7, 18, 23, 33)),
    (66, (21, 7, 20, 6, 10, 62, 6, 50)),
)
# Completions with a mean of 66 tokens, at most 165, as on GSM8K.
GSM8K: Groups = (
    (80, (49, 117, 101, 39, 116, 27, 42, 32)),
    (159, (26, 124, 61, 25, 125, 123, 165, 28)),
    (150, (50, 23, 91, 20, 105, 38, 52, 51)),
    (94, (49, 42, 57, 100, 87, 70, 59, 27)),
)
LONG_PROMPTS: Groups = tuple(
    (prompt, completions)
    for prompt, (_, completions) in zip((293, 578, 545, 342), GSM8K, strict=True)
)
QUICKSTART: Groups = (
    (83, (23, 30, 19, 28, 22, 22, 34, 24)),
    (65, (23, 27, 29, 23, 26, 19, 21, 21)),
)
VOCABULARY: Groups = ((100, (256,) * 8),)


class Case(NamedTuple):
    """A step to measure.

    micro: completions per pass of TRL. dead: the first prompt groups without gradient. checkpointing: of gradients.
    vllm: whether the completions have log-probabilities of vLLM. random: random weights with Qwen2.5's vocabulary.
    """

    title: str
    groups: Groups
    micro: int
    dead: int = 0
    checkpointing: bool = False
    vllm: bool = False
    lora: bool = False
    random: bool = False


CASES = {
    "gsm8k": Case(
        "As on a GPU: GSM8K's lengths, 8 completions per pass, gradient checkpointing, no dead group",
        GSM8K,
        8,
        checkpointing=True,
    ),
    "gsm8k-dead": Case(
        "The same with half of the groups dead", GSM8K, 8, dead=2, checkpointing=True
    ),
    "notes": Case(
        "32 completions, 4 per pass, mean 25 % of 256, half of the groups dead, no gradient checkpointing",
        NOTES,
        4,
        dead=2,
    ),
    "notes-checkpointing": Case(
        "The same with gradient checkpointing", NOTES, 4, dead=2, checkpointing=True
    ),
    "vllm": Case(
        "vLLM's ratios: 32 completions, 8 per pass, half of the groups dead, no gradient checkpointing",
        NOTES,
        8,
        dead=2,
        vllm=True,
    ),
    "vocabulary": Case(
        "Memory: random weights, 4 layers of width 896, a vocabulary of 151,936; 8 completions of 256 tokens in one pass",
        VOCABULARY,
        8,
        random=True,
    ),
    "long-prompts": Case(
        "Prompts of 293 to 578 tokens, 8 completions per pass, gradient checkpointing, no dead group",
        LONG_PROMPTS,
        8,
        checkpointing=True,
    ),
    "quickstart": Case(
        "quickstart-smollm2: 16 short completions in one pass, LoRA, no gradient checkpointing",
        QUICKSTART,
        16,
        lora=True,
    ),
}


class Rollouts:
    """The prompts, completions and rewards of a case, row by row."""

    def __init__(self, case: Case):
        draw = random.Random(3)
        self.prompts: list[list[int]] = []
        self.completions: list[list[int]] = []
        self.rewards: list[float] = []
        self.is_dead: list[bool] = []
        for number, (prompt_tokens, lengths) in enumerate(case.groups):
            prompt = draw.choices(range(100, 40000), k=prompt_tokens)
            for place, length in enumerate(lengths):
                self.prompts.append(prompt)
                self.completions.append(draw.choices(range(100, 40000), k=length))
                self.is_dead.append(number < case.dead)
                self.rewards.append(1.0 if self.is_dead[-1] else float(place % 2))


def model_of(case: Case, path: str) -> Any:
    """Return a model in float32. Random weights are the same in each process."""
    if not case.random:
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    torch.manual_seed(1)
    config = Qwen2Config(
        vocab_size=151_936,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=4,
        num_attention_heads=14,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    return Qwen2ForCausalLM(config)


def trainer_of(case: Case, arm: str, path: str, folder: str) -> Any:
    """Return the trainer of an arm with made-up completions."""
    rows = Rollouts(case)
    passes = len(rows.prompts) // case.micro
    args = trl.GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=case.micro,
        gradient_accumulation_steps=passes,
        num_generations=8,
        max_completion_length=256,
        loss_type="dapo",
        report_to=[],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=case.checkpointing,
    )
    layers = ["q_proj", "k_proj", "v_proj", "o_proj"]
    lora = LoraConfig(
        r=16, lora_alpha=32, target_modules=layers, layers_to_transform=list(range(15, 30))
    )
    model = model_of(case, path)
    if case.lora:
        torch.manual_seed(5)
        model = get_peft_model(model, lora)
    trainer_class = trl.GRPOTrainer
    if arm == PACKED:
        trainer_class = import_module("axolotl_grpo_plugin.trl").GRPOTrainer
    trainer = trainer_class(
        model,
        lambda prompts, **_: rows.rewards,
        args,
        Dataset.from_dict({"prompt": [f"{number}?" for number in range(64)]}),
        processing_class=AutoTokenizer.from_pretrained(path),
    )
    if arm == LEAN:
        import_module("axolotl_grpo_plugin.training.lean_step").LeanStep(trainer, {})
    if case.checkpointing:  # `train()` would do this
        trainer.model.gradient_checkpointing_enable({"use_reentrant": False})
    logps = near_logps(trainer.model, rows) if case.vllm else None
    trainer.use_vllm = case.vllm
    texts = ["x"] * len(rows.prompts)
    made: Any = rows.prompts, rows.completions, None, texts, logps, {}, None, None
    trainer._generate = lambda _: made
    silence(trainer, rows.is_dead)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = passes
    return trainer


def near_logps(model: Any, rows: Rollouts) -> list[list[float]]:
    """Return log-probabilities near the model's own, as vLLM's are."""
    noise, found = random.Random(3), []
    for prompt, completion in zip(rows.prompts, rows.completions, strict=True):
        with torch.no_grad():
            logits = model(
                torch.tensor([prompt + completion]), logits_to_keep=len(completion) + 1
            ).logits[0, :-1]
        own = logits.log_softmax(-1)[range(len(completion)), completion].tolist()
        found.append([value + noise.gauss(0, 0.3) for value in own])
    return found


def silence(trainer: Any, is_dead: list[bool]) -> None:
    """Set the advantages of dead groups to exactly 0, as the plugin does in a training."""
    generate = trainer._generate_and_score_completions

    def generate_and_score(inputs: Any) -> Any:
        batch = generate(inputs)
        batch["advantages"][torch.tensor(is_dead)] = 0.0
        return batch

    trainer._generate_and_score_completions = generate_and_score


class Meter:
    """Counts the CPU seconds, the peak memory, and the tokens that the model's embedding reads.

    Attributes:
        tokens: Of passes without a gradient, and of passes with one.
        check: Seconds and peak memory of `apart`.
    """

    def __init__(self, model: Any):
        self.tokens = [0, 0]
        self.check = [0.0, 0.0]
        self._began = time.process_time()
        self._hook: RemovableHandle = model.get_input_embeddings().register_forward_hook(
            self._count
        )
        self.loaded = _memory("VmRSS")
        _forget_peak()

    def _count(self, module: Any, inputs: tuple[torch.Tensor], output: Any) -> None:
        self.tokens[torch.is_grad_enabled()] += inputs[0].numel()

    def apart(self, function: Callable[..., None]) -> Callable[..., None]:
        """Return a function whose costs count in `check` only."""

        def measured(*arguments: Any) -> None:
            tokens, began = [*self.tokens], time.process_time()
            _forget_peak()
            function(*arguments)
            seconds, peak = time.process_time() - began, _memory("VmHWM")
            self.check = [self.check[0] + seconds, max(self.check[1], peak)]
            self._began += seconds
            self.tokens = tokens
            if (
                seconds > 0.1
            ):  # later calls return at once, and must not hide the peak of the passes
                _forget_peak()

        return measured

    def stop(self) -> dict[str, Any]:
        return {
            "seconds": time.process_time() - self._began,
            "memory": _memory("VmHWM"),
            "loaded": self.loaded,
            "tokens": self.tokens[1],
            "tokens_without_gradient": self.tokens[0],
            "check": self.check,
        }


def _memory(name: str) -> float:
    """Return a value of /proc/self/status in GiB, such as VmRSS, or its peak VmHWM."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) / 2**20


def _forget_peak() -> None:
    """Let the peak of the memory begin again at the memory in use."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(case: Case, arm: str, path: str, folder: str) -> dict[str, Any]:
    """Run a step. Return its seconds of CPU time, its tokens, and its peak memory in GiB."""
    torch.set_num_threads(1)
    trainer = trainer_of(case, arm, path, folder)
    model, passes = trainer.model, trainer.args.gradient_accumulation_steps
    # The first pass of a process is slower than the others.
    model(torch.arange(100, 116)[None]).logits.sum().backward()
    model.zero_grad()
    torch.manual_seed(7)  # TRL shuffles the rows
    inputs = [{"prompt": f"{number}?"} for number in range(passes * case.micro)]
    meter = Meter(model)
    if arm == PACKED:  # compares its first pass with TRL's, once per training
        trainer._check_packing = meter.apart(trainer._check_packing)
    for number in range(passes):
        trainer.accelerator.gradient_state._set_sync_gradients(number + 1 == passes)
        trainer.compute_loss(model, trainer._prepare_inputs(inputs)).backward()
        trainer._step += 1
    result = meter.stop()
    gradients = [value.grad for value in model.parameters() if value.grad is not None]
    if arm == PACKED:
        assert trainer.packed_step == "pack, skip", trainer.packed_step
    return result | {
        "gradient": float(sum(gradient.pow(2).sum() for gradient in gradients).sqrt()),
        "trl": trl.__version__,
    }


def other_versions(folder: Path) -> dict[str, list[Path]]:
    """Put the other TRL and the other commit into a folder. Return what each arm imports before the environment."""
    other_trl, lean = folder / f"trl-{OTHER_TRL}", folder / f"plugin-{LEAN_COMMIT}"
    if not other_trl.exists():
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", f"trl=={OTHER_TRL}"]
        subprocess.run([*pip, "--dest", str(folder)], check=True, stdout=sys.stderr)
        ZipFile(next(folder.glob(f"trl-{OTHER_TRL}-*.whl"))).extractall(other_trl)
    if not lean.exists():
        archive = folder / f"{LEAN_COMMIT}.zip"
        git = ["git", "-C", str(ROOT), "archive", "--output", str(archive)]
        subprocess.run([*git, LEAN_COMMIT, "axolotl_grpo_plugin"], check=True)
        ZipFile(archive).extractall(lean)
    return {PLAIN: [ROOT], NEWER: [other_trl, ROOT], LEAN: [lean, ROOT], PACKED: [ROOT]}


def measure_apart(name: str, arm: str, path: str, folder: Path, imports: list[Path]) -> str:
    """Measure in a process of its own. Return its JSON."""
    # -P leaves out the working folder, whose plugin would come before that of PYTHONPATH.
    command = [sys.executable, "-P", "-m", "benchmarks.packed", str(folder), "--model", path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, imports))}
    command += ["--one", name, arm]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    *_, result = done.stdout.splitlines()
    return str(result)


def table(case: Case, results: dict[str, list[dict[str, Any]]]) -> str:
    """Return a Markdown table of a case."""
    plain = median(result["seconds"] for result in results[PLAIN])
    lines = [
        f"## {case.title}",
        "",
        "| arm | seconds, median (lowest to highest) | times faster than plain TRL | tokens | peak memory, GiB (above the loaded trainer) | norm of the gradient |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for arm, measured in results.items():
        times = [result["seconds"] for result in measured]
        first = measured[0]
        memory = median(result["memory"] for result in measured)
        above = median(result["memory"] - result["loaded"] for result in measured)
        without = first["tokens_without_gradient"]
        cells = [
            f"{arm} (trl {first['trl']})",
            f"{median(times):.1f} ({min(times):.1f} to {max(times):.1f})",
            f"{plain / median(times):.2f}",
            f"{first['tokens']:,}" + (f", and {without:,} without gradient" if without else ""),
            f"{memory:.1f} ({above:.1f})",
            f"{first['gradient']:.6g}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    checks = [result["check"] for result in results[PACKED]]
    seconds, peak = (median(values) for values in zip(*checks, strict=True))
    lines += [
        "",
        f"Repetitions: {len(results[PACKED])}. The comparison of the packed pass with TRL's, once per training, "
        f"is not in the row: {seconds:.1f} s, peak memory {peak:.1f} GiB.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--case", nargs="+", choices=CASES, default=[*CASES])
    parser.add_argument("--model", default="models/smollm2-135m-instruct")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument(
        "--one", nargs=2, metavar=("CASE", "ARM"), help="measure here, and print JSON"
    )
    options = parser.parse_args()
    if options.one:
        name, arm = options.one
        print(json.dumps(measure(CASES[name], arm, options.model, str(options.folder))))
        return
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    imports = other_versions(folder)
    print(facts(), "\n")
    for name in options.case:
        results: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
        for number in range(options.repeat):
            for arm in ARMS:
                file = folder / f"{name}-{arm.replace(' ', '_')}-{number}.json"
                if not file.exists():
                    file.write_text(measure_apart(name, arm, options.model, folder, imports[arm]))
                results[arm].append(json.loads(file.read_text()))
        print(table(CASES[name], results), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
