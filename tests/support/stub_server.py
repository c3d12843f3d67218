"""The smallest server that JupyterHub takes for one: answers every GET with 200 on the port it is told.

`stub_server.py [GATE]`, with the port in JupyterHub's own variable. It does not listen as long as the file GATE
exists. Standard library only, and little of that, so that `python -I -S` starts it in a moment.
"""

import os
import socket
import sys
import time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: close\r\n\r\nstub\n"


def main(port: int, gate: str) -> None:
    """Serve until ended."""
    while gate and os.path.exists(gate):  # noqa: PTH110 - pathlib is most of the start time
        time.sleep(0.01)
    with socket.create_server(("127.0.0.1", port), backlog=128) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(ANSWER)


if __name__ == "__main__":
    address = os.environ["JUPYTERHUB_SERVICE_URL"].split("/")[2]
    main(int(address.rpartition(":")[2]), sys.argv[1] if len(sys.argv) > 1 else "")
