"""A simulated company to try the learning loop in: masters of hidden skill, tasks that drift."""
