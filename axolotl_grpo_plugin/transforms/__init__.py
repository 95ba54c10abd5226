"""Dataset transforms: rows -> a prompt and the columns that the rewards read.

A YAML names one by the package's top level: `type: axolotl_grpo_plugin.gsm8k`. Each reads the keys
`grpo_system_prompt`, `grpo_system_in`, `grpo_prompt_template` and `grpo_max_prompt_length` (args.py), unless
its docstring says otherwise. Rows with too long a prompt are dropped and counted. The other columns stay.
If a row does not fit, DatasetError names dataset, row and column.
"""
