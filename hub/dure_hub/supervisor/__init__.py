"""Starts, adopts, restarts and stops the portal's own services, and nothing else."""
