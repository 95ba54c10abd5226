import sys
from pathlib import Path

from axolotl.core.trainers.grpo import GRPOStrategy

Path("mine.py").write_text("import a_package_that_is_missing\n")
sys.path.insert(0, ".")
try:
    GRPOStrategy.get_reward_func("mine.reward")
except Exception as error:
    print(f"{type(error).__name__}: {error}")
