"""Modal's GPUs: memory, how many a container takes, and what an hour costs.

Families and counts are of https://modal.com/docs/guide/gpu (a copy of 2026). Prices are Modal's list
prices of July 2026 in dollars a second, from https://modal.com/pricing, as
https://github.com/api-evangelist/modal-labs transcribed them on 1 July (plans/modal-labs-plans-pricing.yml);
https://techbytes.app/posts/serverless-gpu-pricing-matrix-modal-replicate-lambda-2026/ has the same
ones for May. A price that neither has is None.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from axolotl_grpo_plugin.findings import Finding, nearest

PRICED = "list prices of July 2026, modal.com/pricing"
CPU = 0.0000131  # dollars a second for a physical core
MEMORY = 0.00000222  # for a GiB
HOUR = 3600


class Family(NamedTuple):
    """gb: memory of one. price: dollars a second of one. most: in a container."""

    gb: float
    price: float | None
    most: int = 8
    bf16: bool = True


FAMILIES = {
    "T4": Family(16, 0.000164, bf16=False),
    "L4": Family(24, 0.000222),
    "A10": Family(24, 0.000306, most=4),
    "A10G": Family(24, 0.000306, most=4),  # its older name
    "L40S": Family(48, 0.000542),
    "A100": Family(40, 0.000583),  # Modal may give one of 80 GB, at this price
    "A100-40GB": Family(40, 0.000583),
    "A100-80GB": Family(80, 0.000694),
    "RTX-PRO-6000": Family(96, 0.000842),
    "H100": Family(80, 0.001097),  # or an H200, at this price
    "H100!": Family(80, 0.001097),
    "H200": Family(141, 0.001261),
    "B200": Family(180, 0.001736),
    "B200+": Family(180, 0.001736),  # or a B300, at this price
    "B300": Family(288, None),  # wants an image with CUDA 13.1 or newer
}


@dataclass(frozen=True)
class GPU:
    """The GPUs of a container.

    name: Modal's name of the family. gb: memory of one, in GB. price: dollars an hour for one, None
    where it is not known. bf16: whether they have bfloat16.

    >>> gpu = parse("l40s:2")
    >>> gpu.modal, gpu.gb, gpu.price
    ('L40S:2', 48, 1.9512)
    """

    name: str
    count: int
    gb: float
    price: float | None
    bf16: bool = True

    @property
    def modal(self) -> str:
        """As Modal's `gpu=` takes it."""
        return f"{self.name}:{self.count}" if self.count > 1 else self.name


def parse(
    gpu: Any, count: Any = None, memory: Any = None, where: str = "cloud.yaml"
) -> GPU | Finding | None:
    """What the keys gpu, gpu_count and gpu_memory ask for: None for a CPU, or what is wrong with them.

    gpu: "L40S" or "L40S:2". memory: GB of each, for a family that FAMILIES does not have.
    """
    if gpu is None:
        if count is None and memory is None:
            return None
        return Finding(
            f"{where}: gpu", "is missing", "Name the family, or remove the other gpu_ keys"
        )
    at = f"{where}: gpu ({gpu})"
    if not isinstance(gpu, str):
        return Finding(at, "not a string", 'Write a family and a count, as in "L40S:2"')
    name, colon, typed = gpu.strip().upper().partition(":")
    if colon and not (typed.isascii() and typed.isdigit()):
        return Finding(at, f"{typed!r} is no number of GPUs", 'Write it as in "L40S:2"')
    if count is not None and (type(count) is not int or count < 1):
        fix = "Write 1 or more, without quotes"
        return Finding(f"{where}: gpu_count ({count!r})", "not a number of GPUs", fix)
    if colon and count not in (None, int(typed)):
        what = f"gpu_count says {count}"
        return Finding(at, what, f"Write gpu: {name} and gpu_count, or the one string")
    return _made(name, int(typed) if colon else count or 1, memory, where, at)


def _made(name: str, count: int, memory: Any, where: str, at: str) -> GPU | Finding:
    family = FAMILIES.get(name)
    if family is None and memory is None:
        return Finding(
            at,
            "no GPU of Modal's that is known here",
            f"{_known(name)}. If it is newer than this plugin, add gpu_memory: its GB",
        )
    if memory is not None:
        at_memory = f"{where}: gpu_memory ({memory})"
        if family:
            what = f"the memory of a {name} is known, {family.gb:g} GB"
            return Finding(at_memory, what, "Remove the key")
        if type(memory) not in (int, float) or not 0 < memory < float("inf"):
            return Finding(at_memory, "not a size", "Write the GB of one GPU, as a number")
    family = family or Family(memory, None)
    if not 1 <= count <= family.most:
        return Finding(
            at, f"a container has 1 to {family.most} of them", "Write a number in that range"
        )
    price = None if family.price is None else round(family.price * HOUR, 4)
    return GPU(name, count, family.gb, price, family.bf16)


def _known(name: str) -> str:
    hint = nearest(name, FAMILIES)
    return hint if hint.startswith("There") else f"{hint}? There are: {', '.join(FAMILIES)}"


def cost(gpu: GPU | None, cpu: float, memory: float, seconds: int) -> str:
    """What one attempt costs at most by list prices, an hour of it, and what comes on top.

    cpu: cores asked for. memory: GiB asked for. seconds: the timeout.

    >>> print(cost(parse("T4"), 2, 8, 7200))
    at most $1.51 for one attempt: $0.75 an hour x 2 h of timeout
    T4 at $0.59 an hour, 2 CPU cores at $0.05, 8 GiB of memory at $0.01
    (list prices of July 2026, modal.com/pricing). On top: CPU and memory used beyond that,
    the container's start, storage, and the attempt that follows a preemption
    """
    hour = (cpu * CPU + memory * MEMORY) * HOUR
    asked = [
        f"{cpu:g} CPU cores at ${CPU * HOUR:.2f}",
        f"{memory:g} GiB of memory at ${MEMORY * HOUR:.2f}",
    ]
    most = without = ""
    if gpu:
        what = f"{gpu.count} x {gpu.name}" if gpu.count > 1 else gpu.name
        if gpu.price is None:
            asked.insert(0, f"{what}, whose price is not known here")
            most = f" and {gpu.count * seconds / HOUR:.3g} GPU hours of {gpu.name}"
            without = " without the GPUs"
        else:
            hour += gpu.count * gpu.price
            asked.insert(0, f"{what} at ${gpu.price:.2f} an hour")
    dollars = math.ceil(round(hour * seconds / HOUR * 100, 6)) / 100
    return (
        f"at most ${dollars:,.2f}{most} for one attempt: "
        f"${hour:,.2f} an hour{without} x {seconds / HOUR:.3g} h of timeout\n"
        f"{', '.join(asked)}\n"
        f"({PRICED}). On top: CPU and memory used beyond that,\n"
        "the container's start, storage, and the attempt that follows a preemption"
    )
