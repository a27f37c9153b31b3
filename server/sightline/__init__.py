"""Sightline: the serving layer that understands pictures."""

__version__ = "0.1.0"
