#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   host, in a network of its own               guest, another network namespace
#   client ── PATH or 127.0.0.1:P ── netfwd ══ sockets of the namespace ── PATH, 127.0.0.1:P
#   server ── PATH or 127.0.0.1:P ─────┘                                  programs of the guest
"""Forwards that are there whatever the guest listens on: static ports and ranges, UNIX sockets
both ways, and reverse forwards. One configuration, all of it at once."""
import concurrent.futures
import contextlib
import ctypes
import json
import os
import pathlib
import socket
import stat
import subprocess
import unittest

import paths  # noqa: F401
import harness

CLONE_NEWNET = 0x40000000
PATIENCE = 20
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM

CONFIG = """\
portForwards:
- {guestPortRange: [7001, 7002], hostPortRange: [8001, 8002], static: true}
- {guestSocket: WORK/guest.sock, hostSocket: WORK/host.sock}
- {guestSocket: WORK/guest.sock, guestPortRange: [1, 1], hostPort: 8003}
- {guestPort: 7004, proto: tcp, hostSocket: WORK/port.sock, static: true}
- {guestPort: 9001, hostPort: 9101, proto: tcp, reverse: true}
- {guestPort: 9002, hostPort: 9102, proto: udp, reverse: true}
- {guestSocket: WORK/reverse.sock, hostSocket: WORK/agent.sock, reverse: true}
- {guestSocket: WORK/guest.sock, hostSocket: relative.sock}
"""


class Inside:
    """Sockets in a guest's namespace, made by a thread that has entered it."""

    def __init__(self, name):
        self.thread = concurrent.futures.ThreadPoolExecutor(1, initializer=self.enter,
                                                            initargs=(name,))

    @staticmethod
    def enter(name):
        with open(f"/run/netns/{name}", "rb") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) < 0:
                raise OSError(ctypes.get_errno(), "setns")

    def run(self, function, *arguments):
        return self.thread.submit(function, *arguments).result(PATIENCE)

    def close(self):
        self.thread.shutdown()


def serve(kind, address):
    sock = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX, kind)
    sock.settimeout(PATIENCE)
    sock.bind(address)
    if kind == TCP:
        sock.listen(16)
    return sock


def connect(kind, address):
    sock = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX, kind)
    sock.settimeout(PATIENCE)
    sock.connect(address)
    return sock


def local(port):
    return ("127.0.0.1", port)


