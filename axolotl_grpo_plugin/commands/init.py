"""`axolotl-grpo init`: write a folder with a config, a reward and its test for any dataset."""

import json
import os
import re
import shutil
from itertools import chain
from math import ceil
from pathlib import Path
from statistics import median
from string import ascii_uppercase
from typing import NamedTuple

import click
import yaml

from axolotl_grpo_plugin.completions import read_number
from axolotl_grpo_plugin.config import Config, RawConfig
from axolotl_grpo_plugin.data.counts import Lengths
from axolotl_grpo_plugin.data.measure import measure
from axolotl_grpo_plugin.data.rows import Numbered, Row, Rows, Transform, read, sources
from axolotl_grpo_plugin.data.tokenizer import LazyTokenizer, TokenizerError, open_tokenizer
from axolotl_grpo_plugin.findings import Finding, FindingError, nearest, stop
from axolotl_grpo_plugin.load import RewardRef, load_reward
from axolotl_grpo_plugin.output.files import write_text, writing
from axolotl_grpo_plugin.paths import check_empty, resolve_packaged, shipped
from axolotl_grpo_plugin.rewards.math import read_gold
from axolotl_grpo_plugin.rewards.mathematics.values import read_value
from axolotl_grpo_plugin.stats.budget import STEP, budget
from axolotl_grpo_plugin.transforms.choice import (
    CHOICE_PROMPT,
    find_options,
    gold_column,
    right_options,
)
from axolotl_grpo_plugin.transforms.code import TESTS
from axolotl_grpo_plugin.transforms.gsm8k import SYSTEM_PROMPT
from axolotl_grpo_plugin.transforms.rows import (
    GOLD_COLUMNS,
    SYSTEMS,
    DatasetError,
    guess_columns,
    messages_of,
)

PACKAGE = "axolotl_grpo_plugin"
EMBEDDED = f"pkg://{PACKAGE}/quickstart/model"
DS_TYPES = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}
REASONING = 48  # tokens of a completion for the layout's tags and a line of reasoning
NOTHING = "<answer>qwxz</answer>"  # a completion without a right answer
HELD_OUT = 24  # rows that are answered before and after the training: one batch
FEWEST = 10  # of them; smaller datasets are only trained on
TRIED = 50  # gold answers that the reward is tried on
SHOWN = 5  # rows in the reward's test
ENOUGH = 0.9  # share of them that the reward must pay
MOST_LABELS = 12  # different short answers that the prompt can name
FEWEST_OF_A_LABEL = 3  # rows, on average, that make answers labels
EXAMPLES = 3
MOST_SHOWN = 1500  # characters of their questions
MOST_WORDS = 8  # of an answer that can be right word by word

Asked = tuple[str, Row]  # a question as the prompt shows it, and its row after the transform
Try = tuple[str, Row, float | None]  # a completion, the columns of its row, the score to expect


class Kind(NamedTuple):
    """A kind of task. transform: its name in this package. reward: its dotted path. reads: its columns."""

    name: str
    transform: str
    reward: str
    reads: tuple[str, ...]


EQUATION = Kind(
    "equation",
    "countdown",
    "axolotl_grpo_plugin.rewards.countdown.equation_reward_func",
    ("nums", "target"),
)
CODE = Kind("code", "code", "axolotl_grpo_plugin.rewards.code.code_reward_func", ("tests",))
NUMBER = Kind(
    "number", "qa", "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func", ("answer",)
)
LATEX = Kind("LaTeX", "qa", "axolotl_grpo_plugin.rewards.math.accuracy_reward_func", ("solution",))
TEXT = Kind(
    "short text", "qa", "axolotl_grpo_plugin.rewards.puzzles.exact_reward_func", ("solution",)
)
CHOICE = Kind(
    "choice",
    "choice",
    "axolotl_grpo_plugin.rewards.choice.choice_reward_func",
    ("solution", "options"),
)
OTHER = Kind("long text", "qa", "rewards.my_task.words_reward_func", ("answer",))
LAYOUT = [
    "axolotl_grpo_plugin.rewards.gsm8k.soft_format_reward_func",
    "axolotl_grpo_plugin.rewards.gsm8k.xmlcount_reward_func",
]

