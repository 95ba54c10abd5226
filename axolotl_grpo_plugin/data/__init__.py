"""From a dataset's row to token ids.

rows.py      read datasets, apply transforms     tokenizer.py  count a prompt's tokens as the trainer does
measure.py   count the prompts of a dataset      counts.py     exact distributions of lengths
datasets.py  load datasets as Axolotl does       end_tokens.py the tokens that end an answer
hub.py       names on the hub, offline mode      inputs.py     check models, files and transforms
"""
