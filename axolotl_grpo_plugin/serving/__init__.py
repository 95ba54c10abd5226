"""vLLM's server: which GPUs serve, how it starts, and the supervisor of server and trainer."""
