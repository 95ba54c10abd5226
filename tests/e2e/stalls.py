"""Run TRL's trainer with a watchdog, and let a part of it hang.

`python stalls.py FOLDER` forks a process for each function below, because imports take most of the time.
`torchrun --nproc-per-node 2 stalls.py FOLDER` lets one of two ranks hang.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer
from trl.extras.profiling import ProfilingContext

from axolotl_grpo_plugin.training.callbacks import HeldOut
from axolotl_grpo_plugin.training.stall import Watchdog

MODEL = Path(__file__).parents[2] / "axolotl_grpo_plugin" / "quickstart" / "model"
TIMEOUT = 3
ROWS = Dataset.from_list([{"prompt": f"{number}?"} for number in range(40)])

tokenizer = AutoTokenizer.from_pretrained(MODEL)


def score(completions, **_):
    return [float(len(text)) for text in completions]


def train(out, rewards=(score,), rows=ROWS, change=lambda trainer: None, **more):
    """Train five steps as `axolotl train` does: the watchdog comes first, and is closed also after an error."""
    args = GRPOConfig(
        output_dir=str(out),
        per_device_train_batch_size=4,
        per_device_eval_batch_size=4,
        num_generations=4,
        max_completion_length=8,
        report_to=[],
        use_cpu=True,
        bf16=False,
        **{"max_steps": 5, "save_strategy": "no", **more},
    )
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype="float32")
    scorers = [tokenizer if hasattr(reward, "config") else None for reward in rewards]
    trainer = GRPOTrainer(
        model, [*rewards], args, rows, ROWS, processing_class=tokenizer, reward_processing_classes=scorers
    )
    watchdog = Watchdog(TIMEOUT, str(out))
    trainer.add_callback(watchdog)
    change(trainer)
    try:
        trainer.train()
    finally:
        watchdog.close()


def after(steps, act):
    """Return a reward function that calls `act` after so many calls."""
    calls = []

    def hangs(completions, **_):
        calls.append(1)
        if len(calls) > steps:
            act()
        return score(completions)

    return hangs


def short(**columns):
    time.sleep(1)
    return score(**columns)


def sleep():
    time.sleep(600)


def reward_model(out):
    model = AutoModelForSequenceClassification.from_pretrained(MODEL, num_labels=1, dtype="float32")
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config._name_or_path = "a/slow-model"
    forward = model.forward

    def hangs(**inputs):
        if (out / "scored").exists():
            sleep()
        (out / "scored").touch()
        return forward(**inputs)

    model.forward = hangs
    train(out, [score, model])


def data_loader(out):
    # As vLLM's engine may, it has its own session and ignores SIGTERM.
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    (out / "child").write_text(str(child.pid))
    seen = []

    def read(rows):
        seen.append(rows)
        if len(seen) > 2:
            sleep()
        return rows

    train(out, rows=ROWS.with_transform(read))


def locked(out):
    """The call keeps Python's lock, so that no thread runs."""
    train(out, [short, after(2, lambda: re.match(r"(a+)+$", "a" * 60 + "b"))])


def slow(out):
    """Each step, the answers to held-out rows and the save take longer than the time limit; no unit of work does."""

    def first(**columns):
        time.sleep(2)
        return score(**columns)

    def second(**columns):
        time.sleep(2)
        return score(**columns)

    def change(trainer):
        trainer.add_callback(HeldOut(trainer, 2, None, {}))
        save = trainer.save_model

        def saves(*words, **more):
            time.sleep(TIMEOUT + 3)
            save(*words, **more)

        trainer.save_model = saves

    train(out, [first, second], change=change, max_steps=1, save_strategy="steps", save_steps=1)


def interrupted(out):
    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)

    try:
        train(out, [after(1, interrupt)])
    except KeyboardInterrupt:
        (out / "interrupted").touch()


def run(function):
    """Run a function in a fork. Write whether it ended without a trace."""
    out = OUT / function.__name__
    out.mkdir()
    if pid := os.fork():
        return pid
    os.dup2(os.open(out / "stderr", os.O_CREAT | os.O_WRONLY), 2)
    function(out)
    threads = [each for each in threading.enumerate() if each is not threading.main_thread()]
    watches = [each.name for each in threads if "_watch" in each.name]
    whole = ProfilingContext.__exit__.__module__ == ProfilingContext.__module__
    (out / "left").write_text(json.dumps([watches, whole]))
    os._exit(0)


OUT = Path(sys.argv[1])
if "RANK" in os.environ:
    rank = int(os.environ["RANK"])

    def act():
        os.kill(os.getpid(), signal.SIGSTOP)

    train(OUT, [short, after(2, act if rank else list)])
else:
    pids = {function.__name__: run(function) for function in (reward_model, data_loader, locked, slow, interrupted)}
    codes = {name: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for name, pid in pids.items()}
    (OUT / "codes.json").write_text(json.dumps(codes))
