"""What people type: the command line over everything else."""
