"""`CHECKS`, the table of all checks of a config. Each command and hook runs the rows that it can afford.

A new check is a function that yields findings, and a row of this table.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

from axolotl_grpo_plugin.checks import config, prefill, traps
from axolotl_grpo_plugin.checks.advantages import check_advantage, check_rewards_of_advantage
from axolotl_grpo_plugin.checks.batch import (
    check_batch,
    check_groups,
    check_rows,
    check_token_budget,
)
from axolotl_grpo_plugin.checks.engines import check_engine
from axolotl_grpo_plugin.checks.ignored import check_ignored, check_twice, check_unread
from axolotl_grpo_plugin.checks.memory import Memory, check_memory, memory_of
from axolotl_grpo_plugin.checks.prompts import check_prompts
from axolotl_grpo_plugin.checks.ranges import check_ranges
from axolotl_grpo_plugin.checks.rendered import check_marks, check_rendered
from axolotl_grpo_plugin.checks.reuse import check_output, check_reuse, check_unused
from axolotl_grpo_plugin.checks.rewards import (
    check_ready,
    check_rewards,
    check_scoring,
    check_stop_at,
)
from axolotl_grpo_plugin.checks.sampling import check_dynamic_sampling
from axolotl_grpo_plugin.checks.tools import (
    check_parallel_tools,
    check_tool_use,
    check_tools,
    shown_tools,
)
from axolotl_grpo_plugin.checks.trl_args import check_trl_args
from axolotl_grpo_plugin.checks.validation import check_names, check_plugins, check_validation
from axolotl_grpo_plugin.checks.versions import check_versions, check_wandb
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.inputs import check_model
from axolotl_grpo_plugin.findings import Finding, Findings
from axolotl_grpo_plugin.processes import is_first_rank
from axolotl_grpo_plugin.serving.address import check_address
from axolotl_grpo_plugin.serving.placement import Placement

if TYPE_CHECKING:
    from axolotl_grpo_plugin.checks.data import Data

# yaml: reads only the YAML. import: imports the functions that it names, and looks for its files.
# axolotl: imports Axolotl, TRL or transformers. disk: looks at the output folder. machine: looks at packages,
# logins and processes. ranks: must know the number of training processes. data: must have read the datasets.
Cost = Literal["yaml", "import", "axolotl", "disk", "machine", "ranks", "data"]
# installed: a run that does not name the plugin. train: a training. answer: `eval` or `passrate`.
Use = Literal["installed", "train", "answer"]


@dataclass
class Facts:
    """The facts of a run that its checks need.

    Attributes:
        cfg: The config, raw or validated.
        use: The config's use.
        only_checks: No run follows, so the checks also do the work of Axolotl's validation.
        image: The run is in a container of cloud.yaml, whose packages and folders cannot be seen here.
        elsewhere: The run is on another machine.
        offline: The hub must not be asked.
        ranks: The number of training processes.
        placement: The GPUs of the run, None if they are unknown or too few.
        gib: The memory of each training GPU, None if it is unknown.
        data: The datasets, None until the command has read them.
        seen: The findings so far about the config itself.
    """

    cfg: Config
    use: Use = "train"
    only_checks: bool = False
    image: bool = False
    elsewhere: bool = False
    offline: bool = False
    ranks: int = 1
    placement: Placement | None = None
    gib: float | None = None
    data: "Data | None" = None
    seen: list[Finding] = field(default_factory=list)

    @cached_property
    def rewards_load(self) -> bool:
        """Whether the config's reward functions can be called."""
        return not any(check_rewards(self.cfg))

    @cached_property
    def memory(self) -> Memory | Finding | None:
        """The memory of a training GPU, or the reason why it is unknown; None on a CPU."""
        if self.placement is None or not self.placement.train:
            return None
        return memory_of(self.cfg, self.placement, self.gib)

    @property
    def read(self) -> "Data":
        """The datasets, which the command has read."""
        if self.data is None:
            raise AssertionError(
                "a check with the cost data needs Facts.data, which the command has not read"
            )
        return self.data

    def has_error_at(self, *keys: str) -> bool:
        """Return whether one of these keys has an error."""
        return any(place in keys for place in self._error_places())

    def has_error_in(self, *keys: str) -> bool:
        """Return whether one of these keys, or a key or an entry below it, has an error."""
        return any(re.split(r"[.\[]", place)[0] in keys for place in self._error_places())

    def _error_places(self) -> list[str]:
        errors = [finding for finding in self.seen if finding.level == "error"]
        return [finding.where.partition(" ")[0] for finding in errors]

    def says_less(self, refusal: Finding) -> bool:
        """Return whether a finding of Axolotl's validation says less than an error of our checks."""
        errors = [finding for finding in self.seen if finding.level == "error"]
        if refusal.code in ("wrong-batch", "refused-whole") and errors:
            return True
        return self.has_error_at(refusal.where)


