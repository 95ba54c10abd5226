"""Dataset transforms: rows -> a prompt and the columns that the rewards read.

A YAML names one by the package's top level: `type: axolotl_grpo_plugin.gsm8k`.
"""
