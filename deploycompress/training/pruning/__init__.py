"""Pruning while training: masks that grow, whole units that go, weights in two thin factors."""
