"""Sequence-length budgets: which lengths to set for the counted prompts and completions.

budget.py proposes the settings, rollouts.py reads the lengths of a run's completions, and show.py prints tables.
"""
