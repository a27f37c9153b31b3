"""The three routes in: paths, thin handlers, and how answers and errors are rendered."""
