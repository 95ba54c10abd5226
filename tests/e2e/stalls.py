"""Run TRL's trainer with a watchdog, and let a part of it hang.

`python stalls.py FOLDER` forks a process for each function of RUNS, because imports take most of the time.
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
from types import SimpleNamespace

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl import GRPOConfig

from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.training import stall
from axolotl_grpo_plugin.training.held_out_answers import HeldOut, HeldOutAnswers

MODEL = Path(__file__).parents[2] / "axolotl_grpo_plugin" / "quickstart" / "model"
ROWS = Dataset.from_list([{"prompt": "1?"}] * 40)

tokenizer = AutoTokenizer.from_pretrained(MODEL)


class Trainer(HeldOutAnswers):
    """TRL's trainer that can answer held-out rows, with rewards that nothing guards."""

    reward_runner = SimpleNamespace(
        take_outcomes=dict, report=lambda batch: {}, ends=lambda prompts: [""] * len(prompts)
    )


def short(completions, **_):
    time.sleep(1)
    return [float(len(text)) for text in completions]


def train(out, *rewards, rows=ROWS, change=None, timeout=3, **more):
    """Train as `axolotl train` does, which closes the watchdog also after an error."""
    args = GRPOConfig(
        str(out),
        per_device_train_batch_size=4,
        per_device_eval_batch_size=4,
        num_generations=4,
        max_completion_length=8,
        report_to=[],
        use_cpu=True,
        bf16=False,
        **more,
    )
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype="float32")
    trainer = Trainer(model, [short, *rewards], args, rows, ROWS, processing_class=tokenizer)
    watchdog = stall.Watchdog(timeout, str(out))
    trainer.add_callback(watchdog)
    if change:
        change(trainer)
    try:
        trainer.train()
    finally:
        watchdog.close()


def after(calls, act, function=short):
    """Return the function, which calls `act` first after so many calls."""
    left = [None] * calls

    def late(*words, **named):
        left.pop() if left else act()
        return function(*words, **named)

    return late


def sleep():
    time.sleep(600)


def reward_model(out):
    model = AutoModelForSequenceClassification.from_pretrained(MODEL, num_labels=1, dtype="float32")
    model.forward = after(1, sleep, model.forward)
    train(out, model)


def data_loader(out):
    # As vLLM's engine may, it has its own session and ignores SIGTERM.
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    train(out, rows=ROWS.with_transform(after(2, sleep, dict)))


def locked(out):
    """The call keeps Python's lock, so that no thread runs."""
    train(out, after(2, lambda: re.match(r"(a+)+$", "a" * 60 + "b")))


def slow(out):
    """A step, the answers to held-out rows and a save take longer than the limit, and no unit of work does."""

    def change(trainer):
        rewards = [LoggedReward(name) for name in trainer.reward_func_names]
        trainer.add_callback(HeldOut(trainer, 2, None, rewards))
        trainer.save_model = after(0, lambda: time.sleep(6), trainer.save_model)

    first, second = (after(0, lambda: time.sleep(1)) for _ in range(2))
    second.__name__ = "later"  # a run's reward functions have names of their own
    train(out, first, second, change=change, max_steps=1, save_steps=1)


def slow_start(out):
    """With the default limit, the first step takes as long as it takes, and later units twice as long."""
    stall.LEAST, stall.SLOWEST = 1.0, 2
    train(out, after(0, lambda: time.sleep(2.5)), after(2, sleep), timeout=None)


def interrupted(out):
    # A shell starts a background process with this signal ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        train(out, after(1, lambda: os.kill(os.getpid(), signal.SIGINT)))
    except KeyboardInterrupt:
        assert not [thread for thread in threading.enumerate() if "_watch" in thread.name]


def stopped_rank(out):
    def stop():
        time.sleep(2)  # so that its last sign names this place
        os.kill(os.getpid(), signal.SIGSTOP)

    train(out, after(2, stop if os.environ["RANK"] == "1" else list))


def fork(out, function):
    out.mkdir()
    if pid := os.fork():
        return pid
    os.dup2(os.open(out / "stderr", os.O_CREAT | os.O_WRONLY), 2)
    function(out)
    os._exit(0)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if "RANK" in os.environ:
        stopped_rank(folder)
        sys.exit()
    pids, codes = {}, {}
    for function in (reward_model, data_loader, locked, slow, slow_start, interrupted):
        pids[function.__name__] = fork(folder / function.__name__, function)
    for name, pid in pids.items():
        codes[name] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    (folder / "codes.json").write_text(json.dumps(codes))
