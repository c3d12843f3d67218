"""The smallest server that JupyterHub takes for one: answers every GET with 200 on the port it is told.

Its header `X-Pid` tells which process it was.

`stub_server.py [GATE]`, with the port in JupyterHub's own variable. It does not listen as long as the file GATE
exists; as long as GATE.broken exists it ends with what that says on its standard error. It answers as
GATE.before-stop says when it is asked before its end: a status, a line break and the body, or `silence`, for no
answer at all; and as GATE.guests says when it is asked about its guests. What it was asked it appends to
GATE.asked, one line each. Standard library only, and little of that, so that `python -I -S` starts it in a moment.
"""

import os
import socket
import sys
import time

ASKED = ("before-stop", "guests")
ANSWER = (
    f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Pid: {os.getpid()}\r\n"
    "Content-Length: 5\r\nConnection: close\r\n\r\nstub\n"
).encode()


def main(port: int, gate: str) -> None:
    """Serve until ended."""
    if gate and os.path.exists(gate + ".broken"):  # noqa: PTH110
        with open(gate + ".broken") as why:  # noqa: PTH123
            sys.exit(why.read())
    while gate and os.path.exists(gate):  # noqa: PTH110 - pathlib is most of the start time
        time.sleep(0.01)
    with socket.create_server(("127.0.0.1", port), backlog=128) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                asked = read(connection)
                about = next((name for name in ASKED if f"/dure/{name} ".encode() in asked), None)
                connection.sendall(said(asked, gate, about) if about else ANSWER)


def read(connection: socket.socket) -> bytes:
    """One whole request."""
    found = connection.recv(65536)
    while found and b"\r\n\r\n" not in found:
        found += connection.recv(65536)
    head, _, body = found.partition(b"\r\n\r\n")
    lines = [line.lower().partition(b":") for line in head.split(b"\r\n")]
    size = sum(int(value) for name, _, value in lines if name == b"content-length")
    while len(body) < size:
        piece = connection.recv(65536)
        body += piece
        found += piece
        if not piece:
            break
    return found


def said(asked: bytes, gate: str, about: str) -> bytes:
    """What it says of one of the things that the portal asks."""
    if not gate or not os.path.exists(f"{gate}.{about}"):  # noqa: PTH110
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with open(gate + ".asked", "ab") as asks:  # noqa: PTH123
        asks.write(asked.replace(b"\r\n", b" ") + b"\n")
    with open(f"{gate}.{about}", "rb") as file:  # noqa: PTH123
        status, _, body = file.read().partition(b"\n")
    while status == b"silence":
        time.sleep(60)
    head = b"HTTP/1.1 %s X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body))
    return head + body


if __name__ == "__main__":
    address = os.environ["JUPYTERHUB_SERVICE_URL"].split("/")[2]
    main(int(address.rpartition(":")[2]), sys.argv[1] if len(sys.argv) > 1 else "")