HEAD = """# Trains: {model} by LoRA on {data}. Written by `axolotl-grpo init`.
# Run:    in this folder: axolotl-grpo train grpo.yaml
"""
MARK = """
# These rows are earlier turns of the chat, which helps small models. Write your reasoning in place of each "It is ..."
# or sentence before "####": one line, as the model should think. sequence_len has room for it.
grpo_examples:
"""
TEST = '''"""The reward pays the gold answers of {data}, and nothing for other text."""

import pytest

from {module} import {name} as reward

TABLE = [  # completion, columns of its row, score
{table}
]


@pytest.mark.parametrize(("completion", "columns", "score"), TABLE)
def test_score(completion, columns, score):
    columns = {{name: [value] for name, value in columns.items()}}
    assert reward([""], [completion], **columns) == [score]
'''
STUB = '''"""The reward of this task. It pays for the words of the gold answer: write a better rule for your task."""

from collections import Counter

from axolotl_grpo_plugin.completions import find_answer
from axolotl_grpo_plugin.reward import Score, reward


@reward(range=(0.0, 1.0), reads="answer")
def words_reward_func(completion: str, answer: str) -> Score:
    """Return the F1 score of the words in `<answer>` and the words of the gold answer."""
    found = find_answer(completion, ["tag"])
    if found.text is None:
        return Score(0.0, found.problem)
    given, gold = (Counter(text.lower().split()) for text in (found.text, answer))
    shared = (given & gold).total()
    score = 2 * shared / (given.total() + gold.total())
    return Score(score, "correct" if score == 1 else "some_words" if shared else "wrong", found.text)
'''


def run(
    data: str, *, model: str | None, out: str | None, question: str | None, answer: str | None
) -> None:
    """Write the folder. Raises: FindingError if the dataset cannot be used."""
    if os.path.isdir(data):
        stop("folder", data, "a folder", "Name one file of it")
    folder = Path(out or Path(data).stem)
    check_empty(folder)
    config = yaml.safe_load((shipped("configs") / "quickstart-smollm2.yaml").read_text())
    default = config["base_model"]
    config["base_model"] = model or default
    del config["test_datasets"]  # errors would name it, too
    entry = {"path": data, "split": "train"}
    config["datasets"] = [entry]
    suffix = Path(data).suffix
    if suffix in DS_TYPES:
        entry["ds_type"] = DS_TYPES[suffix]
    try:
        cfg = Config(config)  # it sees the keys that are set below
        source = sources(cfg)[0]
        rows = next(read(source, cfg))
        first = rows[0][1]
        if not question:
            _check_nesting(data, rows)
        kind = OTHER
        if "nums" in first and "target" in first:
            kind = EQUATION
        elif any(map(first.get, TESTS)):
            kind = CODE
        elif _are_choices([row for _, row in rows[:TRIED]], answer):
            kind = CHOICE
            if question or answer:
                config["grpo_columns"] = {
                    role: name
                    for role, name in (("question", question), ("answer", answer))
                    if name
                }
            options = find_options(first)
            click.echo(
                f"options    {', '.join(options.columns if options else ())}: shown in the prompt by letter"
            )
        else:
            config["grpo_columns"] = _columns(data, first, question, answer)
        entry["type"] = f"{PACKAGE}.{kind.transform}"
        transform = Transform(source, cfg, LazyTokenizer(cfg))
        made = list(chain.from_iterable(transform(rows)))
        if kind is OTHER:
            kind = _kind_of_golds(made)
        click.echo(f"answers    {kind.name} -> {kind.reward}")
        _adapt(config, kind, len(rows))
        _add_examples(config, kind, rows, made)
        _set_lengths(config, made)
    except DatasetError as error:
        raise FindingError(error.at(data, source.name)) from error
    except FindingError as error:
        raise FindingError(error.finding._replace(where=data)) from error
    _write(folder, config, kind, data, made, default)


def _check_nesting(data: str, rows: list[Numbered]) -> None:
    """Raise FindingError if the file is one object, which has the rows under a key."""
    if len(rows) > 1:
        return
    for key, value in rows[0][1].items():
        is_list = isinstance(value, list) and len(value) > 1
        if is_list and all(isinstance(row, dict) for row in value) and not messages_of(value):
            what = f'one object, whose rows are under "{key}"'
            stop("nested-rows", data, what, "Save that list alone")


def _are_choices(rows: Rows, answer: str | None) -> bool:
    """Return whether each row has options of its own, one of which is its answer.

    Options that are the same in all rows are labels, which the prompt can name.
    """
    lists = set()
    for row in rows:
        options = find_options(row)
        if options is None:
            return False
        named = answer or gold_column(row, options)
        if not options.first_is_right and not right_options(row.get(named), options):
            return False
        lists.add(tuple(options.texts))
    return len(lists) > 1 or len(rows) == 1


