"""The routing worker: one process, one consumer."""
