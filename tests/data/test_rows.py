import json
import sys
from itertools import chain
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data import exact, rows
from axolotl_grpo_plugin.data.rows import Transform, Unreadable, read, sources
from axolotl_grpo_plugin.transforms.rows import DatasetError
from tests.conftest import program

AXOLOTLS = [(0, {"from": "axolotl"})]
MANY = [{"question": f"{i}?", "n": i} for i in range(2500)]


@pytest.fixture
def axolotls_loader(monkeypatch):
    monkeypatch.setattr(rows, "_axolotls", lambda *_: [AXOLOTLS[0][1]])


def source(path, **more):
    cfg = Config({"rl": "grpo", "datasets": [{"path": str(path), **more}]})
    return sources(cfg)[0], cfg


def read_all(path, **more):
    batches = list(read(*source(path, **more)))
    assert all(len(batch) <= rows.BATCH for batch in batches)
    return list(chain(*batches))


def lines(path, texts):
    dumped = (text if isinstance(text, str) else json.dumps(text) for text in texts)
    path.write_text("\n".join(dumped))
    return path


def test_reads_parquet(tmp_path):
    file = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(MANY), file, row_group_size=700)
    assert read_all(file) == list(enumerate(MANY))


@pytest.mark.parametrize("split, part", [("train[40:]", slice(40, None)), ("train[:40]", slice(40))])
def test_reads_a_part_of_the_rows(tmp_path, split, part):
    file = lines(tmp_path / "a.jsonl", MANY)
    assert read_all(file, split=split) == list(enumerate(MANY))[part]


@pytest.mark.parametrize(
    "split, what", [("train[5:]", "no rows, of 2 in the file"), ("train[5:7]", "no rows"), ("train[2:1]", "no rows")]
)
def test_empty_range_names_the_split(tmp_path, split, what):
    file = lines(tmp_path / "a.jsonl", MANY[:2])
    with pytest.raises(Unreadable) as raised:
        read_all(file, split=split)
    assert str(raised.value) == f"datasets[0].split ({split}): {what}. Set another range."


@pytest.mark.parametrize("number, name", [(0, "datasets[0] (a.jsonl)"), (1, "test_datasets[0] (a.jsonl)")])
def test_error_of_a_transform_names_one_dataset(number, name):
    entry = {"path": "a.jsonl", "type": "axolotl_grpo_plugin.qa"}
    cfg = Config({"datasets": [entry], "test_datasets": [entry]})
    with pytest.raises(DatasetError) as raised:
        Transform(sources(cfg)[number], cfg, None)([(5, {"question": "?", "answer": " "})])
    assert str(raised.value) == f'{name}, row 5, column "answer": no answer.'


def test_missing_column_of_a_row_is_none(tmp_path):
    file = lines(tmp_path / "a.jsonl", [{"a": 1}, "", {"b": 2}])
    assert read_all(file) == [(0, {"a": 1, "b": None}), (1, {"a": None, "b": 2})]
    lines(file, [*MANY, {"hint": "x"}])
    assert read_all(file)[0] == (0, {"question": "0?", "n": 0, "hint": None})


@pytest.mark.parametrize("text", ['["a"]', ' [{"a": 1}]', '[{"a": 1}, {"a": "b"}]', '{"a": 1}\n{"a": "b"}'])
def test_json_that_has_no_columns_of_one_type_is_read_by_datasets(tmp_path, axolotls_loader, text):
    file = tmp_path / "a.json"
    file.write_text(text)
    assert read_all(file) == AXOLOTLS


@pytest.mark.parametrize("indent", [None, 2])
def test_reads_a_json_array_without_the_slow_loader(tmp_path, axolotls_loader, indent):
    chats = [{"chat": [{"role": "user", "content": f"{i}?"}], "gold": [i, 2]} for i in range(3)]
    file = tmp_path / "a.json"
    file.write_text(json.dumps(chats, indent=indent))
    assert read_all(file) == list(enumerate(chats))