def _columns(data: str, row: Row, question: str | None, answer: str | None) -> dict[str, str]:
    """Return `grpo_columns`: the options, else a guess."""
    asked, answered = guess_columns(row)
    columns = {"question": question or asked, "answer": answer or answered}
    chat = messages_of(row.get(columns["question"]))
    if chat and chat[-1]["role"] != "user" and not columns["answer"]:
        del columns["answer"]  # the last message of the chat is the answer
    for role, name in columns.items():
        if not name:
            stop(
                "no-column",
                data,
                f"no column with the {role} was found",
                f"Name one with --{role}: {', '.join(row)}",
            )
        if name not in row:
            stop("no-column", data, f"no column {name!r}", nearest(name, row))
        what = ""
        is_gold = role == "answer" and name.lower() in GOLD_COLUMNS
        if isinstance(row[name], dict) and not is_gold:
            what = f"an object with the keys {', '.join(row[name])}"
        elif role == "answer" and messages_of(row[name]):
            what = "a chat"
        if what:
            stop(
                "no-column",
                data,
                f"the column {name!r} is {what}",
                f"Write the {role} to a column of its own, and name that one with --{role}",
            )
        click.echo(f"{role:<10} {name}  {repr(row[name])[:60]}")
    if system := next((name for name in SYSTEMS if row.get(name)), ""):
        click.echo(f"system     {system}: shown at the start of the prompt")
    if unread := row.keys() - columns.values() - {*SYSTEMS}:
        click.echo(f"not shown  {', '.join(sorted(unread))}: the prompt has only the question")
    return columns


def _kind_of_golds(rows: Rows) -> Kind:
    """Return the kind of the answers. It is OTHER if the shipped reward does not pay them."""
    golds = [row["answer"] for row in rows]
    words = median(len(gold.split()) for gold in golds)
    if all(read_number(gold).value is not None for gold in golds):
        kind = NUMBER
    elif any(re.search(r"\\[a-z(]|####|\^|\$", gold) for gold in golds):
        kind = LATEX
    elif words <= MOST_WORDS or not read_value(golds[0]).plain:
        kind = TEXT  # a list or another value can be equal as a whole, prose cannot
    else:
        return OTHER
    different = dict(zip(golds, rows, strict=True))
    tried = list(different.values())[:TRIED]
    if len(_paid(kind, tried)) < ENOUGH * len(tried):
        return OTHER
    return kind


def _paid(kind: Kind, rows: Rows) -> list[Try]:
    """Return the gold answers as completions that earn the highest score."""
    reward = load_reward(RewardRef(kind.reward))
    paid = []
    for row in rows:
        text = f"<answer>\n{_bare(kind, row['answer'])}\n</answer>"
        columns = _read_by(kind, row)
        lists = {name: [value] for name, value in columns.items()}
        if reward([""], [text], **lists) == [reward.highest]:
            paid.append((text, columns, reward.highest))
    return paid


def _read_by(kind: Kind, row: Row) -> Row:
    """Return the columns that the kind's reward reads."""
    return {name: row[name] for name in kind.reads}


def _bare(kind: Kind, gold: str) -> str:
    """Return the answer of a worked solution, or else all of the text."""
    if kind is LATEX:
        return read_gold(gold) or gold
    return gold


