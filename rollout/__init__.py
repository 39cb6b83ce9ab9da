"""Staged rollout: what is measured, what it means, and what is done about it."""
