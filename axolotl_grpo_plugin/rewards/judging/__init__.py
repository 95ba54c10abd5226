"""The endpoint of a judge model, for `rewards/judge.py`."""
