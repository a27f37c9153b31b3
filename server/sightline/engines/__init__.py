"""The vLLM servers behind the gateway: asking one, knowing its health, installing and running it."""
