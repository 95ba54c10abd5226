"""Read tests of programs and compare their results, for `rewards/code.py`."""
