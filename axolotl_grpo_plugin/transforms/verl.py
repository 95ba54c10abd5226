"""verl's rows -> the unchanged prompt, and the columns that its rewards read, each of one type."""

from collections.abc import Mapping, Sequence
from typing import Any

from axolotl_grpo_plugin.runlog.schema import as_text
from axolotl_grpo_plugin.transforms.rows import (
    Columns,
    DatasetError,
    MapArguments,
    batched,
    check_columns,
    messages_of,
    texts,
)


def verl(cfg: Any, dataset_idx: int = 0, **_: Any) -> MapArguments:
    """Make prompts of the Parquet files of verl, xLR and Reasoning360.

    `prompt` is unchanged: chat messages, which the trainer renders, or rendered text, which it uses as
    it is. A dataset has one kind. `ground_truth` is the one in `reward_model`, or else the column of
    this name: text unchanged, anything else as JSON text. A dataset with neither column (some of xLR's)
    gets no `ground_truth`: its rewards read other columns. `extra_info` becomes JSON text, "{}" if
    absent. `reward_model` keeps its style ("rule"). `data_source` must be text. The only key that it reads is
    `grpo_max_prompt_length`.

    Source: https://verl.readthedocs.io/en/latest/preparation/prepare_data.html
    """

    def change(rows: Columns, numbers: Sequence[int], source: str) -> Columns:
        texts(rows, numbers, source, "data_source")
        extra = rows.get("extra_info", [None] * len(numbers))
        made = {
            "prompt": _prompts(rows, numbers, source),
            "extra_info": ["{}" if info is None else as_text(info) for info in extra],
        }
        if "reward_model" in rows or "ground_truth" in rows:
            made["ground_truth"] = _ground_truths(rows, numbers, source)
        if "reward_model" in rows:
            made["reward_model"] = [
                model.get("style") if isinstance(model, Mapping) else None
                for model in rows["reward_model"]
            ]
        return made

    # A row with the tests of a program can be megabytes.
    return batched(cfg, dataset_idx, change, batch_size=1_000)


def _ground_truths(rows: Columns, numbers: Sequence[int], source: str) -> list[str]:
    absent = [None] * len(numbers)
    models, columns = rows.get("reward_model", absent), rows.get("ground_truth", absent)
    truths = []
    for number, model, truth in zip(numbers, models, columns, strict=True):
        own = model.get("ground_truth") if isinstance(model, Mapping) else None
        if own is None and truth is None:
            column = "reward_model" if "reward_model" in rows else "ground_truth"
            raise DatasetError(
                f'{source}, row {number}, column "{column}": no ground truth: {str(model)[:100]}. '
                'Give every row a reward_model like {"style": "rule", "ground_truth": "18"}.'
            )
        truths.append(as_text(truth if own is None else own))
    return truths


def _prompts(rows: Columns, numbers: Sequence[int], source: str) -> list[Any]:
    check_columns(rows, source, "prompt")
    prompts = [each if isinstance(each, str) else messages_of(each) for each in rows["prompt"]]
    for number, prompt, given in zip(numbers, prompts, rows["prompt"], strict=True):
        where = f'{source}, row {number}, column "prompt"'
        if not prompt:
            raise DatasetError(
                f"{where}: neither text nor chat messages: {str(given)[:100]!r}. "
                'Write [{"role": "user", "content": "..."}].'
            )
        if isinstance(prompt, str) != isinstance(prompts[0], str):
            what = "text in some rows and chat messages in others"
            raise DatasetError(f"{where}: {what}. Make two datasets of them.")
    return prompts
