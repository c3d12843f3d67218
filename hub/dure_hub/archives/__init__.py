"""Backup and restore: everything a portal keeps, in one file.

An archive is a tar, compressed with gzip. `manifest.json` comes first: what it is and what it was made with.
Then `postgresql.dump` where our database is there, `settings.json`, the data folder under `data/`, and
`artifacts/` where they lie outside of it. `contents.json` comes last: size and SHA-256 of every file, and all
links. So a cut archive is known as such, and nothing but files and folders is ever unpacked from it.

**The order.** All SQLite databases are held for an instant, a read snapshot of each is opened, and they go on:
what is copied is one moment of the whole portal, as after a power cut. Files are read after that moment. A row
that names a file is written after the file, or says that it is still to come, so what the rows of that moment
name is found; what came later is a file that no row names. The other way round, rows would name files that the
backup has missed. What was deleted between the two is missing as if it had been deleted before.
"""

MANIFEST, CONTENTS = "manifest.json", "contents.json"
SETTINGS, DUMP = "settings.json", "postgresql.dump"
DATA, ARTIFACTS = "data/", "artifacts/"
FORMAT = 1
"""What this program writes, and the newest that it reads."""
