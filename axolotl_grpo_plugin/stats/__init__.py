"""Sequence-length budgets: how long prompts and completions are, and what to set for them.

counts.py    exact distributions of lengths      tokenizer.py  a prompt's tokens, as the trainer makes them
rows.py      a dataset's rows and their prompts  measure.py    both together, and what they came from
budget.py    what to set, and what a YAML sets   edit.py       numbers in a YAML, comments kept
rollouts.py  the lengths of a run's completions  command.py    `axolotl grpo stats`
show.py      tables                              plot.py       the PNG
"""
