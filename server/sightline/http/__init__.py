"""The way in: the process that listens, the edge, paths and thin handlers, and how answers and errors are rendered."""
