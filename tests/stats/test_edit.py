import difflib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from axolotl_grpo_plugin.stats.edit import EditError, edited

ROOT = Path(__file__).parents[2]
VALUES = {"trl.max_completion_length": 512, "sequence_len": 800, "vllm.max_model_len": 800}


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("sequence_len: 512 # long\na: 1\n", "sequence_len: 800 # long\na: 1\n"),
        ("sequence_len: # long\na: 1\n", "sequence_len: 800 # long\na: 1\n"),
        ("sequence_len:", "sequence_len: 800"),
        ("sequence_len: ~\n", "sequence_len: 800\n"),
        ('"sequence_len": "512"\n', '"sequence_len": 800\n'),
        ("a: 1\n# end", "a: 1\nsequence_len: 800\n# end"),
        ("a: 1", "a: 1\nsequence_len: 800"),
        ("output_dir: o # there\n\n# next\nb: 1\n", "output_dir: o # there\nsequence_len: 800\n\n# next\nb: 1\n"),
        ("a:\n  - x\n  - y: |\n      text\n# end\n", "a:\n  - x\n  - y: |\n      text\nsequence_len: 800\n# end\n"),
        ("---\na: é\r\n...\r\n", "---\na: é\r\nsequence_len: 800\r\n...\r\n"),
        ("\ufeffa: 1\n", "\ufeffa: 1\nsequence_len: 800\n"),
        ("{a: 1}\n", "{a: 1, sequence_len: 800}\n"),
        ("{}\n", "{sequence_len: 800}\n"),
    ],
)  # fmt: skip
def test_a_key_of_the_top(text, made):
    assert edited(text, {"sequence_len": 800}) == made


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("vllm:\n    max_model_len: 1 # c\nb: 1\n", "vllm:\n    max_model_len: 800 # c\nb: 1\n"),
        ("vllm:\n    a: 1 # c\n\nb: 1\n", "vllm:\n    a: 1 # c\n    max_model_len: 800\n\nb: 1\n"),
        ("vllm: {}\n", "vllm: {max_model_len: 800}\n"),
        ("vllm: {a: 1}\n", "vllm: {a: 1, max_model_len: 800}\n"),
        ("vllm: # none\nb: 1\n", "vllm: # none\n  max_model_len: 800\nb: 1\n"),
        ("trl:\n  a:\n    - f\n# c\nb: 1\n", "trl:\n  a:\n    - f\nvllm:\n  max_model_len: 800\n# c\nb: 1\n"),
        ("vllm: null # c\n", "vllm: {max_model_len: 800} # c\n"),
        ("{b: 1}\n", "{b: 1, vllm: {max_model_len: 800}}\n"),
        ("b: 1\n", "b: 1\nvllm:\n  max_model_len: 800\n"),
        ("trl:\n    a: 1\n    # c: 2\nb: 1\n", "trl:\n    a: 1\n    # c: 2\nvllm:\n    max_model_len: 800\nb: 1\n"),
        ("d: &d {a: 1}\nvllm:\n  x: *d\nb: 1\n", "d: &d {a: 1}\nvllm:\n  x: *d\n  max_model_len: 800\nb: 1\n"),
        ("vllm:\n  a: 1 # c\n       # d\n\n", "vllm:\n  a: 1 # c\n       # d\n  max_model_len: 800\n\n"),
        ("vllm: { a: 1, }\n", "vllm: { a: 1, max_model_len: 800 }\n"),
        ("  b: 1\n", "  b: 1\n  vllm:\n    max_model_len: 800\n"),
        ("vllm:\n  a: |\n    #### 1\n# c\n", "vllm:\n  a: |\n    #### 1\n  max_model_len: 800\n# c\n"),
    ],
)  # fmt: skip
def test_a_key_of_a_block(text, made):
    assert edited(text, {"vllm.max_model_len": 800}) == made


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &n 1\nsequence_len: *n\n", "sequence_len is an alias"),
        ("sequence_len: &n 512\nb: *n\n", "sequence_len has an anchor"),
        ("sequence_len: |\n  512\n", "sequence_len is no number"),
        ("vllm: &v\n  a: 1\nb: *v\n", "vllm.max_model_len cannot be set: more than"),
        ("d: &d {max_model_len: 1}\nvllm:\n  <<: *d\n", "may come from the merge"),
        ("d: &d {a: 1}\nvllm: *d\n", "vllm is an alias"),
        ("d: 2024-99-99\n", "sequence_len cannot be set: month"),
        ("sequence_len: 1\nsequence_len: 2\n", "stands there twice"),
        ("sequence_len: [1]\n", "sequence_len is no number"),
        ("vllm: 3\n", "vllm is no block"),
        ("a: 1\n---\nb: 1\n", "single document"),
        ("- a\n", "no mapping"),
        ("", "no mapping"),
        ("a: [\n", "flow node"),
    ],
)
def test_what_cannot_be_edited(text, said):
    with pytest.raises(EditError, match=said):
        edited(text, {"sequence_len": 800, "vllm.max_model_len": 800})


@pytest.mark.parametrize("file", sorted(ROOT.glob("configs/**/*.yaml")), ids=lambda file: file.name)
def test_shipped_configs_change_in_three_lines(file):
    text = file.read_text()
    values = {key: value + 1 for key, value in VALUES.items()}
    made = edited(text, values)
    changed = [
        line for line in difflib.ndiff(text.splitlines(), made.splitlines()) if line[0] in "+-"
    ]
    added = {line[2:].split("#")[0].strip() for line in changed if line[0] == "+"}
    assert added - {"vllm:"} == {f"{key.split('.')[-1]}: {value}" for key, value in values.items()}
    assert sum(line[0] == "-" for line in changed) <= 3
    assert edited(made, values) == made


keys = st.sampled_from(["a", "trl", "vllm", "sequence_len", "output_dir", "max_model_len", "é"])
scalars = st.none() | st.integers() | st.text("aé1#:-,'{ \n", max_size=8) | st.booleans()
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(keys, trees, max_size=5), st.sampled_from([None, False, True]), st.booleans()
)
def test_any_config_is_changed_right_or_not_at_all(data, flow, unicode):
    text = yaml.safe_dump(data, default_flow_style=flow, allow_unicode=unicode, sort_keys=False)
    try:
        made = yaml.safe_load(edited(text, VALUES))
    except EditError:
        odd = [data.get("sequence_len"), *(block.get(key.split(".")[-1]) for key in VALUES
               if isinstance(block := data.get(key.split(".")[0]), dict))]  # fmt: skip
        blocks = [data.get(key) for key in ("trl", "vllm")]
        assert any(isinstance(value, list | dict) for value in odd) or any(
            block is not None and not isinstance(block, dict) for block in blocks
        )
        return
    wanted = {**data, "sequence_len": 800}
    for block, key, value in (
        ("trl", "max_completion_length", 512),
        ("vllm", "max_model_len", 800),
    ):
        wanted[block] = {**(data.get(block) or {}), key: value}
    assert made == wanted
