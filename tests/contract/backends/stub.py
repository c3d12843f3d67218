"""What the conformance suite runs: as a server, as a model server, or as one rank of a job.

STUB says how it behaves: `serve` (answers /ready until it is ended), `exit N`, `kill N` (a signal to itself),
`stubborn` (ignores SIGTERM), `family` (serves beside a grandchild in a session of its own without environment),
`parent` (leaves such a grandchild and waits for SIGUSR1 to exit with 0). It prints what it is before it begins.
"""

import http.server
import json
import os
import signal
import subprocess
import sys
from pathlib import Path


class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ready")

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
        "cwd": str(Path.cwd()),
        "argv": sys.argv[1:],
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
