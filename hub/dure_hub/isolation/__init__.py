"""What keeps people apart on one machine: accounts of the system, their homes, the ways that lead there."""
