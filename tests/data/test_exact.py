"""A value is read as it stands in the file, by the commands and by the training alike."""

import datetime
import json
from decimal import Decimal
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.exact import kept, kept_by_axolotl, loads
from axolotl_grpo_plugin.data.rows import Transform, Unreadable, read, sources
from axolotl_grpo_plugin.transforms.rows import DatasetError
from tests.conftest import Later, invoke, write_rows

shared = Later("axolotl.utils.data.shared")
DictDefault = Later("axolotl.utils.dict")

BIG = 711851908916566156285547
NOON = datetime.datetime(2024, 1, 2, 12)

# The JSON text of a value, and the value that is read. The same row is in the file twice.
JSON_VALUES = [
    ("18", 18),
    ("18.5", 18.5),
    ("18.0", 18.0),
    ("9223372036854775807", 2**63 - 1),
    ("-9223372036854775808", -(2**63)),
    ("9223372036854775808", "9223372036854775808"),
    ("-9223372036854775809", "-9223372036854775809"),
    ("18446744073709551615", "18446744073709551615"),
    (str(BIG), str(BIG)),
    ("3.14159265358979323846", "3.14159265358979323846"),
    ("0.1000000000000000055511151231257827021181583404541015625", 0.1),
    ("0.30000000000000004", 0.30000000000000004),
    ("1e400", "1e400"),
    ("1e20", 1e20),
    ('"2024-01-02"', "2024-01-02"),
    ('"2024-01-02 10:00"', "2024-01-02 10:00"),
    ('"2024-01-01T10:00:00Z"', "2024-01-01T10:00:00Z"),
    ('"2024-01-02 00:00:00"', "2024-01-02 00:00:00"),
    ('"10:05"', "10:05"),
    ('"0018"', "0018"),
    ("true", True),
    ('["2024-01-02", "2024-01-03"]', ["2024-01-02", "2024-01-03"]),
    (f"[1, {BIG}]", f"[1, {BIG}]"),
    (f'{{"outputs": [[{BIG}]], "name": "é"}}', f'{{"outputs": [[{BIG}]], "name": "é"}}'),
]


def commands_rows(file, split="train"):
    cfg = Config({"rl": "grpo", "datasets": [{"path": str(file), "split": split}]})
    return [row for _, row in chain(*read(sources(cfg)[0], cfg))]


def trainings_rows(file, split="train"):
    entry = DictDefault.DictDefault({"path": str(file), "split": split})
    with kept_by_axolotl():
        return list(shared.load_dataset_with_config(entry, False))


def answers(file, split="train"):
    """Return the column `answer`, after a check that the training reads the same rows."""
    rows = commands_rows(file, split)
    trained = trainings_rows(file, split)
    assert rows == trained
    assert [type(row["answer"]) for row in rows] == [type(row["answer"]) for row in trained]
    return [row["answer"] for row in rows]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
@pytest.mark.parametrize("text, value", JSON_VALUES)
def test_value_of_json(tmp_path, text, value, name):
    row = f'{{"question": "?", "answer": {text}}}'
    file = tmp_path / name
    file.write_text(f"{row}\n{row}\n" if name == "a.jsonl" else f"[{row},\n{row}]", encoding="utf-8")
    (first, second) = answers(file)
    assert first == second == value
    assert type(first) is type(value)


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85"])
def test_json_text_may_hold_other_ends_of_lines(tmp_path, mark):
    file = tmp_path / "a.jsonl"
    file.write_text(f'{{"question": "a{mark}b?", "answer": {BIG}}}\n', encoding="utf-8")
    assert answers(file) == [str(BIG)]
    assert commands_rows(file, "train")[0]["question"] == f"a{mark}b?"


