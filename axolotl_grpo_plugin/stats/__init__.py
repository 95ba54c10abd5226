"""Sequence-length budgets: which lengths to set for the counted prompts and completions.

budget.py  the settings to propose     rollouts.py  the lengths of a run's completions
show.py    tables                      plot.py      the PNG
"""
