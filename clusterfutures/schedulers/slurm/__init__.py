"""Slurm: the adapter, and the readers of what its commands print."""
