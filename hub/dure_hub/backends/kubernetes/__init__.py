"""A cluster as the place where things run: pods in place of processes, node labels in place of a driver."""
