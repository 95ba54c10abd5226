import json

import modal
import pytest

from axolotl_grpo_plugin.cloud.remote import digest
from axolotl_grpo_plugin.cloud.volume import ask, fetching
from axolotl_grpo_plugin.findings import ConfigError

JOB = {
    "command": ["grpo", "train"],
    "config": "configs/a.yaml",
    "text": "rl: grpo\n",
    "words": [],
    "after": [],
    "output": "./outputs/a",
    "volumes": {"/workspace/outputs": "runs"},
    "resume": True,
}


@pytest.mark.parametrize(
    ("mount", "output", "line"),
    [
        (
            "/workspace/outputs",
            "./outputs/a",
            "mkdir -p outputs && modal volume get runs a outputs",
        ),
        (
            "/workspace/outputs",
            "outputs/x y/b",
            "mkdir -p 'outputs/x y' && modal volume get runs 'x y/b' 'outputs/x y'",
        ),
        (
            "/workspace/outputs/a",
            "./outputs/a",
            "mkdir -p outputs/a && modal volume get runs / outputs/a",
        ),
        ("/runs", "/runs/b/a", "modal volume get runs b/a ."),
        ("/workspace/a", "./a", "mkdir -p a && modal volume get runs / a"),
        ("/workspace/outputs", "./elsewhere", ""),
    ],
)
def test_a_line_puts_the_output_where_it_would_be_here(mount, output, line):
    assert fetching({"output": output, "volumes": {mount: "runs"}}) == line


def waits():
    """A function, for the service to answer."""


def test_no_run_starts_where_one_is_under_way(modal_service, capsys):
    """Ctrl-C with `detach: true` ends the view alone: who types the command again would train twice."""
    modal_service.answer = modal_service.forever
    app = modal.App("another")
    function = app.function(serialized=True)(waits)
    with app.run(detach=True):
        call = function.spawn()
        state = {"run": digest(JOB), "config": "configs/a.yaml", "finished": False}
        text = json.dumps(state | {"call": call.object_id}).encode()
        modal_service.put_volume("runs", {"a/cloud-run.json": text, "a/checkpoint-10/x": b""})
        with pytest.raises(
            ConfigError, match=r"a run of configs/a\.yaml is under way there\. Wait"
        ):
            ask(JOB)
        call.cancel()
        ask(JOB)
    assert "goes on from checkpoint-10" in capsys.readouterr().out


@pytest.mark.parametrize("model", ["model.safetensors", "adapter_model.bin"])
def test_a_model_of_nobody_knows_whom_is_seen_before_a_start(modal_service, model):
    modal_service.put_volume("runs", {f"a/{model}": b""})
    with pytest.raises(ConfigError, match="a model is there"):
        ask(JOB)
