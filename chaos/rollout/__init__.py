"""A rollout left to its controller, with models of which it is known what they are worth."""
