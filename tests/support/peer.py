#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Both ends of the connections the system tests make.

The same file is the server and the client, on the host (imported by the harness) and in a guest
(run as a program), so every check can run in either direction.

    peer serve PORT                 TCP and UDP, IPv4 and IPv6; goes on in the background
    peer serve-vsock PORT           the same on the guest's vsock
    peer announce NAME FILE         says NAME to the groups of mDNS, in the background; Announcer
    peer CHECK HOST PORT [NUMBER..] one of CHECKS below; prints its result as JSON

A TCP client's first line tells the server what to do:
    echo          send everything back until end of file
    digest        read to end of file, then answer "BYTES SHA256"
    source N      send N bytes, then close
    stall KEY     read nothing until some client says "release KEY", then as digest
    reset         close with a reset
    ending KEY    wait for the end of the connection and remember it: EOF or an error's name
    recall KEY    answer what "ending KEY" saw
    GET           a small web page
A UDP datagram is sent back as it came.
"""
import collections
import errno
import hashlib
import json
import os
import resource
import select
import socket
import struct
import sys
import threading
import time
import traceback  # noqa: F401  (threading loads it lazily; the guest must have it)

TIMEOUT = 60  # seconds any one socket call may take
PAGE = b"<p>page from the host</p>\n"
PIECE = 65536
UDP_MAX = 65507


def pattern(size):
    """Yields `size` bytes; every piece differs, so loss, doubling and reordering all show."""
    base = hashlib.shake_256(b"netfwd").digest(PIECE)
    for start in range(0, size, PIECE):
        piece = struct.pack(">Q", start) + base[8:]
        yield piece[:min(PIECE, size - start)]


def pattern_sum(size):
    total = hashlib.sha256()
    for piece in pattern(size):
        total.update(piece)
    return total.hexdigest()


def error_name(error):
    if isinstance(error, TimeoutError) and error.errno is None:
        return "timeout"
    return errno.errorcode.get(error.errno, str(error))


def connect_hybrid(path, port):
    """A port of the guest at the other end of netfwd's --vsock-uds."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(TIMEOUT)
    try:
        sock.connect(path)
        sock.sendall(b"CONNECT %d\n" % port)
        if not receive_line(sock).startswith("OK "):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "no OK")
    except OSError:
        sock.close()
        raise
    return sock


def connect_vsock(cid, port):
    sock = socket.socket(socket.AF_VSOCK)
    sock.settimeout(TIMEOUT)
    try:
        sock.connect((cid, port))
    except OSError:
        sock.close()
        raise
    return sock


def connect(host, port):
    """To an address or name, to "vsock:CID", or to the path of a hybrid vsock."""
    if host.startswith("/"):
        return connect_hybrid(host, port)
    if host.startswith("vsock:"):
        return connect_vsock(int(host[6:]), port)
    # As bytes: from text, Python would first load its tables of international names.
    return socket.create_connection((host.encode(), port), TIMEOUT)


def receive(sock, size):
    """Exactly `size` bytes, or fewer at end of file."""
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            break
        data += piece
    return data


def receive_all(sock):
    """(bytes, sha256) of all there is until end of file."""
    size = 0
    total = hashlib.sha256()
    while True:
        piece = sock.recv(PIECE)
        if not piece:
            return size, total.hexdigest()
        size += len(piece)
        total.update(piece)


def receive_line(sock):
    line = b""
    while not line.endswith(b"\n"):
        piece = sock.recv(1)
        if not piece:
            break
        line += piece
    return line.decode().strip()


def close_with_reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class StreamServer:
    """Serves a listening socket, each connection in a thread of its own."""

    def __init__(self, sock):
        self.released = collections.defaultdict(threading.Event)
        self.ended = collections.defaultdict(threading.Event)
        self.endings = {}
        self.listener = sock
        threading.stack_size(256 * 1024)
        threading.Thread(target=self.serve_streams, daemon=True).start()

    def serve_streams(self):
        while True:
            sock, _ = self.listener.accept()
            threading.Thread(target=self.serve_connection, args=(sock,), daemon=True).start()

    def serve_connection(self, sock):
        with sock:
            try:
                sock.settimeout(TIMEOUT)
                words = receive_line(sock).split()
                if words:
                    getattr(self, "do_" + words[0].lower())(sock, *words[1:])
            except OSError:
                pass  # the client is gone; what it saw is what the test checks

    def do_echo(self, sock):
        while True:
            data = sock.recv(PIECE)
            if not data:
                return
            sock.sendall(data)

    def do_digest(self, sock):
        sock.sendall("{} {}\n".format(*receive_all(sock)).encode())

    def do_source(self, sock, size):
        for piece in pattern(int(size)):
            sock.sendall(piece)

    def do_stall(self, sock, key):
        self.released[key].wait(TIMEOUT)
        self.do_digest(sock)

    def do_release(self, sock, key):
        self.released[key].set()

    def do_reset(self, sock):
        close_with_reset(sock)

    def do_ending(self, sock, key):
        sock.sendall(b"ready\n")
        try:
            self.endings[key] = "data" if sock.recv(1) else "EOF"
        except OSError as error:
            self.endings[key] = error_name(error)
        self.ended[key].set()

    def do_recall(self, sock, key):
        self.ended[key].wait(TIMEOUT)
        sock.sendall((self.endings.get(key, "nothing") + "\n").encode())

    def do_get(self, sock, *_):
        while receive_line(sock):
            pass  # the rest of the request's head
        sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(PAGE), PAGE))