@pytest.mark.parametrize(
    "texts, values",
    [
        (["5", str(BIG)], ["5", str(BIG)]),
        (["9007199254740993", "0.5"], ["9007199254740993", "0.5"]),
        (["9007199254740993", "5"], [9007199254740993, 5]),
        (['"x"', str(BIG)], ["x", str(BIG)]),
        (["null", str(BIG)], [None, str(BIG)]),
        (['"2024-01-02"', "null"], ["2024-01-02", None]),
        ([f"[{BIG}]", "[true, null]"], [f"[{BIG}]", "[true, null]"]),
    ],
)
def test_column_has_one_type(tmp_path, texts, values):
    lines = [f'{{"question": "?", "answer": {text}}}' for text in texts]
    assert answers(write_rows(tmp_path / "a.jsonl", lines)) == values


def test_only_the_column_with_the_long_number_becomes_text(tmp_path):
    rows = [{"answer": BIG, "level": 3, "chat": [{"role": "user", "content": "2024-01-02"}]}]
    (row,) = commands_rows(write_rows(tmp_path / "a.jsonl", rows))
    assert row == {**rows[0], "answer": str(BIG)}


@pytest.mark.parametrize("split, numbers", [("train[1:]", [1, 2]), ("train[:1]", [0]), ("train[-1:]", [2])])
def test_part_of_a_file(tmp_path, split, numbers):
    file = write_rows(tmp_path / "a.jsonl", [{"answer": BIG + number} for number in range(3)])
    assert answers(file, split) == [str(BIG + number) for number in numbers]


@pytest.mark.parametrize(
    "cells, values",
    [
        (["18", "-3"], [18, -3]),
        (["0.5", "2.25"], [0.5, 2.25]),
        (["18.50", "2.25"], ["18.50", "2.25"]),
        (["007", "12"], ["007", "12"]),
        (["5", ""], ["5", None]),
        ([str(BIG), "5"], [str(BIG), "5"]),
        (["1e5", "2"], ["1e5", "2"]),
        (["True", "False"], [True, False]),
        (["TRUE", "FALSE"], ["TRUE", "FALSE"]),
        (["2024-01-02", "2024-01-03"], ["2024-01-02", "2024-01-03"]),
        (['"1,000"', "x"], ["1,000", "x"]),
    ],
)
def test_cell_of_csv(tmp_path, cells, values):
    file = tmp_path / "a.csv"
    file.write_text("question,answer\n" + "".join(f"?,{cell}\n" for cell in cells))
    assert answers(file) == values


def test_long_csv_has_one_type(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("question,answer\n" + "?,5\n" * 10_001 + "?,x\n")
    assert [*dict.fromkeys(answers(file))] == ["5", "x"]


@pytest.mark.parametrize(
    "kind, value, text",
    [
        (pa.decimal128(10, 2), Decimal("18.50"), "18.50"),
        (pa.decimal256(50, 0), Decimal(BIG), str(BIG)),
        (pa.float32(), 0.1, 0.1),
        (pa.float16(), np.float16(0.1), 0.1),
        (pa.float64(), 18.0, 18.0),
        (pa.time32("s"), datetime.time(10, 5), "10:05"),
        (pa.time64("us"), datetime.time(10, 5, 7), "10:05:07"),
        (pa.date32(), datetime.date(2024, 1, 2), "2024-01-02"),
        (pa.timestamp("s"), datetime.datetime(2024, 1, 2), "2024-01-02"),
        (pa.timestamp("ns"), NOON, "2024-01-02 12:00"),
        (pa.timestamp("us"), NOON.replace(second=5), "2024-01-02 12:00:05"),
        (pa.timestamp("us", "UTC"), NOON, "2024-01-02 12:00+00:00"),
        (pa.uint64(), 2**64 - 1, 2**64 - 1),
        (pa.large_string(), "x", "x"),
        (pa.dictionary(pa.int8(), pa.string()), "x", "x"),
        (pa.list_(pa.float32()), [0.1, 2.0], [0.1, 2.0]),
        (pa.list_(pa.decimal128(4, 1)), [Decimal("0.5")], ["0.5"]),
        (pa.struct([("day", pa.date32())]), {"day": datetime.date(2024, 1, 2)}, {"day": "2024-01-02"}),
    ],
)
def test_value_of_parquet(tmp_path, kind, value, text):
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"question": ["?", "?"], "answer": pa.array([value, None], kind)}), file)
    assert answers(file) == [text, None]


