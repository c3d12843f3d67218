"""What the conformance suite runs: as a server, as a model server, or as one rank of a job.

STUB says how it behaves: `serve` (answers /ready until it is ended), `exit N`, `kill N` (a signal to itself),
`stubborn` (ignores SIGTERM), `family` (serves beside a grandchild in a session of its own without environment),
`parent` (leaves such a grandchild and waits for SIGUSR1 to exit with 0). It prints what it is before it begins.
ANSWERS says what it answers below `/dure/`, by name: a status and pieces of text, each so many times; null is no
answer at all. What it was asked there it prints. On a cluster `tests/cluster/go/probe` does the same.
"""

import http.server
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from pathlib import Path

ANSWERS = json.loads(os.environ.get("ANSWERS", "{}"))


class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        _, below, name = self.path.rpartition("/dure/")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        status: int = 200
        pieces: list[tuple[str, int]] = [("ready", 1)]
        if below:
            asked = {"asked": f"{self.command} {self.path}", "authorization": self.headers.get("Authorization")}
            print(json.dumps({**asked, "body": body}), flush=True)
            answer = ANSWERS.get(name, [404, []])
            if answer is None:
                threading.Event().wait()
            status, pieces = answer
        said = "".join(text * times for text, times in pieces).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_POST = do_GET  # noqa: N815 - as http.server has it

    def log_message(self, *args: object) -> None:
        print("request", self.path, flush=True)


def main() -> None:
    mode, _, number = os.environ.get("STUB", "serve").partition(" ")
    ignored = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("SigIgn")
    )
    shown = ("CUDA_VISIBLE_DEVICES", "DURE_LEASE", "DURE_KIND", "RANK", "WORLD_SIZE", "OMP_NUM_THREADS")
    facts = {
        "pid": os.getpid(),
        "own": secrets.token_hex(8),
        "ignored": int(ignored.split()[1], 16),
    }
    if mode in ("family", "parent"):
        grandchild = subprocess.Popen(["sleep", "600"], env={}, start_new_session=True)
        facts["grandchild"] = grandchild.pid
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode == "parent":
        signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))
    print(json.dumps({**facts, **{name: os.environ.get(name) for name in shown}}), flush=True)
    if mode == "exit":
        sys.exit(int(number))
    if mode == "kill":
        os.kill(os.getpid(), int(number))
    ports = [part for part in sys.argv if part.isdigit() and int(part) > 1024]
    if ports:
        http.server.ThreadingHTTPServer(("127.0.0.1", int(ports[-1])), Ready).serve_forever()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
