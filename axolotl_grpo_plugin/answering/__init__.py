"""Answer a config's rows with its models, for `eval` and `passrate`.

options.py  the options that both commands share   session.py  what to answer, and the answers with scores
"""
