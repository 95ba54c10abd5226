"""Answer a config's rows with its models. `eval` and `passrate` begin with this."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from os.path import isfile
from pathlib import Path
from typing import Any, Literal

import click

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.checks.config import check_datasets, check_keys, check_plugin
from axolotl_grpo_plugin.checks.rewards import check_ready, check_rewards, functions_in
from axolotl_grpo_plugin.checks.tools import check_start, check_tool_use, check_tools, tool_tokens
from axolotl_grpo_plugin.config import block, context_of, is_grpo, limit_prompts, read_config
from axolotl_grpo_plugin.environments.names import uses_tools
from axolotl_grpo_plugin.evaluation.answers import ScoredAnswer
from axolotl_grpo_plugin.evaluation.benchmarks import benchmark, names
from axolotl_grpo_plugin.evaluation.scoring import AnswerScorer
from axolotl_grpo_plugin.findings import ConfigError, Finding, at, first_line, nearest, stop_on
from axolotl_grpo_plugin.generation.answers import AnswerStore, Job
from axolotl_grpo_plugin.generation.generate import Backend, Shard, generate, jobs_of
from axolotl_grpo_plugin.generation.models import Model, models_of
from axolotl_grpo_plugin.generation.rows import questions, transformed
from axolotl_grpo_plugin.generation.sampling import Sampling
from axolotl_grpo_plugin.reward import NOT_COLUMNS
from axolotl_grpo_plugin.serving.placement import visible_gpus
from axolotl_grpo_plugin.stats.end_tokens import end_tokens, model_config
from axolotl_grpo_plugin.stats.rows import Source, Unreadable, sources
from axolotl_grpo_plugin.stats.tokenizer import AxolotlTokenizer, open_tokenizer

_COMPARED = 50_000  # training rows per file. 20,000 rows of GSM8K take 2 s
VLLM_FIX = 'pip install "axolotl-grpo-plugin[vllm]"'


@dataclass(frozen=True)
class Options:
    """The options that `eval` and `passrate` share. cli.py documents them."""

    model: Sequence[str] = ()
    checkpoints: str | None = None
    data: str | None = None
    data_file: str | None = None
    samples: int = 8
    limit: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: Sequence[str] = ()
    seed: int = 0
    batch_size: int | None = None
    engine: Literal["auto", "transformers", "vllm"] = "auto"
    server: str | None = None
    shard: str | None = None
    merge: bool = False
    dest: str | None = None

    def vllm(self) -> bool:
        """Return whether vLLM generates: at an address, if asked, or if it is installed beside a GPU."""
        if self.engine == "auto":
            return bool(self.server) or bool(find_spec("vllm") and visible_gpus())
        return self.engine == "vllm"


class Session:
    """One config's rows, models and stored answers.

    key: the rows to take without --data, "test_datasets" or "datasets". folder: for the results, below
    output_dir. evaluates: also answer each row greedily, and with the trained model. generates: the
    models are needed. Raises: ConfigError if the config, a model or the rows are unusable.
    """

    def __init__(
        self,
        config: str,
        options: Options,
        key: str,
        folder: str,
        evaluates: bool,
        generates: bool = True,
    ):
        self.options, self.cfg = options, _read(config)
        cfg = self.cfg
        self.shard = Shard.of(options.shard) if options.shard else Shard()
        self.sources = _sources(cfg, options, key)
        paths.resolve_packaged(cfg)
        limit_prompts(cfg)
        stop_on([*check_rewards(cfg), *check_datasets(cfg), *check_ready(cfg)])
        self.models: list[Model] = []
        if generates:
            stop_on(_check_engine(options))
            self.models = models_of(cfg, options.model, options.checkpoints, trained=evaluates)
        self.folder = Path(options.dest or Path(cfg.get("output_dir") or "model-out", folder))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            what = f"cannot be made: {first_line(error)}"
            stop_on([Finding(str(self.folder), what, "Name another folder with --dest")])
        self.store = AnswerStore(self.folder / "answers")
        self.tokenizer = AxolotlTokenizer(cfg, open_tokenizer(cfg).folder)
        if options.data:  # the training's limit would shrink a benchmark
            cfg["grpo_max_prompt_length"] = None
        self.rows, self.dropped = questions(cfg, self.sources, self.tokenizer, options.limit)
        self.repeats = 0
        if evaluates and not uses_tools(cfg):  # an environment may read more than the prompt
            first = {(row.dataset, *row.ids): row for row in reversed(self.rows)}
            self.repeats = len(self.rows) - len(first)
            self.rows = [*reversed(first.values())]
        stop_on([*self._check_columns(), *self._check_tokenizers()])
        if generates and uses_tools(cfg):
            stop_on(check_tool_use(cfg, self.rows[0].prompt))
        self.sampling = Sampling.of(
            cfg,
            temperature=options.temperature,
            top_p=options.top_p,
            max_tokens=options.max_tokens,
            stop=tuple(options.stop),
            ends=tuple(end_tokens(cfg, self.tokenizer.real, model_config(cfg))),
            seed=options.seed,
        )
        if not evaluates and not options.samples:
            stop_on([Finding("--samples 0", "no answers", "Write 1 or more")])
        if not self.sampling.temperature and options.samples:
            what = "equal samples, because the temperature is 0"
            stop_on([Finding("--samples", what, "Set --temperature, or --samples 0")])
        self.plans = [(self.sampling.greedy(), 1)] if evaluates else []
        if options.samples:
            self.plans.append((self.sampling, options.samples))

    def trained_on(self) -> int:
        """Return how many rows have a prompt of the config's training files, 0 if those are not here."""
        cfg = read_config(self.cfg["axolotl_config_path"])  # --data has replaced the datasets
        paths.resolve_packaged(cfg)
        prompts = set[str]()
        for source in sources(cfg):
            if source.key == "datasets" and isfile(source.path):
                with suppress(ConfigError, Unreadable):
                    rows = transformed(cfg, source, self.tokenizer, _COMPARED)
                    prompts.update(str(row["prompt"]) for _, row in rows)
        return len(prompts & {str(row.prompt) for row in self.rows})

    def _check_columns(self) -> Iterator[Finding]:
        """Check that the rows have the columns that the rewards read."""
        columns = {name for row in self.rows for name in row.columns}
        for where, _, function in functions_in(self.cfg):
            for name in sorted({*function.spec.reads} - NOT_COLUMNS - columns):
                what = f'it reads "{name}", which the rows lack (they have: {", ".join(columns)})'
                yield Finding(where, what, "Let the transform keep or make that column")

    def _check_tokenizers(self) -> Iterator[Finding]:
        """Check that the models read the config's token ids."""
        from tokenizers import Tokenizer

        ids = self.tokenizer.real.get_vocab()
        for model in self.models:
            file = model.folder / "tokenizer.json"
            own = Tokenizer.from_file(str(file)).get_vocab() if file.is_file() else {}
            if any(ids.get(token) != number for token, number in own.items()):
                what = f"its tokenizer is not that of {self.cfg.get('base_model')}"
                fix = "Use a config that has this model as its base_model"
                yield Finding(f"--model {model.label}", what, fix)

    def notes(self, scorer: AnswerScorer) -> list[str]:
        """Return sentences on models, rows and scores that are missing, or that count once."""
        lines = [
            f"{' and '.join(model.names)} have equal weights: nothing changed from one to the other."
            for model in self.models
            if len(model.names) > 1
        ]
        if self.repeats:
            lines.append(
                f"Rows left out, because they repeat the prompt of another row: {self.repeats:,}."
            )
        if self.dropped:
            longest = self.cfg.get("grpo_max_prompt_length")
            lines.append(
                f"{self.dropped:,} rows are left out, as in the training: "
                f"their prompts have more than {longest} tokens (grpo_max_prompt_length, or the context "
                "less trl.max_completion_length)."
            )
        lines += [f"{key} is left out: a reward model needs a trainer." for key in scorer.left_out]
        lines += [
            f"{name} failed on {scorer.failures[name]:,} answers, which do not count: {error}"
            for name, error in scorer.errors.items()
        ]
        return lines

    @cached_property
    def backend(self) -> Backend:
        """transformers or vLLM; with the config's tools if it has any."""
        turns, first = self._turns(), self.rows[0]
        if not uses_tools(self.cfg):
            return turns
        from axolotl_grpo_plugin.environments.backend import ToolBackend

        size = self.options.batch_size
        made = ToolBackend(self.cfg, turns, self.tokenizer.real, self.sampling.max_tokens, size)
        stop_on(check_start(self.cfg, made.tools, {"prompt": first.prompt, **first.columns}))
        return made

    def _turns(self) -> Backend:
        """Return what writes the model's text."""
        if not self.options.vllm():
            from axolotl_grpo_plugin.generation.local import LocalBackend

            return LocalBackend(self.cfg, self.tokenizer.real, self.options.batch_size)
        from axolotl_grpo_plugin.generation.vllm import VllmBackend

        longest = max(len(row.ids) for row in self.rows) + self.sampling.max_tokens
        if uses_tools(self.cfg):
            used = tool_tokens(self.cfg, self.tokenizer, self.rows[0].prompt)
            _, context = context_of(self.cfg) or ("", 0)  # also for text that `reset` adds
            longest = max(longest + used.descriptions, context)
        return VllmBackend(self.cfg, self.models, self.folder, self.options.server, longest)

    @cached_property
    def how(self) -> str:
        """The engine and precision of the answers. --merge takes those of the stored answers."""
        if not self.options.merge:
            return self.backend.how
        if not self.store.engines:
            fix = "Run the command without --merge first"
            stop_on([Finding(str(self.store.folder), "no answers", fix)])

        def answered(engine: str) -> int:
            jobs = [jobs_of(model, self.rows, self.plans, engine) for model in self.models]
            return sum(job.key in self.store for each in jobs for job in each)

        return max(sorted(self.store.engines), key=answered)

    def jobs(self, model: Model, shard: Shard | None = None) -> list[Job]:
        """Return the answers that a model gives, to all rows or to a shard's."""
        return jobs_of(model, self.rows, self.plans, self.how, shard)

    def answer(self) -> bool:
        """Generate the answers that the store lacks. Return whether only a shard was answered.

        Raises: ConfigError if answers are missing, and --merge does not allow to generate them.
        """
        if self.options.merge:
            self._check_complete()
            return False
        self._generate()
        if self.options.shard:
            count = sum(len(self.jobs(model, self.shard)) for model in self.models)
            click.echo(
                f"Shard {self.options.shard}: all {count:,} answers are in {self.store.folder}. "
                "When all shards have ended, run the command with --merge in place of --shard.",
                err=True,
            )
        return bool(self.options.shard)

    def _generate(self) -> None:
        # Models on the same base follow each other, so that it is loaded once.
        for model in sorted(self.models, key=lambda model: str(model.folder)):
            jobs = self.jobs(model, self.shard)
            generate(self.backend, self.store, model, jobs, self.tokenizer.real)
        self.backend.close()

    def _check_complete(self) -> None:
        """Raise ConfigError if the store lacks an answer, and name the rows."""
        lost: dict[str, Counter[int]] = {}
        for model in self.models:
            missing = (job.question.row for job in self.jobs(model) if job.key not in self.store)
            if rows := Counter(missing):
                lost[model.label] = rows
        if lost:
            parts = [
                f"{name} lacks {rows.total():,} answers to {len(rows):,} rows (the first is row {min(rows)})"
                for name, rows in lost.items()
            ]
            fix = "Run the shards that are missing, or leave out --merge to generate them here"
            raise ConfigError(str(Finding(str(self.store.folder), "; ".join(parts), fix)))

    def scored(self, scorer: AnswerScorer) -> list[ScoredAnswer]:
        """Return all answers with their scores."""
        found = []
        for model in self.models:
            for plan in self.plans:
                jobs = jobs_of(model, self.rows, [plan], self.how)
                scored = scorer.scored(model, jobs, [self.store[job.key] for job in jobs], plan[1])
                for label, step in model.names.items():
                    found += [answer._replace(model=label, step=step) for answer in scored]
        return found