def test_parquet_that_datasets_decodes_is_read_by_datasets(tmp_path, axolotls_loader):
    """The metadata is datasets' own, of a chat whose messages have unequal keys."""
    features = '{"info": {"features": {"prompt": {"feature": %s, "_type": "List"}}}}'
    table = pa.table({"prompt": [["x"], ["y"]]})
    for feature, plain in (('{"_type": "Json"}', False), ('{"dtype": "string", "_type": "Value"}', True)):
        made = table.replace_schema_metadata({"huggingface": features % feature})
        pq.write_table(made, tmp_path / "a.parquet")
        assert (read_all(tmp_path / "a.parquet")[0] == (0, {"prompt": ["x"]})) == plain


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.jsonl", b"", "an empty file"),
        ("a.jsonl", b"\n\n", "no rows"),
        ("a.jsonl", b'{"a": 1}\n{oh', "line 2, column 2: not JSON"),
        ("a.jsonl", b'{"a": "\xff"}', "cannot be read after row 0: 'utf-8'"),
        ("a.parquet", b"PAR1 not", "not Parquet"),
        ("b.jsonl", None, "no such file"),
    ],
)
def test_unreadable_file_raises_with_its_name(tmp_path, name, content, message):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Unreadable) as raised:
        read_all(file)
    assert str(raised.value).startswith(f"datasets[0].path ({file}): {message}")


def test_dataset_without_a_path_raises():
    cfg = Config({"datasets": [{"type": "axolotl_grpo_plugin.gsm8k"}]})
    with pytest.raises(Unreadable, match=r"datasets\[0\].path: not a path: None"):
        list(read(sources(cfg)[0], cfg))


@pytest.mark.parametrize(
    "more", [{"name": ["a", "b"]}, {"split": "train[:-5]"}, {"ds_type": "csv"}, {"data_files": "x"}, {"shards": 2}]
)
def test_entries_with_other_keys_are_read_by_axolotl(tmp_path, axolotls_loader, more):
    assert read_all(lines(tmp_path / "a.jsonl", MANY), **more) == AXOLOTLS


def transform(monkeypatch, made, **more):
    module = ModuleType("mine")
    module.factory = lambda cfg, dataset_idx: made
    monkeypatch.setitem(sys.modules, "mine", module)
    return Transform(*source("a.jsonl", type="mine.factory", **more), "the tokenizer")


def test_transform_of_single_rows_gets_its_options(monkeypatch):
    def one(row, number, more):
        return {"prompt": f"{number}{row['a']}{more}"}

    options = {"with_indices": True, "remove_columns": ["a", "no"], "fn_kwargs": {"more": "!"}}
    made = transform(monkeypatch, (one, options))
    assert made([(3, {"a": "x", "b": 1}), (4, {"a": "y", "b": 2})]) == [
        [{"b": 1, "prompt": "3x!"}],
        [{"b": 2, "prompt": "4y!"}],
    ]


def test_transform_may_change_its_row_in_place(monkeypatch):
    made = transform(monkeypatch, lambda row: {"prompt": row.pop("a")})
    given = [(0, {"a": "x"})]
    assert made(given) == made(given) == [[{"a": "x", "prompt": "x"}]]


def test_transform_of_batches_gets_its_options(monkeypatch):
    def several(columns, numbers, tokenizer):
        return {"prompt": [f"{numbers[0]}{columns['a'][0]}{tokenizer}"]}

    options = {"batched": True, "with_indices": True, "remove_columns": "__all__"}
    made = transform(monkeypatch, (several, options))
    assert made([(3, {"a": "x"})]) == [[{"prompt": "3xthe tokenizer"}]]


def test_row_is_unchanged_without_a_type_and_if_the_transform_returns_none(monkeypatch):
    for same in (Transform(*source("a.jsonl"), None), transform(monkeypatch, lambda row: None)):
        assert same([(0, {"prompt": "a"})]) == [[{"prompt": "a"}]]


