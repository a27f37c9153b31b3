"""What stands on the wire, as pure functions and values: no I/O below this folder."""
