"""Checkpoints as transformers, PEFT, DeepSpeed and FSDP lay them out, cut off at each of their files."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save

from axolotl_grpo_plugin.cloud.checkpoints import missing, newest_first

WEIGHTS = save({"a": np.zeros(100, np.float32), "b": np.ones(7, np.float32)}, {"format": "pt"})
JSON = json.dumps({"global_step": 20, "log_history": [{"reward": 1.5}]}).encode()

SHARDS = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}


def saved():
    """A ZIP, as torch.save writes it."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"state": list(range(100))}))
        archive.writestr("archive/version", "3\n")
    return made.getvalue()


ALWAYS = {
    "trainer_state.json": JSON,
    "training_args.bin": saved(),
    "tokenizer.json": JSON,
    "chat_template.jinja": b"{{ messages }}",
    "rng_state.pth": saved(),
}
LAYOUTS = {
    "full": {
        "model.safetensors": WEIGHTS,
        "config.json": JSON,
        "optimizer.pt": saved(),
        "scheduler.pt": saved(),
    },
    "LoRA": {
        "adapter_model.safetensors": WEIGHTS,
        "adapter_config.json": JSON,
        "optimizer.pt": saved(),
        "scheduler.pt": saved(),
    },
    "shards": {
        "model-00001-of-00002.safetensors": WEIGHTS,
        "model-00002-of-00002.safetensors": WEIGHTS,
        "model.safetensors.index.json": json.dumps({"weight_map": SHARDS}).encode(),
        "optimizer.pt": saved(),
    },
    "DeepSpeed": {
        "latest": b"global_step20",
        "global_step20/mp_rank_00_model_states.pt": saved(),
        "global_step20/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt": saved(),
        "global_step20/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt": saved(),
        "rng_state_1.pth": saved(),
    },
    "FSDP": {
        "pytorch_model_fsdp_0/__0_0.distcp": b"shard",
        "pytorch_model_fsdp_0/__1_0.distcp": b"shard",
        "pytorch_model_fsdp_0/.metadata": b"metadata",
        "optimizer_0/__0_0.distcp": b"shard",
        "optimizer_0/.metadata": b"metadata",
        "scheduler.pt": saved(),
    },
}
TOLD = {".json", ".safetensors", ".pt", ".pth", ".bin"}  # formats that show where they end
CUT = [
    (layout, name)
    for layout, files in LAYOUTS.items()
    for name in {**ALWAYS, **files}
    if any(name.endswith(suffix) for suffix in TOLD)
]


@pytest.fixture
def write(tmp_path):
    def write(layout):
        for name, content in {**ALWAYS, **LAYOUTS[layout]}.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(content)
        return tmp_path

    return write


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_whole_checkpoint_is_complete(write, layout):
    assert missing(write(layout)) == ""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_written_last_is_looked_for(write, layout):
    checkpoint = write(layout)
    (checkpoint / "trainer_state.json").unlink()
    assert missing(checkpoint) == "it has no trainer_state.json, which is written last"


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize(("layout", "name"), CUT)
def test_a_file_that_is_cut_off_is_named(write, layout, name, share):
    checkpoint = write(layout)
    content = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(content[: int(share * len(content))])
    assert missing(checkpoint) == f"{name} is cut off"


def test_fsdps_shards_are_complete_with_their_metadata(write):
    checkpoint = write("FSDP")
    (checkpoint / "optimizer_0" / ".metadata").unlink()
    assert missing(checkpoint) == "optimizer_0/__0_0.distcp is cut off"


@pytest.mark.parametrize("shard", SHARDS.values())
def test_shards_that_an_index_names_are_there(write, shard):
    checkpoint = write("shards")
    (checkpoint / shard).unlink()
    assert missing(checkpoint) == "model.safetensors.index.json is cut off"


def test_torchs_old_format_is_left_to_torch(write):
    checkpoint = write("full")
    (checkpoint / "optimizer.pt").write_bytes(pickle.dumps({"state": [1]}))
    assert missing(checkpoint) == ""


def test_checkpoints_are_told_from_other_folders_and_counted():
    names = [f"checkpoint-{each}" for each in (9, 10, 100, "best", "20.tmp", "", "-1")]
    found = newest_first([*names, "rollouts", "my-checkpoint-7", "checkpoint-5/x"])
    assert found == ["checkpoint-100", "checkpoint-10", "checkpoint-9"]
