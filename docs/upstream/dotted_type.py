import logging
import sys
import types

from axolotl.prompt_strategies.base import load

logging.disable(logging.CRITICAL)
package = types.ModuleType("mine")
package.rows = sys.modules["mine.rows"] = types.ModuleType("mine.rows")
package.rows.gsm8k = lambda cfg, **options: lambda row: {"prompt": row["question"]}
sys.modules["mine"] = package
print(load("mine.rows.gsm8k", {}, module_base="axolotl.prompt_strategies.dpo"))
