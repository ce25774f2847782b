#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""netfwd and agents that lie, are of another version, or are asked for much; and clocks that
jump. Debian's python3-grpcio is the agent that lies."""
import contextlib
import mmap
import os
import pathlib
import selectors
import signal
import socket
import struct
import threading
import time
import unittest

import grpc

import paths  # noqa: F401
import harness
import peer
from following import PATIENCE, PORT, Inside, Pair, pair_eventually, wait_reachable
from test_agent import AgentCase
from test_grpc_interop import Lima, Server, greet, protocols

CONNECTIONS, UDP_CLIENTS = 3000, 5000
LISTENERS = 100_000
MEMORY = 256 << 10  # KiB; with a sanitizer's share
DAY, HOUR = 86400, 3600  # seconds
CLOCK = os.environ.get("JUMPING_CLOCK_LIBRARY", "")

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, WINDOW_UPDATE = 0, 1, 4, 8


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """Of HTTP/2 (RFC 9113 section 4.1); a `length` that is not the payload's is a lie."""
    length = len(payload) if length is None else length
    return struct.pack(">I", length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) \
        + payload


def message(data):
    return b"\0" + struct.pack(">I", len(data)) + data


# An answer to hello: ":status 200" of HPACK's table, then a message of gRPC.
ANSWER = frame(SETTINGS) + frame(HEADERS, 4, 1, b"\x88")
LIES = {
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a frame of 16 MiB": frame(SETTINGS) + frame(DATA, 0, 1, b"", length=(1 << 24) - 1),
    "a call that nobody made": frame(SETTINGS) + frame(HEADERS, 4, 98, b"\x88"),
    "data of such a call": frame(SETTINGS) + frame(DATA, 0, 99, b"x"),
    "a window that overflows": frame(SETTINGS) + 3 * frame(WINDOW_UPDATE, 0, 0,
                                                           b"\x7f\xff\xff\xff"),
    "headers that are none": frame(SETTINGS) + frame(HEADERS, 4, 1, b"\xff" * 50),
    "a hello that is none": ANSWER + frame(DATA, 0, 1, message(b"\xff\xff")),
    "a message of 4 GiB": ANSWER + frame(DATA, 0, 1, b"\0\xff\xff\xff\xff"),
}


class Liar:
    """A server that says one thing to each who connects, until that one has gone."""

    def __init__(self, path, lies):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.listener.settimeout(PATIENCE)
        self.left = []
        self.thread = threading.Thread(target=self.run, args=(lies,), daemon=True)
        self.thread.start()

    def run(self, lies):
        for name, lie in lies.items():
            host, _ = self.listener.accept()
            host.settimeout(PATIENCE)
            with host, contextlib.suppress(ConnectionError):
                host.sendall(lie)
                while host.recv(65536):
                    pass
            self.left.append(name)
        self.listener.close()


