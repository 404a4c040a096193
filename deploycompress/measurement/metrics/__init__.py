"""Metrics of labelled samples, one family a file; `choice.METRICS` lists them."""
