"""Rendered prompts of many model families: lost turns, BOS tokens, and marks of thinking."""

import pytest

from axolotl_grpo_plugin.checks.rendered import PromptShapes, check_marks, check_rendered
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.rendered import PromptEnds
from axolotl_grpo_plugin.data.tokenizer import open_tokenizer
from tests.checks.found import levels
from tests.data.families import BOS, FAMILIES, tiny_model

USER, SYSTEM = {"role": "user", "content": "What is 17 + 4?"}, {"role": "system", "content": "Answer in one word."}
DEVELOPER = {"role": "developer", "content": "End with <answer>number</answer>."}
THOUGHT = {"role": "assistant", "content": "<think>one and one are</think>\n<answer>2</answer>"}
PLAIN = {"role": "assistant", "content": "It is 2."}
DROPPED, THINKING = ("error", "dropped-turn"), ("warning", "dropped-thinking")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return a function that makes a tiny model's folder with a family's template."""
    root = tmp_path_factory.mktemp("models")
    return lambda family, **options: tiny_model(root, family, **options)


def found(folder, *prompts, **options):
    cfg = Config({"base_model": folder, "grpo_trl_args": {"chat_template_kwargs": options}})
    shapes = PromptShapes()
    for number, prompt in enumerate(prompts):
        shapes.add(number, {"prompt": prompt})
    return levels(check_rendered(open_tokenizer(cfg), "datasets[0] (a.jsonl)", shapes.prompts))


@pytest.mark.parametrize("family", FAMILIES)
def test_question_of_a_user_is_shown_by_all_families(models, family):
    folder = models(family)
    assert found(folder, [USER]) == []
    text = open_tokenizer(Config({"base_model": folder})).text([USER])
    assert text.count("What is 17 + 4?") == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_first_system_turn_is_shown_by_all_families(models, family):
    assert found(models(family), [SYSTEM, USER]) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_shown_example_without_thinking(models, family):
    assert found(models(family), [USER, PLAIN, {**USER, "content": "And 3 + 3?"}]) == []


@pytest.mark.parametrize(
    "family", ["qwen2_5", "qwen3", "qwen3_5", "deepseek_r1", "glm4", "seed_oss", "command_a", "no_system"]
)
def test_developer_turn_is_lost(models, family):
    assert found(models(family), [DEVELOPER, USER]) == [DROPPED]


@pytest.mark.parametrize("family", ["gptoss", "llama3", "granite"])
def test_developer_turn_is_kept(models, family):
    assert found(models(family), [DEVELOPER, USER]) == []


@pytest.mark.parametrize("family", ["gptoss", "command_a"])
def test_later_system_turn_is_lost(models, family):
    later = {"role": "system", "content": "Now answer in French."}
    assert found(models(family), [SYSTEM, USER, PLAIN, later, USER]) == [DROPPED]


def test_last_system_turn_replaces_the_first_one(models):
    later = {"role": "system", "content": "Now answer in French."}
    assert found(models("deepseek_r1"), [SYSTEM, USER, later]) == [DROPPED]


def test_system_turn_is_lost_with_its_fix(models):
    cfg = Config({"base_model": models("no_system")})
    (finding,) = check_rendered(open_tokenizer(cfg), "datasets[0] (a.jsonl)", [(3, [SYSTEM, USER])])
    assert finding.where == "datasets[0] (a.jsonl), row 3"
    assert "system turn" in finding.what and "Answer in one word." in finding.what
    assert "grpo_system_in" in finding.fix


@pytest.mark.parametrize("family", ["qwen3", "qwen3_5", "deepseek_r1", "glm4"])
def test_thinking_of_a_shown_example_is_lost(models, family):
    assert found(models(family), [USER, THOUGHT, USER]) == [THINKING]


@pytest.mark.parametrize("family", ["qwen2_5", "llama3", "mistral", "granite"])
def test_thinking_of_a_shown_example_is_kept(models, family):
    assert found(models(family), [USER, THOUGHT, USER]) == []


@pytest.mark.parametrize(
    "key, family", [("reasoning_content", "qwen3"), ("thinking", "gptoss"), ("reasoning_content", "llama3")]
)
def test_thinking_in_a_key_of_its_own_is_lost(models, key, family):
    example = {"role": "assistant", key: "one and one are", "content": "2"}
    assert found(models(family), [USER, example, {**USER, "content": "3 + 3?"}]) == [THINKING]


def test_thinking_in_a_key_of_its_own_is_kept(models):
    example = {"role": "assistant", "reasoning_content": "one and one are", "content": "two"}
    assert found(models("magistral"), [USER, example, USER]) == []


def test_short_turn_is_found_in_its_own_place(models):
    """ "2" is also a part of another turn."""
    lost = {"role": "developer", "content": "2"}
    assert found(models("qwen3"), [lost, {"role": "user", "content": "12?"}]) == [DROPPED]
    assert found(models("llama3"), [lost, {"role": "user", "content": "12?"}]) == []


def test_each_kind_of_prompt_is_rendered_once(models):
    prompts = [[USER], [USER], [DEVELOPER, USER], [DEVELOPER, USER], [SYSTEM, USER]]
    assert found(models("qwen3"), *prompts) == [DROPPED]


def test_template_may_trim_turns(models):
    assert found(models("llama3"), [{"role": "user", "content": "  What\n\n is it? \n"}]) == []


@pytest.mark.parametrize("family", BOS)
def test_rendered_text_gets_a_second_bos(models, family):
    folder = models(family)
    rendered = open_tokenizer(Config({"base_model": folder})).text([USER])
    assert found(folder, [USER]) == []
    assert found(folder, rendered) == [("error", "two-bos")]
    bos = open_tokenizer(Config({"base_model": folder})).bos_text
    assert found(folder, rendered.removeprefix(bos)) == []


@pytest.mark.parametrize("family", ["qwen2_5", "granite", "qwen3"])
def test_template_without_the_bos_of_its_tokenizer(models, family):
    folder = models(family, adds_bos=True)
    cfg = Config({"base_model": folder})
    # A turn of Qwen begins with the token that this tokenizer begins texts with.
    begins_with_it = open_tokenizer(cfg).bos_text == "<|im_start|>" and family.startswith("qwen")
    assert found(folder, [USER]) == ([] if begins_with_it else [("warning", "no-bos")])


def test_check_shows_the_bos_that_trl_adds_to_a_text(models):
    tokenizer = open_tokenizer(Config({"base_model": models("llama3")}))
    assert tokenizer.seen("2 + 2?") == f"{tokenizer.bos_text}2 + 2?"
    assert tokenizer.seen([USER]) == tokenizer.text([USER])
    assert open_tokenizer(Config({"base_model": models("qwen3")})).seen("2 + 2?") == "2 + 2?"


@pytest.mark.parametrize(
    "family, mark, options",
    [
        ("qwen3_5", "<think>", {}),
        ("qwen3_5", "", {"enable_thinking": False}),
        ("deepseek_r1", "<think>", {}),
        ("qwen3", "", {}),
        ("gptoss", "", {}),
        ("llama3", "", {}),
    ],
)
def test_open_thinking_at_the_end_of_a_prompt(models, family, mark, options):
    cfg = Config({"base_model": models(family), "grpo_trl_args": {"chat_template_kwargs": options}})
    assert PromptEnds(cfg)([[USER], [USER], "a <think>", "a"]) == [mark, mark, "<think>", ""]


def marks(folder):
    return levels(check_marks(open_tokenizer(Config({"base_model": folder}))))


@pytest.mark.parametrize("family", FAMILIES)
def test_marks_of_known_families(models, family):
    assert marks(models(family)) == []


def test_marks_of_an_unknown_family(models):
    assert marks(models("unknown")) == [("warning", "unknown-thinking")]


def test_marks_that_trl_removes_as_special_tokens(models):
    assert marks(models("magistral", special=("[THINK]", "[/THINK]"))) == [("warning", "lost-marks")]
    assert marks(models("gptoss", special=("<|channel|>", "<|message|>"))) == []