class HostOfLiars(unittest.TestCase):
    """The guest's network is ours here."""

    def setUp(self):
        self.own, lima = protocols()
        self.path = harness.new_path("sock")
        self.lima = Lima(lima)
        self.server = Server(greet)
        self.addCleanup(self.server.stop)

    def serve(self):
        self.lima.serve(self.path)
        self.addCleanup(self.lima.stop)

    def start_netfwd(self, rules):
        config = pathlib.Path(harness.new_path("yaml"))
        config.write_text(f"portForwardTypes: {{any: grpc}}\n"
                          f"agent: {{transport: unix, path: {self.path}}}\n"
                          f"portForwards:\n{rules}")
        self.netfwd = harness.Netfwd.start(f"--config={config}",
                                           f"--stream={harness.new_path('sock')}", "-v",
                                           measured=True)
        self.addCleanup(lambda: self.netfwd.stop())

    def forward_server(self):
        """The port of the host that leads to an honest server."""
        port = harness.free_port()
        self.start_netfwd(f"- {{guestPort: {self.server.port}, hostPort: {port}}}\n"
                          f"- {{guestPort: {PORT}}}\n"
                          "- {guestIP: 0.0.0.0, proto: any, ignore: true}\n")
        return port

    def check_served(self, port):
        wait_reachable(port)
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            self.assertEqual(client.recv(100), b"220 hello\r\n")

    def test_lies_end_the_connection_and_nothing_else(self):
        liar = Liar(self.path, LIES)
        port = self.forward_server()
        liar.thread.join(PATIENCE)
        self.assertEqual(liar.left, list(LIES))
        self.assertTrue(self.netfwd.alive())
        self.path.unlink()
        self.lima.ports = [("tcp", "127.0.0.1", self.server.port)]
        self.serve()
        self.check_served(port)

    def test_listeners_that_cannot_be_and_too_many_are_left_out(self):
        self.lima.ports = [
            ("tcp", "not-an-ip", 80), ("TCP", "127.0.0.1", PORT), ("icmp", "127.0.0.1", PORT),
            ("tcp", "127.0.0.1", 0), ("tcp", "127.0.0.1", 70000), ("tcp", "127.0.0.1", -1),
            ("tcp", "127.0.0.1\nforged: line", PORT), ("tcp", "\x1b[2J", PORT),
            ("tcp", "127.0.0.1", self.server.port)]
        self.serve()
        port = self.forward_server()
        self.check_served(port)
        before = self.netfwd.memory()
        self.lima.events.put(([("udp", f"127.{i >> 16}.{i >> 8 & 255}.{i & 255}", 1 + i % 60000)
                               for i in range(LISTENERS)], []))
        self.netfwd.wait_log("more than 16384 listeners", PATIENCE)
        self.check_served(port)
        self.assertLess(self.netfwd.memory() - before, MEMORY)
        log = self.netfwd.log()
        self.assertNotIn("forged: line", [line.strip() for line in log.splitlines()])
        self.assertNotIn("\x1b", log)
        self.assertEqual(log.count(" forwarding protocol=tcp"), 1)

    def test_agent_of_a_version_to_come_is_used_as_limas(self):
        def hello(_request, _context):
            return self.own.HelloMessage(protocol=99, version="9.9\n\x1b[2J", features=1 << 40)

        handler = grpc.unary_unary_rpc_method_handler(
            hello, self.own.HelloMessage.FromString, self.own.HelloMessage.SerializeToString)
        self.lima.more = [grpc.method_handlers_generic_handler("netfwd.v1.Agent",
                                                               {"Hello": handler})]
        self.lima.ports = [("tcp", "127.0.0.1", self.server.port)]
        self.serve()
        self.check_served(self.forward_server())
        self.assertIn("protocol 99", self.netfwd.log())
        self.assertNotIn("\x1b", self.netfwd.log())


class Crowd(AgentCase):
    """Many at a time."""
    name = "agent-crowd"

    def test_connections(self):
        listener = self.listen()
        listener.listen(4096)
        wait_reachable(PORT)
        served, clients = [], {}

        def serve():
            """Says to each what it has said."""
            ready = selectors.DefaultSelector()
            ready.register(listener, selectors.EVENT_READ)
            while len(served) < CONNECTIONS:
                for key, _ in ready.select(PATIENCE):
                    if key.fileobj is listener:
                        guest, _ = listener.accept()
                        ready.register(guest, selectors.EVENT_READ)
                        continue
                    data = key.fileobj.recv(8)
                    ready.unregister(key.fileobj)
                    if data:
                        key.fileobj.sendall(data)
                        served.append(key.fileobj)
                    else:  # it only knocked
                        key.fileobj.close()

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        for number in range(CONNECTIONS):
            client = socket.create_connection(("127.0.0.1", PORT), PATIENCE)
            client.sendall(struct.pack(">Q", number))
            clients[number] = client
        for number, client in clients.items():
            self.assertEqual(client.recv(8, socket.MSG_WAITALL), struct.pack(">Q", number))
        server.join(PATIENCE)
        for end in [*clients.values(), *served]:
            end.close()
        self.check_works(listener)

    def test_udp_clients(self):
        server = self.listen(kind=socket.SOCK_DGRAM)
        self.netfwd.wait_log("forwarding protocol=udp", PATIENCE)
        clients = []
        for number in range(UDP_CLIENTS):
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.settimeout(PATIENCE)
            client.connect(("127.0.0.1", PORT))
            client.send(struct.pack(">Q", number))
            clients.append(client)
            data, sender = server.recvfrom(8)
            self.assertEqual(data, struct.pack(">Q", number))
            server.sendto(data, sender)
        for number, client in enumerate(clients):
            self.assertEqual(client.recv(8), struct.pack(">Q", number))
            client.close()


