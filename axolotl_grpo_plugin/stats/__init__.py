"""Sequence-length budgets: how long prompts and completions are, and which lengths to set.

counts.py    exact distributions of lengths      tokenizer.py  count a prompt's tokens as the trainer does
rows.py      read datasets, apply transforms     measure.py    count the prompts of a dataset
budget.py    the settings to propose             rollouts.py   the lengths of a run's completions
show.py      tables                              plot.py       the PNG
"""
