import shutil
import sys
from types import ModuleType

import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.measure import measure, notes_of
from axolotl_grpo_plugin.data.rows import sources
from axolotl_grpo_plugin.data.tokenizer import TokenizerError, open_tokenizer
from tests.conftest import MODEL, write_rows

ASKED = {"question": "Tom has 2 pens and buys 3. How many is that?", "answer": "2 + 3 = 5 #### 5"}


def measured(tmp_path, rows, type="axolotl_grpo_plugin.gsm8k", **keys):
    file = write_rows(tmp_path / "rows.jsonl", rows)
    entry = {"path": str(file), **({"type": type} if type else {})}
    cfg = {"rl": "grpo", "base_model": str(MODEL), "datasets": [entry], **keys}
    return measure(sources(Config(cfg))[0], Config(cfg), open_tokenizer(Config(cfg)))


def without_template(tmp_path):
    """Copy the tokenizer without its template. Return the config's keys."""
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    shutil.copy(MODEL / "tokenizer.json", folder)
    shutil.copy(MODEL / "tokenizer_config.json", folder)
    return {"tokenizer_config": str(folder)}


def test_counts_prompts_and_keeps_the_longest(tmp_path):
    longer = {"question": ASKED["question"] * 2, "answer": "#### 5"}
    found = measured(tmp_path, [ASKED, longer, ASKED])
    assert (found.prompts.rows, found.bad, found.dropped, found.problems) == (3, 0, 0, [])
    assert found.longest == (1, found.prompts.most)


def test_counts_prompts_beyond_the_configs_limit(tmp_path):
    found = measured(tmp_path, [ASKED], grpo_max_prompt_length=3)
    assert found.prompts.rows == 1


def test_reports_bad_rows_and_counts_the_rest(tmp_path):
    rows = [ASKED] * 1200
    rows[3] = {"question": None, "answer": "#### 5"}
    rows[1100] = {"question": "?", "answer": "five"}
    found = measured(tmp_path, rows)
    assert (found.prompts.rows, found.bad) == (1198, 2)
    name = f"datasets[0] ({tmp_path / 'rows.jsonl'}), row"
    assert found.problems == [
        f'{name} 3, column "question": no text: None.',
        f'{name} 1100, column "answer": no "#### <number>" at its end: \'five\'.',
    ]


def test_stops_after_a_batch_without_the_column(tmp_path):
    found = measured(tmp_path, [{"q": "?"}] * 2500)
    assert len(found.problems) == 2 and found.prompts.rows == 0
    assert 'no column "question" (it has: q)' in found.problems[0]
    assert found.problems[1].endswith("none of the first 1,000 rows can be counted: stopped")


@pytest.mark.parametrize(
    "row, message",
    [
        ({"prompt": None}, "the prompt is neither text nor a chat: None"),
        ({"prompt": ""}, "an empty prompt"),
        ({"prompt": []}, "the prompt is neither text nor a chat: []"),
        ({"prompt": [{"content": "?"}]}, "a message without a role"),
        ({"prompt": [{"role": "user", "content": None}]}, "the user's message is not text: None"),
        (
            {"prompt": [{"role": "user", "content": [{"type": "image"}]}]},
            "the user's message has parts that are not text",
        ),
    ],
)
def test_reports_rows_without_a_usable_prompt(tmp_path, row, message):
    found = measured(tmp_path, [row], type=None)
    assert (found.prompts.rows, found.bad) == (0, 1)
    assert found.problems[0].startswith(f"datasets[0] ({tmp_path / 'rows.jsonl'}), row 0: {message}")


def test_reports_rows_on_which_the_template_fails(tmp_path):
    template = "{% if messages[0].content == 'b' %}{{ raise_exception('not b') }}{% endif %}a"
    rows = [{"prompt": [{"role": "user", "content": text}]} for text in "abc"]
    found = measured(tmp_path, rows, type=None, chat_template_jinja=template)
    assert found.prompts.rows == 2
    assert found.problems[0].endswith("row 1: the chat template fails: TemplateError: not b")


def test_reports_rows_on_which_a_user_transform_raises(tmp_path, monkeypatch):
    module = ModuleType("mine")
    module.factory = lambda cfg, dataset_idx: lambda row: {"prompt": "x" * (4 // row["n"])}
    monkeypatch.setitem(sys.modules, "mine", module)
    found = measured(tmp_path, [{"n": 1}, {"n": 0}, {"n": 2}], type="mine.factory")
    assert found.prompts.rows == found.strings == 2
    assert "row 1: ZeroDivisionError: integer division" in found.problems[0]
    assert any("plain strings" in line for line in notes_of(found))


def test_chats_need_a_template_and_strings_do_not(tmp_path):
    keys = without_template(tmp_path)
    with pytest.raises(TokenizerError, match=r"has no chat template\. Set `chat_template:`"):
        measured(tmp_path, [ASKED], **keys)
    strings = measured(tmp_path, [{"prompt": "a"}], type=None, **keys)
    assert strings.prompts.rows == 1
