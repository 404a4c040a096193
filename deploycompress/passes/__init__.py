"""Exact graph rewrites: `pass(model) -> PassResult`, one file a pass, listed in the plain tuples of `pipelines`."""
