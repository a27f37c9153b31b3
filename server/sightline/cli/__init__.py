"""The command line: `sightline up | serve | ask | engine | keys | cache | check-config`."""
