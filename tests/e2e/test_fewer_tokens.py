"""A training of an adapter without vLLM computes fewer tokens, and its greedy completions stay the same."""

import json

import pytest

from tests.e2e.conftest import held_out_answers, shipped_config, train, write


@pytest.mark.slow
def test_greedy_training_and_held_out_rows_are_equal_with_fewer_tokens(tmp_path):
    config = shipped_config(
        adapter="lora",
        lora_r=4,
        lora_alpha=8,
        lora_target_linear=True,
        grpo_held_out_rows=48,
        grpo_trl_args={"generation_kwargs": {"do_sample": False}},
    )
    config["plugins"].append("tests.e2e.watching_plugin.Watching")
    file = write(tmp_path, config)
    found = []
    for own in ("", "1"):
        folder = tmp_path / f"out{own}"
        written = [row["completion"] for row in train(file, folder, OWN_LOOP=own)]
        answers = [answer for answer in held_out_answers(folder) if answer["mode"] == "greedy"]
        found.append((written, answers, json.loads((folder / "rows.json").read_text())))
    fewer, own = found
    assert fewer[:2] == own[:2]
    assert {*own[2]} == {48, 64}  # held-out rows, and 8 prompts with 8 completions
    assert fewer[2].count(8) == 2 and len({*fewer[2]}) > 5
