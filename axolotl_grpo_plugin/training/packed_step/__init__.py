"""Compute TRL's gradient from real tokens only.

TRL pads all completions of a generation batch to the longest one, and repeats the prompt for each completion. Its
passes compute that padding, those prompts, and completions without gradient. The packed step leaves them out.

A batch goes through these modules in this order:

1. `step.py`: `PackedStep`, the methods that it overrides in TRL's trainer. Read it first.
2. `support.py`: decides which parts are on for a trainer, and says why another one is off.
3. `rows.py`: join the micro-batches of an optimizer step, leave out rows, and gather the rows of all ranks.
4. `dealing.py`: deal the rows to passes, so that each pass has about as many real tokens.
5. `layout.py`: the index of each token in a packed row: each distinct prompt once, then the completions.
6. `model.py`: the forward pass of a model on a packed row, its attention, and its log-probabilities.
7. `vllm_ratios.py`: vLLM's importance ratios from the log-probabilities of the training pass.

`settings.py` has the part that a config alone decides. docs/speed.md has the measured gain.
tests/e2e/test_packed_step.py compares the gradients with TRL's.
"""
