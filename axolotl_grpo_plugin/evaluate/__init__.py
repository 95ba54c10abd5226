"""Answer rows with a model and score the answers, for `eval` and `passrate`.

After a crash, the next call goes on with the stored answers.
"""
