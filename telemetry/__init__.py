"""How a process tells what it is doing: logs and health."""
