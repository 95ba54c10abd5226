"""`axolotl-grpo passrate --from-rollouts`."""

import pyarrow.parquet as pq
import yaml

from axolotl_grpo_plugin.runlog.rewards import rewards_of
from axolotl_grpo_plugin.runlog.schema import write
from axolotl_grpo_plugin.transforms.gsm8k import instructions
from tests.conftest import program, write_rows

REWARD = "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"
LOADED = "import atexit, sys; atexit.register(lambda: print(*sys.modules))\nfrom axolotl_grpo_plugin.cli import grpo\n"


def test_rates_of_a_log_need_neither_torch_nor_axolotls_loader(tmp_path):
    ask = instructions()
    write_rows(tmp_path / "rows.jsonl", [{"question": f"{n} + 1?", "answer": f"#### {n + 1}"} for n in range(4)])
    for step, score in enumerate((0.0, 2.0)):
        columns = {"attempt": [1], "step": [step], "rank": [0], "mode": ["train"], "completion_tokens": [7]}
        columns |= {"prompt": [ask("0 + 1?")], "completion": ["?"], "reward/correctness_reward_func": [score]}
        write(tmp_path / "run/rollouts", step, columns, rewards_of({"correctness_reward_func": [0.0, 2.0]}))
    config = {
        "base_model": "nobody/nothing",
        "plugins": ["axolotl_grpo_plugin.GRPOPlugin"],
        "rl": "grpo",
        "trl": {"reward_funcs": [REWARD]},
        "datasets": [{"path": "rows.jsonl", "ds_type": "json", "type": "axolotl_grpo_plugin.gsm8k"}],
        "output_dir": "out",
    }
    (tmp_path / "grpo.yaml").write_text(yaml.safe_dump(config))
    words = ["passrate", "grpo.yaml", "--from-rollouts", "run"]
    loaded = set(program(f"{LOADED}grpo({words}, standalone_mode=False)", cwd=tmp_path).split())
    assert not {"torch", "transformers", "datasets", "trl"} & loaded
    (row,) = pq.read_table(tmp_path / "out/passrate/passrate.parquet").to_pylist()
    assert (row["question"], row["pass_rate"], row["n"], row["mean_tokens"]) == ("0 + 1?", 0.5, 2, 7)