class Clocks(AgentCase):
    """Both ends are stopped, or the host's clocks jump, while connections are in use."""
    name = "agent-clocks"
    static, back, paths = 7001, 7002, ("guest.sock", "host.sock")

    def prepare(self):
        self.socket = {name: str(harness.new_path(name)) for name in self.paths}
        self.server = peer.Server()
        self.addCleanup(self.server.close)
        self.rules = f"""portForwards:
- {{guestPort: {self.static}, proto: tcp, static: true}}
- {{guestSocket: {self.socket["guest.sock"]}, hostSocket: {self.socket["host.sock"]}}}
- {{guestPort: {self.back}, hostPort: {self.server.port}, proto: udp, reverse: true}}
"""
        self.file = open(harness.new_path("clock"), "w+b")
        self.addCleanup(self.file.close)
        self.file.truncate(16)
        self.ahead = mmap.mmap(self.file.fileno(), 16)

    def start_netfwd(self):
        # a sanitizer wants to be first; the order is right without its check
        os.environ.update(LD_PRELOAD=CLOCK, JUMPING_CLOCK=self.file.name)
        asan = os.environ.get("ASAN_OPTIONS", "")
        os.environ["ASAN_OPTIONS"] = asan + ":verify_asan_link_order=0"
        try:
            super().start_netfwd()
        finally:
            del os.environ["LD_PRELOAD"]
            os.environ["ASAN_OPTIONS"] = asan

    def jump(self, realtime=0, boottime=0):
        self.ahead[:] = struct.pack("=qq", realtime * 10**9, boottime * 10**9)

    def serve_unix(self):
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.settimeout(PATIENCE)
        listener.bind(self.socket["guest.sock"])
        listener.listen()
        return listener

    def check_all_kinds(self, listeners):
        """A static port, a UNIX socket, and a reverse forward."""
        self.check_works(listeners[0], self.static)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(self.socket["host.sock"])
            with listeners[1].accept()[0] as guest:
                guest.sendall(b"hello")
                self.assertEqual(client.recv(16), b"hello")
        self.assertEqual(self.guest.check("datagrams", "127.0.0.1", self.back, 0, 1400)["answer"],
                         [0, 1400])

    def test_transfers_live_on(self):
        listener = self.listen()
        others = self.listen(port=self.static), self.serve_unix()
        self.netfwd.wait_log("forwarding protocol=udp", PATIENCE)
        self.check_all_kinds(others)
        wait_reachable(PORT)
        pair = Pair(listener, PORT)
        self.addCleanup(pair.close)
        for seconds in (DAY, -DAY, 0):
            self.jump(realtime=seconds)
            pair.check()
            pair_eventually(listener, PORT).close()
        self.jump(boottime=HOUR)
        self.netfwd.wait_log("this machine was suspended", PATIENCE)
        for process in (self.agent, self.netfwd):
            process.process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        for process in (self.netfwd, self.agent):
            process.process.send_signal(signal.SIGCONT)
        pair.check()
        self.check_works(listener)
        self.check_all_kinds(others)
        self.assertNotIn("lost", self.netfwd.log())
        self.assertNotIn("stopping ", self.netfwd.log())


if __name__ == "__main__":
    harness.main()