def _adapt(config: RawConfig, kind: Kind, rows: int) -> None:
    """Change the keys of the shipped config that belong to its own dataset. rows: how many it has."""
    entry = config["datasets"][0]
    for key in ("grpo_system_in", "grpo_system_prompt", "grpo_examples"):
        del config[key]
    held_out = min(HELD_OUT, rows // 10)
    if held_out >= FEWEST:
        config["test_datasets"] = [{**entry, "split": f"train[:{held_out}]"}]
        config["grpo_held_out_rows"] = held_out
        entry["split"] = f"train[{held_out}:]"
        click.echo(f"held out   the first {held_out} rows, to compare before and after")
    else:
        del config["grpo_held_out_rows"], config["eval_batch_size"]
    config["learning_rate"] = float(config["learning_rate"])
    config["output_dir"] = "./outputs"
    config["trl"]["reward_funcs"] = [kind.reward]
    if kind is not CODE:  # which asks for another layout
        config["trl"]["reward_funcs"] += LAYOUT


def _add_examples(config: RawConfig, kind: Kind, rows: list[Numbered], made: Rows) -> None:
    """Show short rows that are trained on as earlier turns. Longer chats have such turns of their own."""
    held_out = config.get("grpo_held_out_rows", 0)
    trained: list[Asked] = []
    for (number, row), row_made in zip(rows, made, strict=True):
        question = _only_question(config, kind, row, row_made)
        if question and number >= held_out:
            trained.append((question, row_made))
    if not trained:
        return
    _warn_of_golds(made, held_out)
    if shape := _json_shape(made):
        config["grpo_system_prompt"] = f"{SYSTEM_PROMPT}\nThe answer is JSON: {shape}"
        click.echo(f"JSON       the prompt asks for {shape}")
    if kind is not CHOICE and _show_labels(config, kind, trained):
        return
    chosen = _shortest(trained)
    config["grpo_examples"] = [
        {"question": question, "answer": _worked(kind, row, bool(shape))}
        for question, row in chosen
    ]
    line = f"{len(chosen)} short rows as earlier turns of the chat"
    if not all("####" in row["answer"] for _, row in chosen):
        line += ", without reasoning: write some where grpo.yaml says so"
    click.echo(f"examples   {line}")


def _only_question(config: RawConfig, kind: Kind, row: Row, made: Row) -> str:
    """Return the question of a row as its prompt shows it, "" if there are several, or none that is known."""
    if kind is CHOICE:
        return str(made["prompt"][-1]["content"]).removeprefix(f"{CHOICE_PROMPT}\n\n")
    asked = config.get("grpo_columns", {}).get("question")
    if not asked:
        return ""
    questions = [row[asked]]
    if isinstance(row[asked], list):
        questions = [turn["content"] for turn in row[asked] if turn["role"] == "user"]
    return questions[0] if len(questions) == 1 else ""


def _shortest(trained: list[Asked]) -> list[Asked]:
    """Return the shortest rows, if possible with different answers, because a model copies the only one that it sees."""
    by_length = sorted(trained, key=lambda asked: len(asked[0] + asked[1]["answer"]))
    golds = set[str]()
    different: list[Asked] = []
    repeated: list[Asked] = []
    for question, row in by_length:
        kept = repeated if row["answer"] in golds else different
        kept.append((question, row))
        golds.add(row["answer"])
    chosen = [*different, *repeated][:EXAMPLES]
    while len(chosen) > 1 and sum(len(question) for question, _ in chosen) > MOST_SHOWN:
        chosen.pop()
    return chosen


def _worked(kind: Kind, made: Row, is_json: bool) -> str:
    """Return the answer of a row as an example: its own reasoning, or a sentence, and "#### <answer>"."""
    gold: str = made["answer"]
    if "####" in gold:
        return gold
    bare = _bare(kind, gold)
    if is_json:  # written once, because it is long
        return f"The question says it. #### {bare}"
    if kind is CHOICE:
        options = json.loads(made["options"])
        named = [options[ascii_uppercase.index(letter)] for letter in gold.split(", ")]
        return f"It is {', '.join(named)}. #### {gold}"
    return f"It is {bare}. #### {bare}"


def _json_shape(made: Rows) -> str:
    """Return the keys of the answers if all are JSON objects with the same keys, as JSON without values, else ""."""
    shapes = set()
    for row in made:
        value = read_value(row["answer"])
        if value.plain or not isinstance(value.value, dict):
            return ""
        shapes.add(tuple(map(str, value.value)))
    if len(shapes) != 1:
        return ""
    return json.dumps(dict.fromkeys(shapes.pop(), "..."), ensure_ascii=False)


def _warn_of_golds(made: Rows, held_out: int) -> None:
    """Say if all rows, or all that are held out, have the same answer."""
    golds = [row["answer"] for row in made]
    if len(set(golds)) == 1 < len(golds):
        click.echo(f"warning    all answers are {golds[0]!r}, so there is nothing to learn")
    elif len(set(golds[:held_out])) == 1:
        click.echo(f"warning    all held-out answers are {golds[0]!r}: shuffle the rows")


def _show_labels(config: RawConfig, kind: Kind, trained: list[Asked]) -> bool:
    """If the answers are few labels, name all in the prompt, show the shortest row of each, and return True."""
    labels = sorted({row["answer"] for _, row in trained})
    is_number = kind is NUMBER and "label" in config["grpo_columns"].get("answer", "").lower()
    is_repeated = len(trained) >= FEWEST_OF_A_LABEL * len(labels)
    if not (kind is TEXT or is_number) or len(labels) == 1 or not is_repeated:
        return False
    if len(labels) > MOST_LABELS:
        click.echo(f"labels     {len(labels)}, too many to name all in the prompt")
        return False
    # A model cannot guess the names of labels.
    named = ", ".join(labels)
    config["grpo_system_prompt"] = f"{SYSTEM_PROMPT}\nThe answer is one of: {named}"
    # A small model repeats this line, and so chooses among the labels. Otherwise it invents its own.
    choice = f"Is it {', '.join(labels[:-1])} or {labels[-1]}?"
    examples = []
    for label in labels:
        questions = [question for question, row in trained if row["answer"] == label]
        examples.append({"question": min(questions, key=len), "answer": f"{choice} #### {label}"})
    config["grpo_examples"] = examples
    click.echo(f"labels     {named}: named in the prompt, with an example each")
    return True


def _set_lengths(config: RawConfig, made: Rows) -> None:
    """Measure prompts and gold answers. Without the model's tokenizer, use the embedded one."""
    cfg = Config({**config, "datasets": [{**config["datasets"][0], "split": "train"}]})
    resolve_packaged(cfg)
    spare, how = 1, cfg.base_model
    try:
        tokenizer = open_tokenizer(cfg)
    except TokenizerError:
        cfg.raw["base_model"] = EMBEDDED
        resolve_packaged(cfg)
        tokenizer = open_tokenizer(cfg)
        # The model's own tokenizer may make more tokens of the same text.
        spare, how = 2, "estimated: sequence_len allows twice as many"
    source = sources(cfg)[0]
    measured = measure(source, cfg, tokenizer)
    if measured.problems:
        what = measured.problems[0].removeprefix(source.name).lstrip(":, ")
        raise DatasetError(Finding(source.name, what, ""))
    golds = [row["answer"] for row in made if isinstance(row.get("answer"), str)]
    longest = 0
    if golds:
        longest = Lengths(tokenizer.counts(golds)).at(0.99)
    chosen = budget(measured.prompts, STEP * ceil((REASONING + longest) / STEP))
    config["trl"]["max_completion_length"] = chosen.completion
    examples = config.get("grpo_examples", [])
    room = STEP * ceil(REASONING * len(examples) / STEP)
    config["sequence_len"] = chosen.completion + spare * (chosen.context - chosen.completion + room)
    line = (
        f"{measured.prompts.rows:,} prompts of up to {measured.prompts.most} tokens ({how}), "
        f"completions of up to {chosen.completion}"
    )
    if examples:
        line += f"; sequence_len {config['sequence_len']} has room for longer examples"
    click.echo(f"lengths    {line}")


def _write(
    folder: Path, config: RawConfig, kind: Kind, data: str, made: Rows, default: str
) -> None:
    model = config["base_model"]
    commands = [
        "axolotl-grpo check grpo.yaml",
        "axolotl-grpo passrate grpo.yaml --limit 20",
        "axolotl-grpo train grpo.yaml",
    ]
    if model != default:
        del config["peft_layers_to_transform"]  # SmolLM2's
    if os.path.isdir(model) and not os.path.isabs(model):
        config["base_model"] = os.path.relpath(model, folder)
    elif model == default:
        commands.insert(0, "axolotl-grpo fetch smollm2  # 1 to 3 minutes, or init --model FOLDER")
    if os.path.isfile(data):
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            copy = shutil.copyfile(data, folder / Path(data).name)
        for source in sources(Config(config)):
            source.entry["path"] = copy.name
    if kind is OTHER:
        _put(folder / "rewards" / "my_task.py", STUB)
    keys = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=100)
    text = HEAD.format(model=model, data=data) + keys.replace("\ngrpo_examples:\n", MARK, 1)
    _put(folder / "grpo.yaml", text)
    columns = _read_by(kind, made[0])
    tries: list[Try] = [("", columns, 0.0), (NOTHING, columns, 0.0)]
    if kind in (NUMBER, LATEX, TEXT, CHOICE):  # the others' right answers are not in their columns
        tries += _paid(kind, made[:SHOWN])
    module, _, name = kind.reward.rpartition(".")
    test = TEST.format(
        data=data, module=module, name=name, table="\n".join(f"    {row!r}," for row in tries)
    )
    _put(folder / "test_rewards.py", test)
    click.echo(f"\nNext:\n  cd {folder}")
    for command in commands:
        click.echo(f"  {command}")


def _put(file: Path, text: str) -> None:
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, text)
    click.echo(f"wrote      {file}")
