"""The rollout log of a run: its schema, its reward functions, the attempts of a run, and the reader.

schema.py      the columns, and how a file is written     attempts.py   which files of a run count
rewards.py     which scores are right                     reader.py     rows, chats and prompt groups
merging.py     fewer and larger files
"""
