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

from axolotl_grpo_plugin.training import stall
from axolotl_grpo_plugin.training.callbacks import HeldOut

MODEL = Path(__file__).parents[2] / "axolotl_grpo_plugin" / "quickstart" / "model"
TIMEOUT = 3
ROWS = Dataset.from_list([{"prompt": f"{number}?"} for number in range(40)])

tokenizer = AutoTokenizer.from_pretrained(MODEL)


def score(completions, **_):
    return [float(len(text)) for text in completions]


def train(out, rewards=(score,), rows=ROWS, change=lambda trainer: None, timeout=TIMEOUT, **more):
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
    watchdog = stall.Watchdog(timeout, str(out))
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
    forward, seen = model.forward, []

    def hangs(**inputs):
        seen.append(inputs)
        if len(seen) > 1:
            sleep()
        return forward(**inputs)

    model.forward = hangs
    train(out, [score, model])


def data_loader(out):
    # As vLLM's engine may, it has its own session and ignores SIGTERM.
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
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


def slow_start(out):
    """With the default limit, the first step takes as long as it takes, and later units may take twice as long."""
    stall.LEAST, stall.SLOWEST = 1.0, 2
    times = [3.5, 0.0, 600.0]

    def starts(**columns):
        time.sleep(times.pop(0))
        return score(**columns)

    train(out, [starts], timeout=None)


def interrupted(out):
    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)

    try:
        train(out, [short, after(2, interrupt)])
    except KeyboardInterrupt:
        (out / "interrupted").touch()


def stopped_rank(out):
    rank = int(os.environ["RANK"])

    def stop():
        if rank == 1:
            time.sleep(2)  # so that its last sign names this place
            os.kill(os.getpid(), signal.SIGSTOP)

    train(out, [short, after(2, stop)])


def run(out, function):
    """Run a function in a fork, which writes what is left of the watchdog at the end."""
    out.mkdir()
    if pid := os.fork():
        return pid
    os.dup2(os.open(out / "stderr", os.O_CREAT | os.O_WRONLY), 2)
    function(out)
    threads = [thread.name for thread in threading.enumerate() if "_watch" in thread.name]
    whole = ProfilingContext.__exit__.__module__ == ProfilingContext.__module__
    (out / "left").write_text(json.dumps([threads, whole]))
    os._exit(0)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if "RANK" in os.environ:
        stopped_rank(folder)
    else:
        functions = (reward_model, data_loader, locked, slow, slow_start, interrupted)
        pids = {function.__name__: run(folder / function.__name__, function) for function in functions}
        codes = {name: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for name, pid in pids.items()}
        (folder / "codes.json").write_text(json.dumps(codes))
