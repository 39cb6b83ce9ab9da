"""Pure deciding: assignment, rules, models, policy. Knows nothing of Redis or the disk."""