class Server(StreamServer):
    """Serves TCP and UDP on one port."""

    def __init__(self, port=0):
        self.tcp = socket.create_server(("::", port), family=socket.AF_INET6, backlog=4096,
                                        dualstack_ipv6=True)
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.udp.bind(("::", self.port))
        super().__init__(self.tcp)
        threading.Thread(target=self.serve_udp, daemon=True).start()

    def serve_udp(self):
        while True:
            try:
                data, sender = self.udp.recvfrom(65536)
                self.udp.sendto(data, sender)
            except OSError:
                pass  # the refusal of an earlier answer; its sender is gone

    def close(self):
        self.tcp.close()
        self.udp.close()


def upload(host, port, size):
    """Sends, ends its own half, and still wants the answer."""
    with connect(host, port) as sock:
        sock.sendall(b"digest\n")
        for piece in pattern(size):
            sock.sendall(piece)
        sock.shutdown(socket.SHUT_WR)
        return {"answer": receive_line(sock), "expected": f"{size} {pattern_sum(size)}"}


def download(host, port, size):
    with connect(host, port) as sock:
        sock.sendall(b"source %d\n" % size)
        return {"answer": "{} {}".format(*receive_all(sock)),
                "expected": f"{size} {pattern_sum(size)}"}


def both_ways(host, port, size):
    """Writes and reads back at the same time."""
    def write():
        for piece in pattern(size):
            sock.sendall(piece)
        sock.shutdown(socket.SHUT_WR)

    with connect(host, port) as sock:
        sock.sendall(b"echo\n")
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        answer = "{} {}".format(*receive_all(sock))
        writer.join(TIMEOUT)
        return {"answer": answer, "expected": f"{size} {pattern_sum(size)}"}


def concurrent(host, port, count):
    """Holds `count` connections open at once, each carrying its own text."""
    socks = []
    try:
        for _ in range(count):
            socks.append(connect(host, port))
        for number, sock in enumerate(socks):
            sock.sendall(b"echo\nconnection %06d" % number)
        right = sum(receive(sock, 17) == b"connection %06d" % number
                    for number, sock in enumerate(socks))
        return {"answer": right, "expected": count}
    finally:
        for sock in socks:
            sock.close()


def sequential(host, port, count):
    right = 0
    for number in range(count):
        with connect(host, port) as sock:
            sock.sendall(b"echo\n%06d" % number)
            sock.shutdown(socket.SHUT_WR)
            right += receive(sock, 7) == b"%06d" % number
    return {"answer": right, "expected": count}


def fate(host, port):
    """What becomes of a connection on which the client waits without a word."""
    with connect(host, port) as sock:
        return {"answer": "data" if sock.recv(1) else "EOF"}


def reset_by_server(host, port):
    with connect(host, port) as sock:
        sock.sendall(b"reset\n")
        return {"answer": "data" if sock.recv(1) else "EOF"}


def ending_seen(host, port, reset):
    """How the server sees the client leave: by a reset, or by an ordinary close."""
    key = f"{os.getpid()}.{time.monotonic_ns()}"
    sock = connect(host, port)
    sock.sendall(f"ending {key}\n".encode())
    if receive_line(sock) != "ready":
        return {"answer": "no connection"}
    if reset:
        close_with_reset(sock)
    else:
        sock.close()
    with connect(host, port) as again:
        again.sendall(f"recall {key}\n".encode())
        return {"answer": receive_line(again)}


def stalled(host, port, limit, quiet=2):
    """Sends to a server that does not read until nothing moves for `quiet` seconds (or `limit`
    bytes are gone), then lets the server read and checks that all arrived."""
    key = f"{os.getpid()}.{time.monotonic_ns()}"
    sent = 0
    with connect(host, port) as sock:
        sock.sendall(f"stall {key}\n".encode())
        sock.setblocking(False)
        piece, pieces = b"", pattern(limit)
        total = hashlib.sha256()
        while select.select([], [sock], [], quiet)[1]:
            piece = piece or next(pieces, b"")
            if not piece:
                break
            done = sock.send(piece)
            total.update(piece[:done])
            piece = piece[done:]
            sent += done
        sock.settimeout(TIMEOUT)
        with connect(host, port) as again:
            again.sendall(f"release {key}\n".encode())
        sock.shutdown(socket.SHUT_WR)
        return {"sent": sent, "answer": receive_line(sock),
                "expected": f"{sent} {total.hexdigest()}"}


