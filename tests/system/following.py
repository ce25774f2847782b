# SPDX-License-Identifier: Apache-2.0
"""Sockets in a guest that is a namespace, and clients of the ports that netfwd follows."""
import concurrent.futures
import contextlib
import ctypes
import secrets
import socket
import time

CLONE_NEWNET = 0x40000000
PATIENCE = 20  # seconds, of a busy machine
PORT = 8080  # below those that the kernel gives to clients; this network is the test's own
POLL = 0.002


class Inside:
    """Sockets in a guest's namespace, made by a thread that has entered it."""

    def __init__(self, guest):
        self.thread = concurrent.futures.ThreadPoolExecutor(1, initializer=self.enter,
                                                            initargs=(guest.name,))

    @staticmethod
    def enter(name):
        with open(f"/run/netns/{name}", "rb") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) < 0:
                raise OSError(ctypes.get_errno(), "setns")

    @staticmethod
    def open(address, port, kind):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.settimeout(PATIENCE)
        sock.bind((address, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(16)
        return sock

    def listen(self, address, port, kind=socket.SOCK_STREAM):
        return self.thread.submit(self.open, address, port, kind).result(PATIENCE)

    def close(self):
        self.thread.shutdown()


def connect(port, host="127.0.0.1"):
    return socket.create_connection((host, port), PATIENCE)


def fate(port, host="127.0.0.1"):
    """Of a connection: reset is what netfwd does with one whose listener went unnoticed yet."""
    try:
        connect(port, host).close()
    except ConnectionRefusedError:
        return "refused"
    except ConnectionError:
        return "reset"
    return "served"


def seconds_until(condition, what):
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > PATIENCE:
            raise TimeoutError(f"gave up waiting for {what}")
        time.sleep(POLL)
    return time.monotonic() - start


def wait_reachable(port, host="127.0.0.1"):
    return seconds_until(lambda: fate(port, host) == "served", f"{host}:{port} to be served")


def wait_refused(port, host="127.0.0.1"):
    return seconds_until(lambda: fate(port, host) == "refused",
                         f"{host}:{port} to be refused")


class Pair:
    """A connection through netfwd: the client's end, and the guest's."""

    def __init__(self, listener, port, host="127.0.0.1"):
        self.client = connect(port, host)
        hello = secrets.token_bytes(8)
        self.client.sendall(hello)
        try:
            self.guest = self.accept(listener, hello)
        except OSError:
            self.client.close()
            raise

    @staticmethod
    def accept(listener, hello):
        while True:  # what fate() and clients that gave up left in the backlog comes first
            guest, _ = listener.accept()
            guest.settimeout(PATIENCE)
            with contextlib.suppress(ConnectionError):
                if guest.recv(len(hello), socket.MSG_WAITALL) == hello:
                    return guest
            guest.close()

    def check(self):
        for source, sink in ((self.client, self.guest), (self.guest, self.client)):
            source.sendall(b"ping")
            if sink.recv(4, socket.MSG_WAITALL) != b"ping":
                raise RuntimeError("the connection has ended")

    def close(self):
        self.client.close()
        self.guest.close()


def pair_eventually(listener, port, host="127.0.0.1"):
    """A client that comes before netfwd has seen a change is reset."""
    listener.settimeout(0.5)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(ConnectionError, TimeoutError):
            return Pair(listener, port, host)
        time.sleep(POLL)
    raise TimeoutError("no connection arrived")
