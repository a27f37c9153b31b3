"""Answers once given: their keys, their cache, and the calls that several callers share."""
