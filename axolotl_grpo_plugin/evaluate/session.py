"""The rows, models and stored answers of one call of `eval` or `passrate`."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from os.path import isfile
from pathlib import Path

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.checks.columns import check_reads
from axolotl_grpo_plugin.checks.table import Facts, findings
from axolotl_grpo_plugin.checks.tools import check_start, check_tool_use, tool_tokens
from axolotl_grpo_plugin.config import Config, context_of, limit_prompts, output_dir, read_config
from axolotl_grpo_plugin.data.end_tokens import end_tokens, model_config
from axolotl_grpo_plugin.data.rows import Source, sources
from axolotl_grpo_plugin.data.tokenizer import AxolotlTokenizer, open_tokenizer
from axolotl_grpo_plugin.environments.names import uses_tools
from axolotl_grpo_plugin.evaluate.answers import AnswerStore
from axolotl_grpo_plugin.evaluate.benchmarks import benchmark, names
from axolotl_grpo_plugin.evaluate.generate import AnswerBackend, generate, jobs_of
from axolotl_grpo_plugin.evaluate.models import Model, models_of
from axolotl_grpo_plugin.evaluate.options import Options, check_engine
from axolotl_grpo_plugin.evaluate.rows import Question, questions, transformed
from axolotl_grpo_plugin.evaluate.sampling import Sampling
from axolotl_grpo_plugin.evaluate.scoring import AnswerScorer
from axolotl_grpo_plugin.findings import FindingError, Findings, fault, nearest, stop, stop_on
from axolotl_grpo_plugin.output.files import writing
from axolotl_grpo_plugin.runlog.reader import Row

_COMPARED = 50_000  # training rows per file. 20,000 rows of GSM8K take 2 s


@dataclass
class Session:
    """One config's rows, models and stored answers.

    models: empty if nothing is generated. folder: for the results. dropped: number of rows with too long
    a prompt. repeats: number of rows that were left out, because they repeat a prompt. plans: settings,
    and the number of answers per row.
    """

    options: Options
    cfg: Config
    sources: list[Source]
    models: list[Model]
    folder: Path
    tokenizer: AxolotlTokenizer
    rows: list[Question]
    dropped: int
    repeats: int
    sampling: Sampling
    plans: list[tuple[Sampling, int]]

    @cached_property
    def store(self) -> AnswerStore:
        return AnswerStore(self.folder / "answers")

    @cached_property
    def backend(self) -> AnswerBackend:
        """transformers or vLLM; with the config's tools if it has any."""
        turns = self._turns()
        if not uses_tools(self.cfg):
            return turns
        from axolotl_grpo_plugin.evaluate.tools import ToolBackend

        made = ToolBackend(self.cfg, turns, self.tokenizer.real, self.options.batch_size)
        first = self.rows[0]
        stop_on(check_start(self.cfg, made.guarded, {"prompt": first.prompt} | first.columns))
        return made

    def _turns(self) -> AnswerBackend:
        """Return what writes the model's text."""
        if not self.options.vllm():
            from axolotl_grpo_plugin.evaluate.local import LocalBackend

            return LocalBackend(self.cfg, self.tokenizer.real, self.options.batch_size)
        from axolotl_grpo_plugin.evaluate.vllm import VllmBackend

        longest = max(len(row.ids) for row in self.rows) + self.sampling.max_tokens
        if uses_tools(self.cfg):
            used = tool_tokens(self.cfg, self.tokenizer, self.rows[0].prompt)
            _, context = context_of(self.cfg) or ("", 0)  # also for text that `reset` adds
            longest = max(longest + used.descriptions, context)
        return VllmBackend(self.cfg, self.models, self.folder, self.options.server, longest)

    def answer(self) -> None:
        """Generate the answers that the store lacks."""
        # Models on the same base follow each other, so that it is loaded once.
        for model in sorted(self.models, key=lambda model: str(model.folder)):
            generate(
                self.backend,
                self.store,
                model,
                jobs_of(model, self.rows, self.plans, self.backend.engine),
                self.tokenizer.real,
            )
        self.backend.close()

    def scored(self, scorer: AnswerScorer) -> list[Row]:
        """Return all answers as scored rows of the log's schema."""
        found = []
        for model in self.models:
            # One plan at a time, because answers to a row must be neighbors.
            for plan in self.plans:
                jobs = jobs_of(model, self.rows, [plan], self.backend.engine)
                records = scorer.scored(jobs, [self.store[job.key] for job in jobs])
                for label, step in model.names.items():
                    found += [record | {"model": label, "step": step} for record in records]
        return found

    def trained_on(self) -> int:
        """Return how many rows have a prompt of the config's training files, 0 if those are not here."""
        assert self.cfg.file  # read_config has set it
        cfg = read_config(self.cfg.file)  # --data has replaced the datasets
        paths.resolve_packaged(cfg)
        prompts = set[str]()
        for source in sources(cfg):
            if source.key == "datasets" and isfile(source.path):
                with suppress(FindingError):
                    rows = transformed(cfg, source, self.tokenizer.real, _COMPARED)
                    prompts.update(str(row["prompt"]) for _, row in rows)
        return len(prompts.intersection(str(row.prompt) for row in self.rows))

    def notes(self, scorer: AnswerScorer) -> Iterator[str]:
        """Yield sentences on models, rows and scores that are missing, or that count once."""
        for model in self.models:
            if len(model.names) > 1:
                names = " and ".join(model.names)
                yield f"{names} have equal weights: nothing changed from one to the other."
        if self.repeats:
            yield f"Rows left out, because they repeat the prompt of another row: {self.repeats:,}."
        if self.dropped:
            longest = self.cfg.grpo_max_prompt_length
            yield (
                f"{self.dropped:,} rows are left out, as in the training: their prompts have more "
                f"than {longest} tokens (grpo_max_prompt_length, or the context "
                "less trl.max_completion_length)."
            )
        for key in scorer.left_out:
            yield f"{key} is left out: a reward model needs a trainer."
        for name, error in scorer.errors.items():
            count = scorer.failures[name]
            yield f"{name} failed on {count:,} answers, which do not count: {error}"


