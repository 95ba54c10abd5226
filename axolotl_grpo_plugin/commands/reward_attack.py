"""`axolotl-grpo reward attack`: attack a reward with completions that it must not pay."""

from contextlib import closing

from huggingface_hub import constants
from rich.text import Text

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.checks.rewards import check_rewards
from axolotl_grpo_plugin.commands.reward_list import full_path
from axolotl_grpo_plugin.completions import Names, Texts
from axolotl_grpo_plugin.config import Config, read_config
from axolotl_grpo_plugin.findings import stop, stop_on
from axolotl_grpo_plugin.load import RewardRefs, is_model, reward_refs
from axolotl_grpo_plugin.report.console import console, in_one_line, print_json, table
from axolotl_grpo_plugin.reward import NOT_COLUMNS, Row
from axolotl_grpo_plugin.scoring.guards import Guards, ScoringSettings
from axolotl_grpo_plugin.trying.attacks import AttackLine, AttackReport, attack
from axolotl_grpo_plugin.trying.rescore import check_scorable, named_rewards
from axolotl_grpo_plugin.trying.samples import merged, training_samples

SECONDS = 5.0  # of CPU time per completion; a batch may take twice as long


def run(config: str, *, rewards: Names, arguments: Names, limit: int, as_json: bool) -> int:
    """Attack the rewards, and print the tables. Return the exit code: 1 if an attack found a fault."""
    paths.add_working_folder()
    cfg = read_config(config)
    references = _rewards(cfg, rewards, arguments)
    paths.resolve_packaged(cfg)
    found = training_samples(cfg, constants.HF_HUB_OFFLINE, limit)
    if not found:
        stop("no-rows", config, "no rows", "Name a dataset under datasets:")
    for reference in references:
        check_scorable(reference, merged(found)[0].row, NOT_COLUMNS)
    seconds = min(cfg.grpo_reward_timeout or SECONDS, SECONDS)
    # Each reward scores in a process, because it may hang on an attack.
    settings = ScoringSettings(seconds, 2 * seconds * len(references), isolation="process")
    reports = []
    with closing(Guards(references, settings, cfg)) as guards:
        for key, guard in guards.guards.items():
            report = attack(guard, found)
            reports.append(_plain(key, report))
            if not as_json:
                _show(key, report, len(found))
    if as_json:
        print_json(reports)
    return int(any(report["faults"] for report in reports))


def _rewards(cfg: Config, names: Names, arguments: Names) -> RewardRefs:
    """Return the named rewards, else all of the config. Those of the config have its parameters."""
    wanted = list(map(full_path, names))
    if arguments:
        return named_rewards(wanted, arguments)
    found = []
    for known in reward_refs(cfg):
        is_wanted = not names or {known.key, known.path}.intersection(wanted)
        if is_wanted and not is_model(known.key):
            found.append(known)
    if found:
        stop_on(check_rewards(cfg))
    elif not names:
        stop(
            "no-reward", cfg.at("trl.reward_funcs"), "no reward function", "Name one with --reward"
        )
    own = [known.key for known in found] + [known.path for known in found]
    return [*found, *named_rewards([name for name in wanted if name not in own], ())]


def _show(key: str, report: AttackReport, rows: int) -> None:
    """Print the table of one reward."""
    out = console()
    out.print(key, style="bold")
    line = "It declares no column of the dataset, so it may pay for a layout with any answer."
    if report.reads:
        line = f"It reads {', '.join(report.reads)}, so only a right answer may be paid."
    out.print(f"{line} {rows} rows.")
    if not any(line.example for line in report.lines):
        out.print(
            "It gives None to each completion, so the attacks prove nothing. Return a number, unless the "
            "rows belong to another task.\n"
        )
        return
    if report.reads and report.no_gold:
        out.print(f"No right answer is known, because {report.no_gold}.")
    elif not report.layout and not report.left_out:
        out.print(
            "It pays a right answer in no layout that was tried. If it reads another layout, try a right "
            "completion with `axolotl-grpo reward score`."
        )
    lines = table("attack", "allowed", "score", "", "example", right=("score",), no_wrap=True)
    unscored: dict[str, Texts] = {}
    for line_of_attack in report.lines:
        if line_of_attack.tried or line_of_attack.fault:
            lines.add_row(*_cells(line_of_attack))
        if line_of_attack.note:
            unscored.setdefault(line_of_attack.note, []).append(line_of_attack.attack)
    out.print(lines)
    for reason, attacks in unscored.items():
        out.print(f"{reason}: {'; '.join(attacks)}.")
    if report.left_out:
        out.print(f"The other attacks were left out, because {report.left_out}.")
    if report.faults:
        out.print(f"Faults: {'; '.join(report.faults)}.\n")
    else:
        out.print(
            f"No fault. Only these completions of {rows} rows were tried, so the reward may still pay "
            "others that it must not pay.\n"
        )


def _cells(line: AttackLine) -> list[str | Text]:
    result = Text("ok", style="green")
    if line.fault:
        result = Text(line.fault.upper(), style="bold red")
    counts = {"paid": line.paid, "unpaid": line.tried - line.paid}
    if line.fault in counts:
        result.append(f" {counts[line.fault]}/{line.tried}")
    score = "" if line.score is None else f"{line.score:g}"
    return [line.attack, line.must, score, result, in_one_line(line.example, 30)]


def _plain(key: str, report: AttackReport) -> Row:
    return {
        "reward": key,
        **report._asdict(),
        "lines": [line._replace(example=line.example[:1000])._asdict() for line in report.lines],
        "faults": len(report.faults),
    }