def test_batched_transform_may_drop_and_add_rows(monkeypatch):
    def repeated(columns):
        return {"a": [a for a in columns["a"] for _ in range(a)]}

    made = transform(monkeypatch, (repeated, {"batched": True}))
    assert made([(0, {"a": 0}), (1, {"a": 3})]) == [[], [{"a": 3}] * 3]
    assert made([(0, {"a": 0})]) == [[]]
    assert made([(1, {"a": 2})]) == [[{"a": 2}, {"a": 2}]]


def test_missing_transform_raises():
    with pytest.raises(Unreadable, match="there is no module 'no_such_module'"):
        Transform(*source("a.jsonl", type="no_such_module.fn"), None)


def test_unsupported_map_option_raises(monkeypatch):
    with pytest.raises(Unreadable, match="it maps with input_columns"):
        transform(monkeypatch, (len, {"input_columns": ["a"]}))


def test_reads_csv_without_the_slow_loader(tmp_path, axolotls_loader):
    file = tmp_path / "a.csv"
    file.write_text('q,a,note\nWho?,3,\n"Why, then?",4,x\n')
    expected = [{"q": "Who?", "a": 3, "note": None}, {"q": "Why, then?", "a": 4, "note": "x"}]
    assert [row for _, row in read_all(file)] == expected


def test_names_csv_in_a_file_named_as_json(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("q,a\nWho?,3\n")
    with pytest.raises(Unreadable) as raised:
        read_all(file, ds_type="json")
    assert "ds_type: csv" in raised.value.finding.fix


PAD = "x" * 40


@pytest.mark.parametrize(
    "first, second, streamed",
    [
        ({"n": 1}, {"n": 2}, True),
        ({"n": 1}, {"n": 2.5}, True),
        ({"n": None}, {"n": "two"}, True),
        ({"n": []}, {"n": ["a"]}, False),
        ({"n": 1}, {"m": 2}, True),
        ({"n": 1}, {"n": "two"}, False),
        ({"n": {"a": 1}}, {"n": {"a": 2}}, True),
        ({"n": {"a": 1}}, {"n": {"b": 2}}, False),
        ({"n": True}, {"n": False}, True),
        ({"n": "10:30:00"}, {"n": "2024-01-02 10:30:00"}, False),
    ],
)
def test_blocks_of_json_lines_give_the_rows_of_the_whole_file(
    tmp_path, monkeypatch, axolotls_loader, first, second, streamed
):
    file = lines(tmp_path / "a.jsonl", [{"pad": PAD, **(first if number < 70 else second)} for number in range(150)])
    whole = read_all(file)
    for module in (rows, exact):
        monkeypatch.setattr(module, "BLOCK", 1000)
    assert (rows._streamed(str(file)) is not None) == streamed
    assert read_all(file) == whole


@pytest.mark.slow
def test_memory_does_not_grow_with_json_lines(tmp_path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from axolotl_grpo_plugin.config import Config\n"
        "from axolotl_grpo_plugin.data.rows import read, sources\n"
        "cfg = Config({'rl': 'grpo', 'datasets': [{'path': sys.argv[1]}]})\n"
        "rows = sum(map(len, read(sources(cfg)[0], cfg)))\n"
        "status = dict(line.split(':') for line in Path('/proc/self/status').read_text().splitlines())\n"
        "print(rows, int(status['VmHWM'].split()[0]) // 1024)"
    )
    peaks = []
    for count in (20_000, 150_000):
        file = lines(tmp_path / f"{count}.jsonl", ({"question": f"{i}?", "text": PAD * 25} for i in range(count)))
        printed = program(code.replace("sys.argv[1]", repr(str(file)))).split()
        assert int(printed[0]) == count
        peaks.append(int(printed[1]))
    assert peaks[1] < peaks[0] + 100  # MiB, of a file of 150 MB
