"""Train the quickstart with two ranks, and look at the files that they saved."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from tests.conftest import MODEL, ROOT, Later
from tests.e2e.conftest import environment, shipped_config, torchrun

safetensors = Later("safetensors.torch")

PLUGINS = ["axolotl_grpo_plugin.GRPOPlugin", "tests.engines.watching.Watched"]
FSDP2 = {
    "fsdp_version": 2,
    "fsdp_config": {
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "transformer_layer_cls_to_wrap": "LlamaDecoderLayer",
        "state_dict_type": "FULL_STATE_DICT",
        "reshard_after_forward": True,
    },
}
AUTO = ("gradient_accumulation_steps", "gradient_clipping", "train_batch_size", "train_micro_batch_size_per_gpu")
ZERO3 = {
    "zero_optimization": {
        "stage": 3,
        "overlap_comm": False,
        "stage3_gather_16bit_weights_on_model_save": True,
        "stage3_param_persistence_threshold": 0,  # else tensors of this tiny model stay whole
    },
    **dict.fromkeys(AUTO, "auto"),
}
KEYS = {"": {}, "fsdp2": FSDP2, "zero3": {"deepspeed": ZERO3}}
KINDS = {"fsdp2": ["DTensor"], "zero3": ["ZeRO-3"]}  # of the parameters
ENGINE_TYPES = {  # accelerate's names
    "": "DistributedType.MULTI_CPU",
    "fsdp2": "DistributedType.FSDP",
    "zero3": "DistributedType.DEEPSPEED",
}
GRACEFUL = (signal.SIGINT, signal.SIGTERM)


def config_of(folder, engine, **changes):
    """Write a config of the quickstart with the smallest steps. engine: a key of KEYS. Return its file."""
    keys = {
        "plugins": PLUGINS,
        "micro_batch_size": 8,
        "gradient_accumulation_steps": 1,
        "trl__max_completion_length": 12,
        "grpo_held_out_rows": None,
        "grpo_show_steps": 0,
        "test_datasets": None,
        "warmup_steps": 0,
        "lr_scheduler": "constant",  # so that a run of more steps has the same first steps
        "save_strategy": "steps",
        "save_steps": 2,
    }
    config = shipped_config(**{**keys, **KEYS[engine], **changes})
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({key: value for key, value in config.items() if value is not None}))
    return file


class Trainings:
    """Trains with two ranks in forks of a process that has imported Axolotl."""

    def __init__(self, process, log):
        self._process = process
        self._log = log

    def start(self, *words):
        """Start `axolotl train WORDS`. Return the process ids of the ranks."""
        print(json.dumps([*map(str, words)]), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def end(self):
        """Return the exit codes of the ranks that were started."""
        return json.loads(self._process.stdout.readline())

    def train(self, *words):
        """Train to the end."""
        self.start(*words)
        assert self.end() == [0, 0], self._log.read_text()[-6000:]


@contextmanager
def trainings(folder):
    log = folder / "trainings.log"
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("trainings.py"), log],
        cwd=ROOT,
        env=environment(PYTHONPATH=str(ROOT)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Trainings(process, log)
        process.stdin.close()


def assert_whole(file, trained=MODEL / "model.safetensors"):
    """Check that a saved model has all tensors of the model that was trained, in their shapes."""
    saved, expected = shapes(file), shapes(trained)
    # FSDP2 saves the head beside the embeddings that it is tied to.
    assert saved.pop("lm_head.weight", None) in (None, expected["model.embed_tokens.weight"])
    assert saved == expected


def shapes(file):
    """Return the shape of each tensor of a model by its name."""
    return {name: tuple(tensor.shape) for name, tensor in safetensors.load_file(file).items()}


def same(file, other):
    """Return whether two models have the same tensors, bit for bit. A copy of tied embeddings does not count."""
    tensors, others = safetensors.load_file(file), safetensors.load_file(other)
    names = (tensors.keys() | others.keys()) - {"lm_head.weight"}
    return all(tensors[name].equal(others[name]) for name in names)


def check_signal_and_resume(ranks, folder, engine):
    """Train until one rank is signalled, and go on from the checkpoint before that."""
    file = config_of(folder, engine)
    signalled, resumed = folder / "signalled", folder / "resumed"
    checkpoint = signalled / "checkpoint-2"
    # The signal comes in the third step, which all ranks end.
    ranks.train(file, "--max-steps=9", f"--output-dir={signalled}")
    ranks.train(file, "--max-steps=3", f"--output-dir={resumed}", f"--resume-from-checkpoint={checkpoint}")
    for rank in (0, 1):
        assert json.loads((signalled / f"engine-{rank}.json").read_text()) == KINDS[engine]
    assert [path.name for path in signalled.glob("checkpoint-*")] == [checkpoint.name]
    for saved in (checkpoint, signalled, resumed):
        assert_whole(saved / "model.safetensors")
    assert same(signalled / "model.safetensors", resumed / "model.safetensors")
    assert (signalled / "README.md").exists()


def check_resume(ranks, folder, engine, saved, steps, **changes):
    """Compare a run that goes on from its checkpoint with an undisturbed one. saved: the checkpoint's step."""
    file = config_of(folder, engine, max_steps=steps, save_steps=saved, **changes)
    whole, resumed = folder / "whole", folder / "resumed"
    checkpoint = whole / f"checkpoint-{saved}"
    ranks.train(file, f"--output-dir={whole}")
    ranks.train(file, f"--output-dir={resumed}", f"--resume-from-checkpoint={checkpoint}")
    assert same(whole / "model.safetensors", resumed / "model.safetensors")