@pytest.mark.parametrize(
    "array, what",
    [
        (pa.array([float("nan")]), "no answer: nan"),
        (pa.array([float("inf")]), "no answer: inf"),
        (pa.array([b"red"]), "an answer of type bytes: b'red'"),
        (pa.array([datetime.timedelta(1)]), "an answer of type timedelta"),
        (pa.array([[0.5, float("nan")]]), "no answer: nan"),
    ],
)
@pytest.mark.parametrize("transform", ["qa", "verl"])
def test_answer_that_no_text_can_hold_names_row_and_column(tmp_path, array, what, transform):
    file = tmp_path / "a.parquet"
    columns = {"question": ["?"], "answer": array, "ground_truth": array, "data_source": ["x"], "prompt": ["?"]}
    pq.write_table(pa.table(columns), file)
    entry = {"path": str(file), "type": f"axolotl_grpo_plugin.{transform}"}
    cfg = Config({"rl": "grpo", "datasets": [entry]})
    (source,) = sources(cfg)
    column = {"qa": "answer", "verl": "ground_truth"}[transform]
    with pytest.raises(DatasetError) as raised:
        Transform(source, cfg, None)(next(read(source, cfg)))
    assert str(raised.value).startswith(f'datasets[0] ({file}), row 0, column "{column}": {what}')
    assert raised.value.finding.fix == "Write it as text, or remove the row"


def test_nan_of_json_lines_is_no_answer(tmp_path):
    file = write_rows(tmp_path / "a.jsonl", ['{"question": "?", "answer": NaN}', '{"question": "?", "answer": 1.5}'])
    cfg = Config({"datasets": [{"path": str(file), "type": "axolotl_grpo_plugin.qa"}]})
    (source,) = sources(cfg)
    with pytest.raises(DatasetError, match=r'row 0, column "answer": no answer: nan'):
        Transform(source, cfg, None)(next(read(source, cfg)))


def test_rounded_answer_in_a_folder_of_files_is_refused(tmp_path):
    """Only a single file is read by Python, because datasets chooses the files of a folder."""
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "data" / "train.jsonl", [{"question": "?", "answer": BIG}])
    cfg = Config({"datasets": [{"path": str(tmp_path / "data")}]})
    with pytest.raises(Unreadable) as raised:
        list(read(sources(cfg)[0], cfg))
    finding = raised.value.finding
    assert finding.where.endswith('row 0, column "answer"') and "may have rounded" in finding.what


@pytest.mark.parametrize("number", [BIG, -BIG, 2**63, 2**64])
def test_reward_score_reads_the_training_s_value(tmp_path, number):
    rows = [{"completion": f"<answer>{number}</answer>", "solution": number}]
    file = write_rows(tmp_path / "a.jsonl", rows)
    result = invoke("reward", "score", file, "--reward", "puzzles.exact", "--json")
    assert json.loads(result.stdout)[0]["mean"] == 1
    (row,) = commands_rows(file)
    assert kept([loads(json.dumps(rows[0]))]) == [row]


def test_reward_score_reads_decimals_of_parquet(tmp_path):
    file = tmp_path / "a.parquet"
    golds = pa.array([Decimal("18.50")])
    pq.write_table(pa.table({"completion": ["<answer>18.5</answer>"], "solution": golds}), file)
    result = invoke("reward", "score", file, "--reward", "puzzles.exact", "--json")
    assert json.loads(result.stdout)[0]["mean"] == 1


def test_program_that_is_a_little_off_fails_a_test_with_a_long_number(tmp_path):
    tests = {"fn_name": "f", "inputs": [[1]], "outputs": [10**20 + 1]}
    file = write_rows(tmp_path / "a.jsonl", [{"problem": "?", "tests": tests}])
    cfg = Config({"datasets": [{"path": str(file), "type": "axolotl_grpo_plugin.code"}]})
    (source,) = sources(cfg)
    ((row,),) = Transform(source, cfg, None)(next(read(source, cfg)))
    assert json.loads(row["tests"])["outputs"] == [10**20 + 1]
