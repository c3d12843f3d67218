"""People, teams and homes of an old JupyterHub brought over. The old hub is only ever read."""