def datagrams(host, port, *sizes):
    """Sizes of the datagrams that came back as they went; one at a time, in order."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    right = []
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT)
        sock.connect((host, port))
        for size in sizes:
            data = b"".join(pattern(size))
            sock.send(data)
            try:
                if sock.recv(65536) == data:
                    right.append(size)
            except TimeoutError:
                pass  # shows as a size missing from the answer
    return {"answer": right, "expected": list(sizes)}


def resolve(name, _port):
    """The addresses a name has, by the system's own resolver."""
    found = socket.getaddrinfo(name.encode(), None, type=socket.SOCK_STREAM)
    return {"answer": sorted(item[4][0] for item in found)}


def datagram_fate(host, port):
    """What a client hears after a datagram to a port where nobody listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect((host, port))
        sock.send(b"anyone?")
        return {"answer": "data" if sock.recv(16) else "empty"}


CHECKS = {check.__name__: check for check in (
    upload, download, both_ways, concurrent, sequential, fate, reset_by_server, ending_seen,
    stalled, resolve, datagrams, datagram_fate)}


def run_check(name, host, port, *numbers):
    """A check's result; an error of the socket calls is a result too."""
    try:
        return CHECKS[name](host, port, *numbers)
    except OSError as error:  # a name that does not resolve is one, too
        return {"answer": error_name(error)}


def serve_vsock(port):
    sock = socket.socket(socket.AF_VSOCK)
    sock.bind((socket.VMADDR_CID_ANY, port))
    sock.listen(4096)
    return StreamServer(sock)


def serve_unix(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen(4096)
    return StreamServer(sock)


class Announcer:
    """Says its name to the groups of mDNS on eth0, or on the interface given, again and again, and
    keeps a file of the names that it has heard by each family."""
    GROUPS = {4: "224.0.0.251", 6: "ff02::fb"}
    PORT = 5353

    def __init__(self, name, path, interface="eth0"):
        self.name, self.path, self.heard = name, path, set()
        self.index = socket.if_nametoindex(interface)
        self.sockets = {4: self.join4(), 6: self.join6()}
        threading.Thread(target=self.run, daemon=True).start()

    def open(self, family):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(("", self.PORT))
        return sock

    def join4(self):
        sock = self.open(socket.AF_INET)
        any_address, index = socket.inet_aton("0.0.0.0"), struct.pack("@i", self.index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                        socket.inet_aton(self.GROUPS[4]) + any_address + index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF,
                        any_address + any_address + index)
        return sock

    def join6(self):
        sock = self.open(socket.AF_INET6)
        index = struct.pack("@i", self.index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                        socket.inet_pton(socket.AF_INET6, self.GROUPS[6]) + index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        return sock

    def hear(self, timeout):
        families = {sock: family for family, sock in self.sockets.items()}
        ready = select.select(list(families), [], [], timeout)[0]
        for sock in ready:
            self.heard.add(f"{sock.recv(512).decode(errors='replace')}/{families[sock]}")
        return ready

    def run(self):
        while True:
            for family, sock in self.sockets.items():
                try:
                    sock.sendto(self.name.encode(), (self.GROUPS[family], self.PORT))
                except OSError:
                    pass  # no address yet
            end = time.monotonic() + 0.3
            while (left := end - time.monotonic()) > 0:
                self.hear(left)
            with open(self.path + ".new", "w", encoding="utf-8") as f:
                f.write(" ".join(sorted(self.heard)))
            os.rename(self.path + ".new", self.path)


def serve_in_background(start, port):
    """Returns when the server, a process of its own, accepts connections."""
    listening, tell = os.pipe()
    if os.fork() == 0:
        os.setsid()
        server = start(port)  # noqa: F841  (it lives as long as its name)
        os.write(tell, b"1")
        threading.Event().wait()
    os.close(tell)
    if not os.read(listening, 1):
        sys.exit("the server did not start")


def main(arguments):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    if arguments[0] == "serve":
        serve_in_background(Server, int(arguments[1]))
        return
    if arguments[0] == "serve-vsock":
        serve_in_background(serve_vsock, int(arguments[1]))
        return
    if arguments[0] == "announce":
        serve_in_background(lambda words: Announcer(*words), arguments[1:])
        return
    name, host, port, *numbers = arguments
    print(json.dumps(run_check(name, host, int(port), *map(int, numbers))))


if __name__ == "__main__":
    main(sys.argv[1:])
