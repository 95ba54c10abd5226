"""How rewards run in a training: each behind a guard, the slow ones in processes that can be killed."""
