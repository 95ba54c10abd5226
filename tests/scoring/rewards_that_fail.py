"""Rewards that hang, crash or return invalid scores, for the tests."""

import asyncio
import ctypes
import math
import os
import re
import subprocess
from pathlib import Path
from threading import Lock

from axolotl_grpo_plugin.reward import Score, group_reward, reward


@reward(range=(0.0, 1.0))
def raises(completion):
    return 1 / 0


@reward(range=(0.0, 1.0))
def raises_on_an_answer(completion):
    return 1.0 if completion.startswith("Respond") else 1 / 0  # the prompt, before the training


@reward(range=(0.0, 1.0))
def hangs(completion):
    while True:  # in C code, so that no signal handler of Python runs
        ctypes.CDLL(None).sleep(1000)


@reward(range=(-1.0, 1.0), reasons=("fast",))
def spins_on_a(completion):
    while "a" in completion:  # uses CPU time in C code
        pow(3, 10**9)
    return Score(1.0, "fast")


@reward(range=(0.0, 1.0))
def declares_no_reasons(completion):
    return Score(1.0, f"says {completion}")


@reward(range=(0.0, 1.0))
def eats_memory(completion):
    eaten = []
    while True:
        eaten.append(bytearray(1 << 28))


@reward(range=(0.0, 1.0))
def exits(completion):
    os._exit(3)


@reward(range=(0.0, 1.0))
def exits_well(completion):
    os._exit(0)


_kept = []


@reward(range=(0.0, 1.0))
def leaks_memory(completion):
    _kept.append(bytes(1 << 28))  # its pages stay untouched
    return 1.0


@reward(range=(0.0, 1.0))
def leaves_children(completion):
    """Write the ids of two children to the file that the completion names, and end as its name says."""
    pids = []
    for new_session in (False, True):
        child = subprocess.Popen(["sleep", "600"], start_new_session=new_session)
        pids.append(child.pid)
    Path(completion).write_text(" ".join(map(str, pids)))
    ends = {"hangs": lambda: hangs.score(""), "exits": lambda: os._exit(0), "returns": lambda: 1.0}
    return ends[Path(completion).name]()


@reward(range=(0.0, 1.0))
def prints_a_lot(completion):
    print("the first line of", completion, end="x" * 100_000)
    return 1.0


@reward(range=(0.0, 1.0))
def raises_a_long_error(completion):
    raise ValueError("text " + "x" * 100_000 + "\n" * 10_000 + "end")


@reward(range=(0.0, 1.0), ready=lambda: os._exit(7))
def dies_before_it_scores(completion):
    return 1.0


@reward(range=(0.0, 1.0))
def out_of_range(completion):
    return 1.5


def no_number(prompts, completions, **columns):
    """Return three values that are not numbers among the first five."""
    return [math.nan, math.inf, "1.0", None, *[0.5] * (len(completions) - 4)]


def too_few(prompts, completions, **columns):
    return [1.0]


def logs_a_lock(prompts, completions, log_extra, **columns):
    log_extra("lock", [Lock()] * len(completions))
    return [1.0] * len(completions)


def hangs_on_a_batch(prompts, completions, **columns):
    hangs.score("")


def logs(prompts, completions, log_extra, log_metric, trainer_state, **columns):
    """Log the environment and the process."""
    log_metric("pid", os.getpid())
    log_extra("gpus", [os.environ["CUDA_VISIBLE_DEVICES"]] * len(completions))
    log_extra("rank", [os.environ.get("RANK", "none")] * len(completions))
    return [trainer_state.global_step] * len(completions)


@reward(range=(0.0, 1.0), first=lambda text: Score(1.0, "quick") if text == "easy" else None)
def quick_or_slow(completion):
    return Score(0.5, str(os.getpid()))


@reward(range=(0.0, 2.0), reads="answer", reasons=("right", "wrong"))
def right_unless_it_hangs(completion, answer):
    if "hang" in completion:
        hangs.score("")
    return Score(2.0, "right") if completion.endswith(answer) else Score(0.0, "wrong")


def server():
    raise RuntimeError("nothing answers. Start it.")


@reward(range=(0.0, 1.0), ready=server)
def needs_a_server(completion):
    return 1.0


async def late(prompts, completions, **columns):
    import asyncio

    await asyncio.sleep(100)


async def judged(prompts, completions, **columns):
    return [1.0, None, math.inf][: len(completions)]


@group_reward(range=(0.0, 1.0), reasons=["first", "later"])
def the_first(completions, first=1.0):
    return [Score(first, "first"), *(Score(0.0, "later") for _ in completions[1:])]


_made_ready = []


@reward(range=(0.0, 1.0), ready=lambda: _made_ready.append(os.getpid()))
def wants_to_be_ready(completion):
    return float(_made_ready == [os.getpid()])


@reward(range=(0.0, 1.0), reads="source", group_by="source", inline=True)
def by_source(completion, source):
    return float(completion == source)


async def times_out(prompts, completions, **columns):
    raise TimeoutError("the judge is slow")


@group_reward(range=(0.0, 1.0))
def first_alone(completions):
    return [1.0]


@group_reward(range=(0.0, 1.0))
def all_different(completions):
    return {index / len(completions) for index in range(len(completions))}


def evaluates(completions, answer, **_):
    """As rewards that let Python evaluate the answer."""
    scores = []
    for (message,), gold in zip(completions, answer, strict=True):
        found = re.search(r"<answer>\n(.*?)\n</answer>", message["content"])
        try:
            scores.append(float(bool(found) and str(eval(found[1])) == str(gold)))
        except (ArithmeticError, NameError, SyntaxError, TypeError):
            scores.append(0.0)
    return scores


async def evaluates_async(completions, answer, **_):
    await asyncio.sleep(0)
    return evaluates(completions, answer)
