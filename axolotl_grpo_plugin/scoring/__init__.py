"""Run the rewards of a training. Slow rewards run in processes that can be killed."""
