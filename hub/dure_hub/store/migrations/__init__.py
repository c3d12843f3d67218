"""Alembic's revisions of our database."""

HEAD = "0013"
"""The newest revision, known without importing Alembic; a test holds it to the files."""
