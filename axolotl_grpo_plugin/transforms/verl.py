"""verl's rows -> the unchanged prompt, and the columns that its rewards read, each of one type."""

from collections.abc import Mapping

from axolotl_grpo_plugin.config import RawConfig
from axolotl_grpo_plugin.runlog.schema import as_text
from axolotl_grpo_plugin.transforms.rows import DataRow, MapArguments, Row, batched, messages_of


def verl(cfg: RawConfig, dataset_idx: int = 0, **_: object) -> MapArguments:
    """Make prompts of the Parquet files of verl, xLR and Reasoning360.

    `prompt` is unchanged: chat messages, which the trainer renders, or rendered text, which it uses as
    it is. A dataset has one kind. `ground_truth` is the one in `reward_model`, or else the column of
    this name: text unchanged, anything else as JSON text. A dataset with neither column (some of xLR's)
    gets no `ground_truth`: its rewards read other columns. `extra_info` becomes JSON text, "{}" if
    absent. `reward_model` keeps its style ("rule"). `data_source` must be text. The only key that it reads is
    `grpo_max_prompt_length`.

    Source: https://verl.readthedocs.io/en/latest/preparation/prepare_data.html
    """

    def change(row: DataRow) -> Row:
        row.text("data_source")
        info = row.values.get("extra_info")
        given = row.values[row.column("prompt")]
        prompt = given if isinstance(given, str) else messages_of(given)
        if not prompt:
            raise row.fault(
                "prompt",
                f"neither text nor chat messages: {str(given)[:100]!r}",
                'Write [{"role": "user", "content": "..."}]',
            )
        columns = {"prompt": prompt, "extra_info": "{}" if info is None else as_text(info)}
        if "reward_model" in row.values or "ground_truth" in row.values:
            columns["ground_truth"] = _ground_truth(row)
        if "reward_model" in row.values:
            columns["reward_model"] = _model(row).get("style")
        return columns

    # A row with the tests of a program can be megabytes.
    return batched(cfg, dataset_idx, change, batch_size=1_000)


def _model(row: DataRow) -> Mapping[str, object]:
    model = row.values.get("reward_model")
    return model if isinstance(model, Mapping) else {}


def _ground_truth(row: DataRow) -> object:
    for columns in (_model(row), row.values):
        if columns.get("ground_truth") is not None:
            column = "reward_model" if columns is not row.values else "ground_truth"
            return row.gold(column, columns["ground_truth"])
    column = row.column("reward_model", "ground_truth")
    raise row.fault(
        column,
        f"no ground truth: {str(row.values[column])[:100]}",
        'Give every row a reward_model like {"style": "rule", "ground_truth": "18"}',
    )
