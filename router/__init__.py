"""Pure deciding: which arm a task is in, which master gets it, and how sure we are."""