def open_session(
    config: str, options: Options, key: str, folder: str, evaluates: bool, generates: bool = True
) -> Session:
    """Read a config's rows and find its models. Make the folder for the results.

    key: the rows to take without --data, "test_datasets" or "datasets". folder: for the results, below
    output_dir. evaluates: also answer each row greedily, and with the trained model. generates: the
    models are needed. Raises: FindingError if the config, a model or the rows are unusable.
    """
    cfg = read_config(config)
    paths.add_working_folder()
    facts = Facts(cfg, "answer")
    stop_on(findings(facts, "yaml", "axolotl"), cfg.file)
    found = chosen_sources(cfg, options, key)
    paths.resolve_packaged(cfg)
    limit_prompts(cfg)
    stop_on(findings(facts, "import", "machine"), cfg.file)
    models: list[Model] = []
    if generates:
        stop_on(check_engine(options))
        models = models_of(cfg, options.model, options.checkpoints, trained=evaluates)
    results = Path(options.out or output_dir(cfg) / folder)
    with writing(results):
        results.mkdir(parents=True, exist_ok=True)
    tokenizer = AxolotlTokenizer(cfg, open_tokenizer(cfg).folder)
    if options.data:  # the training's limit would shrink a benchmark
        cfg.raw["grpo_max_prompt_length"] = None
    rows, dropped = questions(cfg, found, tokenizer, options.limit)
    repeats = 0
    if evaluates and not uses_tools(cfg):  # an environment may read more than the prompt
        different: dict[object, Question] = {}
        for row in rows:
            different.setdefault((row.dataset, *row.ids), row)
        repeats = len(rows) - len(different)
        rows = list(different.values())
    columns = set(chain.from_iterable(row.columns for row in rows))
    stop_on([*check_reads(cfg, columns), *_check_tokenizers(cfg, tokenizer, models)], cfg.file)
    if generates and uses_tools(cfg):
        stop_on(check_tool_use(cfg, rows[0].prompt))
    sampling = _sampling(cfg, options, tokenizer)
    plans = [(sampling.greedy(), 1)] if evaluates else []
    if options.samples:
        plans.append((sampling, options.samples))
    return Session(
        options, cfg, found, models, results, tokenizer, rows, dropped, repeats, sampling, plans
    )


def chosen_sources(cfg: Config, options: Options, key: str) -> list[Source]:
    """Return the datasets to answer. A benchmark brings its own reward, which replaces the config's."""
    data = options.data
    known = ", ".join(names())
    if options.data_file and data not in names():
        stop(
            "options",
            f"--data-file {options.data_file}",
            "no benchmark is named",
            f"Name the benchmark with --data: {known}",
        )
    if data is None:
        found = [source for source in sources(cfg) if source.key == key]
        if not found:
            stop(
                "no-rows",
                cfg.at(key),
                "no rows",
                f"Add {key}, or name rows with --data (a file, {known})",
            )
        return found
    if data in names():
        described = benchmark(data, options.data_file)
        trl = {"reward_funcs": [described.reward], "reward_weights": None}
        cfg.raw["trl"] = {**cfg.trl.raw, **trl}
        for key in ("grpo_reward_args", "grpo_reward_range", "grpo_columns"):
            cfg.raw[key] = None
        source = described.source
    elif Path(data).is_file():
        # The file's rows are like those of the config's first dataset.
        first = next((source.entry.get("type") for source in sources(cfg)), None)
        source = Source("datasets", 0, data, {"path": data, "type": first})
    else:
        stop("no-data", f"--data {data}", "no such file or benchmark", nearest(data, names()))
    cfg.raw["datasets"] = [source.entry]  # transforms name their dataset in errors
    return [source]


def _sampling(cfg: Config, options: Options, tokenizer: AxolotlTokenizer) -> Sampling:
    sampling = Sampling.of(
        cfg,
        temperature=options.temperature,
        top_p=options.top_p,
        max_tokens=options.max_tokens,
        stop=tuple(options.stop) or None,
        ends=tuple(end_tokens(cfg, tokenizer.real, model_config(cfg))),
        seed=options.seed,
    )
    if options.samples and not sampling.temperature:
        stop(
            "equal-samples",
            "--samples",
            "equal samples, because the temperature is 0",
            "Set --temperature, or --samples 0",
        )
    return sampling


def _check_tokenizers(cfg: Config, tokenizer: AxolotlTokenizer, models: list[Model]) -> Findings:
    """Check that the models read the config's token ids."""
    from tokenizers import Tokenizer

    ids = tokenizer.real.get_vocab()
    for model in models:
        file = model.folder / "tokenizer.json"
        if file.is_file() and not Tokenizer.from_file(str(file)).get_vocab().items() <= ids.items():
            yield fault(
                "other-tokenizer",
                f"--model {model.label}",
                f"its tokenizer is not that of {cfg.base_model}",
                "Use a config that has this model as its base_model",
            )