class Sockets(unittest.TestCase):
    def setUp(self):
        self.guest = harness.NamespaceGuest("sockets")
        self.addCleanup(self.guest.remove)
        self.inside = Inside(self.guest.name)
        self.addCleanup(self.inside.close)
        self.work = pathlib.Path(harness.new_path("d"))
        self.work.mkdir()
        self.config = self.work / "netfwd.yaml"
        self.config.write_text(CONFIG.replace("WORK", str(self.work)))
        self.control = str(self.work / "control.sock")

    def start(self):
        self.netfwd = harness.Netfwd.start(f"--config={self.config}",
                                           f"--netns={self.guest.name}",
                                           f"--control={self.control}", "-v")
        self.addCleanup(self.netfwd.stop)

    def path(self, name):
        return str(self.work / name)

    def serve_in_guest(self, kind, address):
        sock = self.inside.run(serve, kind, address)
        self.addCleanup(sock.close)
        return sock

    def serve_on_host(self, kind, address):
        sock = serve(kind, address)
        self.addCleanup(sock.close)
        return sock

    def check_stream(self, client, listener):
        with client:
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
            server, _ = listener.accept()
            with server:
                server.settimeout(PATIENCE)
                self.assertEqual(server.makefile("rb").read(), b"hello")
                server.sendall(b"world")
            self.assertEqual(client.makefile("rb").read(), b"world")

    def check_datagrams(self, client, server):
        with client:
            client.send(b"ping")
            data, sender = server.recvfrom(100)
            self.assertEqual(data, b"ping")
            server.sendto(b"pong", sender)
            self.assertEqual(client.recv(100), b"pong")

    def test_static_ports_are_there_before_their_servers(self):
        self.start()
        for port in (8001, 8002):
            with self.assertRaises(ConnectionError), connect(TCP, local(port)) as client:
                self.assertNotEqual(client.recv(1), b"")
        for i in (1, 2):
            tcp = self.serve_in_guest(TCP, local(7000 + i))
            udp = self.serve_in_guest(UDP, local(7000 + i))
            self.check_stream(connect(TCP, local(8000 + i)), tcp)
            self.check_datagrams(connect(UDP, local(8000 + i)), udp)

    def test_sockets_of_the_guest_are_on_the_host(self):
        self.start()
        server = self.serve_in_guest(TCP, self.path("guest.sock"))
        for address in (self.path("host.sock"), local(8003),
                        f"{os.environ['XDG_RUNTIME_DIR']}/netfwd/sock/relative.sock"):
            with self.subTest(address):
                self.check_stream(connect(TCP, address), server)
        mode = stat.S_IMODE(os.stat(self.path("host.sock")).st_mode)
        self.assertEqual(mode, 0o600)
        server = self.serve_in_guest(TCP, local(7004))
        self.check_stream(connect(TCP, self.path("port.sock")), server)

    def test_the_guest_reaches_what_is_reversed(self):
        self.start()
        server = self.serve_on_host(TCP, local(9101))
        self.check_stream(self.inside.run(connect, TCP, local(9001)), server)
        server = self.serve_on_host(UDP, local(9102))
        self.check_datagrams(self.inside.run(connect, UDP, local(9002)), server)
        server = self.serve_on_host(TCP, self.path("agent.sock"))
        self.check_stream(self.inside.run(connect, TCP, self.path("reverse.sock")), server)

    def test_what_netfwd_listens_on_in_the_guest_is_not_forwarded_back(self):
        self.start()
        self.serve_in_guest(TCP, local(7010))
        self.netfwd.wait_log("forwarding protocol=tcp host=127.0.0.1:7010", PATIENCE)
        self.assertNotIn("host=127.0.0.1:900", self.netfwd.log())

    def test_a_stale_socket_is_replaced_and_a_file_never(self):
        serve(TCP, self.path("host.sock")).close()
        serve(TCP, self.path("reverse.sock")).close()
        (self.work / "port.sock").write_text("precious")
        self.start()
        self.netfwd.wait_log(f"failed protocol=tcp host={self.path('port.sock')}", PATIENCE)
        server = self.serve_in_guest(TCP, self.path("guest.sock"))
        self.check_stream(connect(TCP, self.path("host.sock")), server)
        server = self.serve_on_host(TCP, self.path("agent.sock"))
        self.check_stream(self.inside.run(connect, TCP, self.path("reverse.sock")), server)
        self.assertEqual((self.work / "port.sock").read_text(), "precious")

    def test_a_place_that_is_taken_in_the_guest_is_had_later(self):
        taken = self.serve_in_guest(TCP, local(9001))
        self.start()
        self.netfwd.wait_log("failed protocol=tcp host=127.0.0.1:9101", PATIENCE)
        taken.close()
        self.netfwd.wait_log("recovered protocol=tcp host=127.0.0.1:9101", PATIENCE)
        server = self.serve_on_host(TCP, local(9101))
        self.check_stream(self.inside.run(connect, TCP, local(9001)), server)

    def verb(self, name, *arguments):
        return subprocess.run([harness.Netfwd.binary(), name, f"--control={self.control}",
                               *arguments],
                              capture_output=True, text=True, timeout=20, check=True).stdout

    def test_status_and_reload_know_them(self):
        self.start()
        status = json.loads(self.verb("status", "--json"))
        self.assertEqual([way["name"] for way in status["ways"]], ["netns", "direct"])
        forwards = {(f["host"], f["guest"], f["reverse"]): f for f in status["forwards"]}
        self.assertEqual({f["via"] for f in forwards.values()}, {"netns"})
        for key in ((self.path("host.sock"), self.path("guest.sock"), False),
                    ("127.0.0.1:8001", "127.0.0.1:7001", False),
                    ("127.0.0.1:9101", "127.0.0.1:9001", True),
                    (self.path("agent.sock"), self.path("reverse.sock"), True)):
            self.assertEqual(forwards[key]["state"], "forwarding", key)
        self.assertIn("tcp, reverse", self.verb("status"))

        self.config.write_text("{}")
        self.verb("reload")
        harness.until(lambda: not json.loads(self.verb("status", "--json"))["forwards"],
                      PATIENCE, "the forwards to go")
        self.assertFalse(os.path.exists(self.path("host.sock")))
        self.assertFalse(os.path.exists(self.path("reverse.sock")))

    def test_nothing_is_left_behind(self):
        self.start()
        with contextlib.suppress(ConnectionError):
            connect(TCP, self.path("host.sock")).close()
        self.netfwd.stop()
        self.doCleanups()
        self.assertEqual([p.name for p in self.work.iterdir() if p.is_socket()], [])


if __name__ == "__main__":
    harness.main()
