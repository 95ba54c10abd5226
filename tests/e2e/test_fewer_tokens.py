"""A training of an adapter without vLLM computes fewer tokens, and its greedy completions stay the same."""

import json

import pytest

from tests.e2e.conftest import shipped_config, train, write


@pytest.mark.seconds(60)
def test_greedy_training_and_held_out_rows_are_equal_with_fewer_tokens(tmp_path):
    lora = {"adapter": "lora", "lora_r": 4, "lora_alpha": 8, "lora_target_linear": True}
    greedy = {"generation_kwargs": {"do_sample": False}}
    config = shipped_config(grpo_held_out_rows=48, grpo_trl_args=greedy, **lora)
    config["plugins"].append("tests.e2e.watching_plugin.Watching")
    file = write(tmp_path, config)
    written, answers, rows = [], [], []
    for own in ("", "1"):
        folder = tmp_path / f"out{own}"
        written.append([row["completion"] for row in train(file, folder, OWN_LOOP=own)])
        lines = map(json.loads, (folder / "held_out.jsonl").open())
        answers.append([line for line in lines if line["mode"] == "greedy"])
        rows.append(json.loads((folder / "rows.json").read_text()))
    assert written[0] == written[1] and len({*written[0]}) > 10
    assert answers[0] == answers[1] and len(answers[0]) == 2 * 48
    fewer, own = rows
    assert {*own} == {48, 64}  # held-out rows, and 8 prompts with 8 completions
    assert fewer.count(8) == 2 and len({*fewer}) > 5