LORA = {"adapter": "lora", "lora_r": 4, "lora_alpha": 8, "lora_target_linear": True}


def check_best(folder, engine, adapter):
    """Train two steps, and look at the best model or adapter, which all ranks saved together."""
    held_out = shipped_config()["test_datasets"]
    answers = {"test_datasets": held_out, "grpo_held_out_rows": 4, "grpo_eval_steps": 1, "eval_batch_size": 8}
    file = config_of(folder, engine, max_steps=2, grpo_keep_best=True, **answers, **(LORA if adapter else {}))
    with trainings(folder) as ranks:
        ranks.train(file, f"--output-dir={folder / 'out'}")
    best = folder / "out" / "best"
    step = json.loads((best / "best.json").read_text())["step"]
    name = "adapter_model.safetensors" if adapter else "model.safetensors"
    if adapter:
        assert shapes(best / name) == shapes(folder / "out" / name)
    else:
        assert_whole(best / name)
    if step == 2:
        assert same(best / name, folder / "out" / name)


MOMENTS = 10
STEPS = 6


def check_signals(ranks, folder, engine, number):
    """Signal all ranks at ten moments from the first step to the last file. Then go on to the end.

    An earlier model is in the folder. It stays, or a whole one replaces it.
    """
    file = config_of(folder, engine, max_steps=STEPS)
    whole = folder / "whole"
    ranks.train(file, f"--output-dir={whole}")
    length = (whole / "README.md").stat().st_mtime - (whole / "engine-0.json").stat().st_mtime
    for moment in range(MOMENTS):
        ended = folder / f"ended-{moment}"
        ended.mkdir()
        shutil.copy(MODEL / "model.safetensors", ended)
        pids = ranks.start(file, f"--output-dir={ended}")
        while not (ended / "engine-0.json").exists():
            time.sleep(0.02)
        time.sleep(length * moment / MOMENTS)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        codes = ranks.end()
        if number in GRACEFUL:
            # Python's own end takes the handlers away. The card, which is the last file, is whole by then.
            ends = {0, -number} if (ended / "README.md").exists() else {0}
            assert set(codes) <= ends, (moment, codes)
            assert not same(ended / "model.safetensors", MODEL / "model.safetensors")
        for saved in ended.rglob("*.safetensors"):
            assert_whole(saved)
        ranks.train(file, f"--output-dir={ended}", "--auto-resume-from-checkpoints")
        assert same(ended / "model.safetensors", whole / "model.safetensors"), moment


def check_lora_sync(folder, engine, dtype):
    """Check that a LoRA reaches vLLM as one merge on one process, and that its base stays."""
    torchrun("../engines/lora_on_ranks.py", folder, dtype, ENGINE=engine)
    for rank in (0, 1):
        name, tensors = (folder / f"{rank}.txt").read_text().split()
        assert name == ENGINE_TYPES[engine]
        assert int(tensors) == len(shapes(MODEL / "model.safetensors"))
