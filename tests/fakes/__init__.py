"""Stand-ins that misbehave to order: an engine and a wire, both on real sockets. For faults that the real ones cannot be made to show."""
