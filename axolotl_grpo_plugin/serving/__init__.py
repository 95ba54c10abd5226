"""Where vLLM runs: which GPUs serve, the server, and the supervisor of server and trainer."""
