"""Compute TRL's gradient from real tokens only.

TRL pads all completions of a generation batch to the longest one, and repeats the prompt for each completion. Its
passes compute that padding, those prompts, and completions without gradient. The packed step leaves them out.

The life of a batch:

1. TRL generates completions, scores them, and cuts the batch into micro-batches.
2. The rows of an optimizer step are gathered from all ranks. Rows without gradient are left out. The others are dealt
   to as few passes as have room, so that rows with the same prompt stay together.
3. TRL computes the loss of each pass. The loss is scaled to its part of TRL's, and so are the metrics.
4. The loss needs log-probabilities. TRL asks for old and reference ones before that, without gradient.
5. For its log-probabilities, a pass is packed into one row of real tokens. The model computes it, and the result gets
   TRL's shape again.

Before the first pass of any kind, a packed pass is compared with TRL's. If they differ, packing is off.

Read the modules in this order:

1. `step.py`: `PackedStep`, the methods that it overrides in TRL's trainer, in the order of these steps. The comparison
   is its last section. `../rows.py` has the operations on rows of a batch.
2. `losses.py`: the rows that have a gradient, and what TRL divides a loss by.
3. `dealing.py`: deal the rows to passes, so that each pass has about as many real tokens.
4. `layout.py`: the index of each token in a packed row.
5. `model.py` and `attention.py`: the forward pass of a model on a packed row, and its log-probabilities.
6. `metrics.py`: the weights of the metrics.
7. `vllm_ratios.py`: vLLM's importance ratios from the log-probabilities of the training pass.
8. `check.py` and `support.py`: the comparison with TRL's pass, and the reasons why a part is off.

`settings.py` has the part that a config alone decides. `../trainer.py` sets the attributes of Axolotl's trainers, and
`repairs/upstream.toml` lists the names of TRL. docs/speed.md has the measured gain.
tests/e2e/test_packed_step.py compares the gradients with TRL's.
"""
