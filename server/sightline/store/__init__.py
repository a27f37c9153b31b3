"""What replicas share, in this process or in Redis, chosen by URL."""
