"""What `cortex doctor` looks at, a module for each part of the system."""