def _check_engine(options: Options) -> Iterator[Finding]:
    if options.vllm() and not options.server and not find_spec("vllm"):
        yield Finding("--engine vllm", "vLLM is not installed", VLLM_FIX)
    if options.server and options.engine == "transformers":
        yield Finding("--server", "not for transformers", "Leave out one of --server and --engine")
    if options.merge and options.shard:
        yield Finding("--merge", "reports on all shards", "Leave out --shard")


def _read(config: str) -> Any:
    cfg = read_config(config)
    if not is_grpo(cfg):
        stop_on(
            [Finding(at(cfg, "rl"), f"{cfg.get('rl')!r} is not supported here", "Set rl: grpo")]
        )
    paths.add_working_folder()
    stop_on([*check_plugin(cfg), *check_keys(cfg), *check_tools(cfg)])
    return cfg


def _sources(cfg: Any, options: Options, key: str) -> list[Source]:
    """Return the datasets to answer. A benchmark brings its own reward, which replaces the config's."""
    data = options.data
    if options.data_file and data not in names():
        fix = f"Name the benchmark with --data: {', '.join(names())}"
        stop_on([Finding(f"--data-file {options.data_file}", "no benchmark is named", fix)])
    if data is None:
        found = [source for source in sources(cfg) if source.key == key]
        if not found:
            fix = f"Add {key}, or name rows with --data (a file, {', '.join(names())})"
            stop_on([Finding(at(cfg, key), "no rows", fix)])
        return found
    if data in names():
        described = benchmark(data, options.data_file)
        cfg["trl"] = {
            **block(cfg, "trl"),
            "reward_funcs": [described.reward],
            "reward_weights": None,
        }
        cfg["grpo_reward_args"] = cfg["grpo_columns"] = None
        cfg["datasets"] = [described.entry]  # transforms name their dataset in errors
        return [described.source]
    if not Path(data).is_file():
        stop_on([Finding(f"--data {data}", "no such file or benchmark", nearest(data, names()))])
    entry = {"path": data, "type": next((each.entry.get("type") for each in sources(cfg)), None)}
    cfg["datasets"] = [entry]
    return [Source("datasets", 0, data, entry)]
