# SPDX-License-Identifier: Apache-2.0
"""Servers of a test's own, on TCP or a UNIX socket, a thread for each connection."""
import contextlib
import hashlib
import socket
import threading

PATIENCE = 60  # seconds, of a busy machine
MIB = 1024 * 1024


class Server:
    """What is reached in the guest: serve(connection) for each, on a thread of its own."""

    def __init__(self, serve, path=None):
        self.serve = serve
        self.path = path
        if path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(path))
        else:
            self.listener = socket.socket()
            self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(1024)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection = self.listener.accept()[0]
                threading.Thread(target=self.run, args=[connection], daemon=True).start()

    def run(self, connection):
        with contextlib.suppress(OSError), connection:
            connection.settimeout(PATIENCE)
            self.serve(connection)

    @property
    def address(self):
        return str(self.path) if self.path else f"127.0.0.1:{self.listener.getsockname()[1]}"

    def close(self):
        self.listener.close()


def receive_all(connection):
    data = bytearray()
    while part := connection.recv(MIB):
        data += part
    return bytes(data)


def receive_digest(connection):
    digest, size = hashlib.sha256(), 0
    while part := connection.recv(MIB):
        digest.update(part)
        size += len(part)
    return b"%d %s" % (size, digest.hexdigest().encode())


def echo(connection):
    while part := connection.recv(MIB):
        connection.sendall(part)


def greet_then_echo(connection):
    connection.sendall(b"hello\n")
    echo(connection)
    connection.sendall(b"bye\n")
