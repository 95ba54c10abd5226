"""`axolotl-grpo eval CONFIG`."""

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from axolotl_grpo_plugin.config import output_dir
from axolotl_grpo_plugin.evaluate.options import Options
from axolotl_grpo_plugin.evaluate.scoring import AnswerScorer
from axolotl_grpo_plugin.evaluate.session import Session, open_session
from axolotl_grpo_plugin.findings import stop
from axolotl_grpo_plugin.load import reward_refs
from axolotl_grpo_plugin.output.files import write_text, writing
from axolotl_grpo_plugin.report.console import console
from axolotl_grpo_plugin.report.tables import Plain, markdown, shown, summarize
from axolotl_grpo_plugin.runlog.reader import Row, named
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.runlog.schema import REWARD, SCORES, columns_of, save
from axolotl_grpo_plugin.training.record import CARD

# The options that change rows or answers. They name the folder of the results.
_NAMED = {"data", "limit", "samples", "temperature", "top_p", "max_tokens", "stop", "seed"}
JSON = "eval.json"
MARKDOWN = "eval.md"


def run(config: str, options: Options, *, as_json: bool) -> int:
    """Answer, score and report. Return the exit code."""
    session = open_session(config, options, "test_datasets", "eval", evaluates=True)
    session.answer()
    with closing(AnswerScorer(session.cfg)) as scorer:
        records = session.scored(scorer)
    rewards = _rewards(records[0], scorer)
    notes = list(session.notes(scorer))
    if seen := session.trained_on():
        notes.append(
            f"Rows with a prompt of the training data: {seen:,}. "
            "Results on them say little about new rows."
        )
    summary = summarize(records, rewards, {**_settings(session), "notes": list(notes)})
    _check_scored(summary, rewards[0].name, scorer)
    folder = _folder(session)
    text = json.dumps(summary, indent=2)
    with writing(folder):
        write_text(folder / JSON, text)
        write_text(folder / MARKDOWN, markdown(summary))
        save(folder / SCORES, columns_of(records), rewards)
    card = output_dir(session.cfg) / CARD
    added = False
    if card.exists() and not options.limit:
        # It imports transformers.
        from axolotl_grpo_plugin.training.card import add_evaluation

        added = add_evaluation(card, summary, folder.name)
    if as_json:
        click.echo(text)
        return 0
    if all(record["model"] == "base" for record in records):
        notes.append(
            f"Only the base model was evaluated, because {card.parent} holds no other model."
        )
    notes.append(f"Written to {folder}: {JSON}, {MARKDOWN}")
    if added:
        notes.append(f"Added to {card}")
    out = console()
    out.print(shown(summary["parts"]))
    for line in notes:
        out.print(line)
    return 0


def _rewards(record: Row, scorer: AnswerScorer) -> list[LoggedReward]:
    """Return the reward functions of the records. Those of an environment declare no range."""
    rewards = list(scorer.rewards)
    known = dict(rewards)
    for name in named(record, REWARD):
        if name not in known:
            rewards.append(LoggedReward(name))
    if not rewards:
        stop(
            "no-reward",
            "trl.reward_funcs",
            "no reward function can score answers",
            "Name one that is no model",
        )
    return rewards


def _check_scored(summary: Plain, name: str, scorer: AnswerScorer) -> None:
    """Raise FindingError if the first reward scored none of a model's answers."""
    for part in summary["parts"]:
        for result in part["results"]:
            if name not in result["rewards"]:
                fix = "Name a reward for these rows"
                if name in scorer.errors:
                    fix = f"Correct it: {scorer.errors[name]}"
                stop(
                    "no-score",
                    f"trl.reward_funcs[0] ({name})",
                    f"it has no score for any answer of {result['model']}",
                    fix,
                )


def _folder(session: Session) -> Path:
    """Make the folder of the results, which is named by the options that change them."""
    given = vars(session.options).items() - vars(Options()).items()
    named = [f"{key}={value}" for key, value in sorted(given) if key in _NAMED]
    folder = session.folder / ",".join(named).replace("/", "-")
    with writing(folder):
        folder.mkdir(exist_ok=True)
    return folder


def _settings(session: Session) -> dict[str, Any]:
    """Return how the answers were made, for the reports."""
    models = []
    for model in session.models:
        place = model.adapter or model.folder
        models.append(f"{model.label}: {place}, weights {model.digest}")
    return {
        "models": models,
        "rows": len(session.rows),
        "dropped": session.dropped,
        "data": [source.name for source in session.sources],
        "rewards": [reward.key for reward in reward_refs(session.cfg)],
        "engine": session.backend.engine,
        "samples": session.options.samples,
        **asdict(session.sampling),
    }