def always(_: Facts) -> bool:
    """Return True."""
    return True


def only_checks(facts: Facts) -> bool:
    """Return whether no run follows."""
    return facts.only_checks


def is_here(facts: Facts) -> bool:
    """Return whether the packages and folders of this machine are the run's."""
    return not facts.image


def is_first_process(facts: Facts) -> bool:
    """Return whether the run's folders are on this machine, and this process is the one that locks them."""
    return is_here(facts) and is_first_rank()


def rewards_load(facts: Facts) -> bool:
    """Return whether the reward functions can be called."""
    return facts.rewards_load


def rewards_load_here(facts: Facts) -> bool:
    """Return whether the reward functions can be called, and their sandbox or server is on this machine."""
    return is_here(facts) and facts.rewards_load


def is_read(facts: Facts) -> bool:
    """Return whether the command has read the datasets."""
    return facts.data is not None


def has_rows(facts: Facts) -> bool:
    """Return whether there is a prompt that can be counted."""
    return bool(facts.data and facts.data.rows and facts.data.counted)


def has_scored_rows(facts: Facts) -> bool:
    """Return whether there are rows, and rewards that can score them."""
    return bool(facts.data and facts.data.rows) and facts.rewards_load


def _ready(facts: Facts) -> Findings:
    # `check` may run on a laptop that lacks the sandbox of the run's machine.
    return check_ready(facts.cfg, "skipped" if facts.only_checks else "error")


def _refused(facts: Facts) -> Findings:
    """Run Axolotl's validation. A training runs it itself."""
    has_gpus = bool(facts.placement and facts.placement.train)
    refusals = check_validation(facts.cfg, facts.ranks, facts.elsewhere and has_gpus)
    for finding in refusals:
        if not facts.says_less(finding):
            yield finding


def _engine(facts: Facts) -> Findings:
    """Check the engine for the planned processes. A training checks its own process when it starts."""
    if facts.placement:
        yield from check_engine(facts.cfg, facts.ranks, bool(facts.placement.train))


def _memory(facts: Facts) -> Findings:
    if isinstance(facts.memory, Finding):
        yield facts.memory
    elif facts.memory and facts.gib:
        yield from check_memory(facts.memory, facts.gib)


def _samples(facts: Facts) -> Findings:
    from axolotl_grpo_plugin.checks.samples import check_samples  # it imports datasets

    return check_samples(facts.cfg, facts.read.rows)


def _prompts(facts: Facts) -> Findings:
    yield from check_prompts(facts.cfg, facts.read)
    yield from check_rows(facts.cfg, facts.ranks, facts.read.counted)


def _template(facts: Facts) -> Findings:
    """Check the template and the tools with one row, because their faults are the same for all rows."""
    prompt = facts.read.rows[0].row["prompt"]
    tokenizer = facts.read.opened
    if tokenizer is None:  # another check names the fault
        return
    for name, shapes in facts.read.shapes.items():
        yield from check_rendered(tokenizer, name, shapes.prompts)
    if not isinstance(prompt, str):
        yield from check_marks(tokenizer)
    yield from prefill.check_generation_prompt(tokenizer, prompt)
    yield from prefill.check_end_tokens(facts.cfg, tokenizer, prompt)
    if facts.rewards_load:
        yield from prefill.check_prefill(facts.cfg, tokenizer, prompt)
    if shown_tools(facts.cfg):
        yield from check_tool_use(facts.cfg, prompt)


class Check(NamedTuple):
    """One row of the table.

    Attributes:
        cost: The resource that the check needs.
        run: The function that yields the findings.
        needs: A condition. The check runs if it is true.
        uses: The uses of a config for which the check runs.
    """

    cost: Cost
    run: Callable[[Facts], Iterable[Finding]]
    needs: Callable[[Facts], bool] = always
    uses: tuple[Use, ...] = ("train",)


