"""A model server without a model: answers with its version. What is in the model's folder tells it to misbehave.

`crash` in the folder: it ends at once, with a sentence. `slow`: it is ready only once that file is gone.
`POST /die` ends it without an answer; every other POST says which version this is.
"""

import argparse
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

words = argparse.ArgumentParser()
for word in ("--model", "--name", "--version", "--port"):
    words.add_argument(word)
given = words.parse_args()


class Answer(BaseHTTPRequestHandler):
    """Which version answered."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Ready, unless told to wait."""
        self.reply(503 if (Path(given.model) / "slow").exists() else 200)

    def do_POST(self) -> None:
        """The version, or the end."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/die":
            os._exit(3)
        self.reply(200)

    def reply(self, status: int) -> None:
        """Always the same."""
        body = json.dumps({"version": given.version}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if (Path(given.model) / "crash").exists():
    sys.exit("this model cannot be loaded")
ThreadingHTTPServer(("127.0.0.1", int(given.port)), Answer).serve_forever()
