"""What Dure adds to a person's JupyterLab server."""