_ALL: tuple[Use, ...] = ("installed", "train", "answer")
_OURS: tuple[Use, ...] = ("train", "answer")

CHECKS = (
    Check("yaml", lambda facts: config.check_rl(facts.cfg, facts.use, facts.image), uses=_OURS),
    Check("yaml", lambda facts: config.check_plugin(facts.cfg), uses=_ALL),
    Check("yaml", lambda facts: config.check_keys(facts.cfg), uses=_ALL),
    Check("yaml", lambda facts: check_twice(facts.cfg)),
    Check("yaml", lambda facts: check_ranges(facts.cfg)),
    Check("yaml", lambda facts: config.check_blocks(facts.cfg)),
    Check("yaml", lambda facts: config.check_held_out(facts.cfg)),
    Check("yaml", lambda facts: check_dynamic_sampling(facts.cfg)),
    Check("yaml", lambda facts: check_advantage(facts.cfg)),
    Check("yaml", lambda facts: check_scoring(facts.cfg)),
    Check("yaml", lambda facts: check_address(facts.cfg)),
    Check("yaml", lambda facts: check_token_budget(facts.cfg)),
    Check("import", lambda facts: check_rewards(facts.cfg), uses=_OURS),
    Check("import", lambda facts: check_rewards_of_advantage(facts.cfg), rewards_load),
    Check("import", lambda facts: check_stop_at(facts.cfg), rewards_load),
    Check("import", lambda facts: config.check_datasets(facts.cfg), uses=_OURS),
    Check("import", lambda facts: check_model(facts.cfg)),
    Check("import", lambda facts: config.check_deepspeed(facts.cfg)),
    Check("import", lambda facts: config.check_prompt_keys(facts.cfg)),
    Check("axolotl", lambda facts: check_plugins(facts.cfg), only_checks),
    Check("axolotl", lambda facts: check_ignored(facts.cfg)),
    Check("axolotl", lambda facts: check_unread(facts.cfg)),
    Check("axolotl", lambda facts: check_trl_args(facts.cfg)),
    Check("axolotl", lambda facts: check_tools(facts.cfg), uses=_OURS),
    Check("axolotl", lambda facts: check_names(facts.cfg)),
    Check("axolotl", lambda facts: traps.check_traps(facts.cfg)),
    Check("disk", lambda facts: check_output(facts.cfg), is_here),
    Check("disk", lambda facts: check_reuse(facts.cfg), is_here),
    Check("machine", lambda facts: check_unused(facts.cfg), is_first_process),
    Check("machine", lambda facts: check_versions(facts.cfg, facts.elsewhere), is_here),
    Check("machine", lambda facts: check_wandb(facts.cfg, facts.elsewhere), is_here),
    Check("machine", _ready, rewards_load_here, _OURS),
    # Its cost is machine, because the hook that knows the ranks runs these rows.
    Check("machine", lambda facts: check_groups(facts.cfg, facts.ranks), rewards_load),
    Check("ranks", lambda facts: check_batch(facts.cfg, facts.ranks)),
    Check("ranks", lambda facts: traps.check_precision(facts.cfg, facts.placement)),
    Check("ranks", lambda facts: traps.check_parallel(facts.cfg, facts.ranks)),
    Check("ranks", lambda facts: check_parallel_tools(facts.cfg, facts.ranks)),
    Check("ranks", _engine, only_checks),
    Check("ranks", _refused, only_checks),
    Check("ranks", _memory, only_checks),
    Check("data", lambda facts: facts.read.unread, is_read),
    Check("data", _samples, has_scored_rows),
    Check("data", _prompts, is_read),
    Check("data", _template, has_rows),
)


def findings(facts: Facts, *costs: Cost) -> Findings:
    """Run the checks of these costs, in the order of the table."""
    for check in CHECKS:
        if check.cost in costs and facts.use in check.uses and check.needs(facts):
            for finding in check.run(facts):
                # A fault of this machine says nothing about the config.
                if check.cost not in ("disk", "machine"):
                    facts.seen.append(finding)
                yield finding


def errors(facts: Facts, *costs: Cost) -> Findings:
    """Run the checks of these costs, and yield only errors, because the run itself logs the warnings."""
    for finding in findings(facts, *costs):
        if finding.level == "error":
            yield finding
