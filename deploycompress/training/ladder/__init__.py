"""Ladder Side-Tuning: a small network beside a frozen one, trained without back-propagation through the frozen one."""
