"""Distillation from a teacher that gives text and nothing else: answers collected, filtered, and learnt by heart.

Source: Kim & Rush 2016, "Sequence-Level Knowledge Distillation", arXiv:1606.07947.
"""
