"""Statistics that stay valid however often they are looked at; pure functions and small states."""
