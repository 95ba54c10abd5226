"""`axolotl grpo eval CONFIG`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from axolotl_grpo_plugin.commands.rewards import console
from axolotl_grpo_plugin.commands.session import Options, Session
from axolotl_grpo_plugin.environments.names import uses_tools
from axolotl_grpo_plugin.evaluation.answers import ScoredAnswer
from axolotl_grpo_plugin.evaluation.report import markdown, plot, summarize, table
from axolotl_grpo_plugin.evaluation.scoring import AnswerScorer
from axolotl_grpo_plugin.evaluation.statistics import HALF_RIGHT, rows_needed
from axolotl_grpo_plugin.findings import Finding, stop_on
from axolotl_grpo_plugin.load import reward_refs
from axolotl_grpo_plugin.runlog.schema import REASON, REWARD, save
from axolotl_grpo_plugin.serving.processes import guarded
from axolotl_grpo_plugin.training.record import CARD

# The options that change rows or answers. They name the folder of the results.
_NAMED = {"data", "limit", "samples", "temperature", "top_p", "max_tokens", "stop", "seed"}
JSON, MARKDOWN, PLOT, SCORES = "eval.json", "eval.md", "eval.png", "scores.parquet"


def run(config: str, options: Options, **more: Any) -> int:
    """Answer, score and report. Return the exit code."""
    work = partial(_run, config, options, **more)
    # vLLM's server ends however this command ends.
    return guarded(work) if options.vllm() and not options.server else work()


def _run(
    config: str, options: Options, *, need: float | None, export: str | None, as_json: bool
) -> int:
    session = Session(config, options, "test_datasets", "eval", evaluates=True)
    if export:
        return _export(session, Path(export))
    if need:
        click.echo(
            f"A difference of {100 * need:g} points needs at most about "
            f"{rows_needed(HALF_RIGHT, need):,} rows. There are {len(session.rows):,}.",
            err=True,
        )
    if session.answer():
        return 0
    scorer = AnswerScorer(session.cfg)
    try:
        answers = session.scored(scorer)
    finally:
        scorer.close()
    _check_scored(answers, scorer)
    notes = session.notes(scorer)
    if seen := session.trained_on():
        notes.append(
            f"Rows with a prompt of the training data: {seen:,}. "
            "Results on them say little about new rows."
        )
    summary = summarize(answers, scorer.highest, _settings(session) | {"notes": notes}, need)
    given = sorted(vars(options).items() - vars(Options()).items())
    name = ",".join(f"{key}={value}" for key, value in given if key in _NAMED)
    folder = session.folder / name.replace("/", "-")
    folder.mkdir(exist_ok=True)
    (folder / JSON).write_text(json.dumps(summary, indent=2), encoding="utf-8")
    (folder / MARKDOWN).write_text(markdown(summary), encoding="utf-8")
    plot(summary, folder / PLOT)
    keyed = {answer.key: answer for answer in answers}.values()  # equal models share answers
    save(folder / SCORES, _scores([*keyed]), scorer.rewards)
    from axolotl_grpo_plugin.training.card import add_evaluation  # it imports transformers

    card = Path(session.cfg.get("output_dir") or "model-out", CARD)
    added = card.exists() and not options.limit and add_evaluation(card, summary, folder.name)
    if as_json:
        click.echo(json.dumps(summary, indent=2))
        return 0
    out = console()
    out.print(table(summary))
    if {answer.model for answer in answers} == {"base"}:
        notes.append(
            f"Only the base model was evaluated, because {card.parent} holds no other model."
        )
    notes.append(f"Written to {folder}: {JSON}, {MARKDOWN}, {PLOT}")
    if added:
        notes.append(f"Added to {card}")
    for line in notes:
        out.print(line, highlight=False)
    return 0


def _check_scored(answers: Sequence[ScoredAnswer], scorer: AnswerScorer) -> None:
    """Raise ConfigError if the first reward scored none of a model's answers."""
    name = next(iter(answers[0].scores), None)
    if name is None:
        what, fix = "no reward function can score answers", "Name one that is no model"
        stop_on([Finding("trl.reward_funcs", what, fix)])
    for model in dict.fromkeys(answer.model for answer in answers):
        mine = [answer for answer in answers if answer.model == model]
        if all(answer.scores[str(name)] is None for answer in mine):
            what = f"it has no score for any of the {len(mine):,} answers of {model}"
            error = scorer.errors.get(str(name))
            fix = f"Correct it: {error}" if error else "Name a reward for these rows"
            stop_on([Finding(f"trl.reward_funcs[0] ({name})", what, fix)])


def _scores(answers: Sequence[ScoredAnswer]) -> dict[str, list[Any]]:
    """Return the scores of the answers, as columns of the rollout log. key: of the stored answer."""
    columns: dict[str, list[Any]] = {"key": [answer.key for answer in answers]}
    for name in answers[0].scores:
        columns[REWARD + name] = [answer.scores[name] for answer in answers]
        columns[REASON + name] = [answer.reasons.get(name) for answer in answers]
    return columns


def _settings(session: Session) -> dict[str, Any]:
    """Return how the answers were made, for the reports."""
    return {
        "models": [
            f"{model.label}: {model.adapter or model.folder}, weights {model.digest}"
            for model in session.models
        ],
        "rows": len(session.rows),
        "dropped": session.dropped,
        "data": [source.name for source in session.sources],
        "rewards": [reward.key for reward in reward_refs(session.cfg)],
        "engine": session.how,
        "samples": session.options.samples,
        **asdict(session.sampling),
    }


def _export(session: Session, folder: Path) -> int:
    from axolotl_grpo_plugin.evaluation.lm_eval import export

    if uses_tools(session.cfg):
        what = "lm_eval calls no tools"
        stop_on([Finding("--export-lm-eval", what, "Leave it out, or remove the config's tools")])
    rewards, samples = reward_refs(session.cfg), session.options.samples
    command = export(
        session.cfg,
        session.rows,
        session.tokenizer,
        rewards[0],
        folder,
        session.sampling,
        samples,
    )
    click.echo(f"Written to {folder}. Run it with:\n{command}")
    return 0
