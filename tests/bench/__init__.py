"""Figures against a reference, both measured in one run on this machine. See `record` for how."""
