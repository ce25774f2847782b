#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   host, in a network of its own               guest, another network namespace
#   client ── 127.0.0.1:P, [::1]:P ── netfwd ══ TAP ══ eth0 ── *:P  (sockets of this test)
"""What a namespace guest listens on appears on the host, and goes with it."""
import contextlib
import os
import pathlib
import socket
import statistics
import time
import unittest

import paths  # noqa: F401
import harness
from following import (PATIENCE, PORT, Inside, Pair, pair_eventually, wait_reachable,
                       wait_refused)

PROMISE = 0.1  # seconds, from listen() to reachable and from close() to refused
SAMPLES = 25

CONFIG = "{}\n"  # a namespace's ports need no configuration


class Follow(unittest.TestCase):
    config = CONFIG

    def setUp(self):
        self.guest = harness.NamespaceGuest("follow")
        self.addCleanup(self.guest.remove)
        self.inside = Inside(self.guest)
        self.addCleanup(self.inside.close)
        self.config_path = pathlib.Path(harness.new_path("yaml"))
        self.config_path.write_text(self.config)
        self.netfwd = harness.Netfwd.start(f"--config={self.config_path}",
                                           f"--netns={self.guest.name}", "-v")
        self.addCleanup(lambda: self.netfwd.stop())
        self.port = PORT

    def listen(self, address="0.0.0.0", port=None, kind=socket.SOCK_STREAM):
        listener = self.inside.listen(address, port or self.port, kind)
        self.addCleanup(listener.close)
        return listener

    def pair(self, listener, host="127.0.0.1"):
        pair = Pair(listener, self.port, host)
        self.addCleanup(pair.close)
        return pair

    def test_listeners_come_and_go_at_once(self):
        came, went = [], []
        for _ in range(SAMPLES):
            listener = self.listen()
            came.append(wait_reachable(self.port))
            listener.close()
            went.append(wait_refused(self.port))
        print(f"appeared within {max(came) * 1000:.0f} ms, vanished within {max(went) * 1000:.0f}")
        # Of most, not all: the machine that tests may be busy for a moment.
        self.assertLess(statistics.median(came), PROMISE)
        self.assertLess(statistics.median(went), PROMISE)

    def test_both_loopbacks_are_served(self):
        for address in ("0.0.0.0", "::"):
            with self.subTest(address):
                listener = self.listen(address)
                for host in ("127.0.0.1", "::1"):
                    wait_reachable(self.port, host)
                    self.pair(listener, host).check()
                listener.close()
                wait_refused(self.port)

    def test_what_listens_on_the_guests_loopback_is_reached(self):
        for address in ("127.0.0.1", "::1"):
            with self.subTest(address):
                listener = self.listen(address)
                wait_reachable(self.port)
                self.pair(listener).check()
                listener.close()
                wait_refused(self.port)

    def test_a_listener_that_moves_keeps_its_port_and_connections(self):
        first = self.listen("127.0.0.1")
        wait_reachable(self.port)
        pair = self.pair(first)
        first.close()
        second = self.listen("0.0.0.0")
        pair_eventually(second, self.port).check()
        pair.check()
        self.assertNotIn("stopping ", self.netfwd.log())
        second.close()
        wait_refused(self.port)

    def follow_another_guest(self, config):
        guest = harness.NamespaceGuest("other")
        self.addCleanup(guest.remove)
        inside = Inside(guest)
        self.addCleanup(inside.close)
        path = pathlib.Path(harness.new_path("yaml"))
        path.write_text(config)
        netfwd = harness.Netfwd.start(f"--config={path}", f"--netns={guest.name}", "-v",
                                      f"--control={harness.new_path('sock')}")
        self.addCleanup(netfwd.stop)
        listener = inside.listen("0.0.0.0", self.port)
        self.addCleanup(listener.close)
        return netfwd, listener

    def test_of_two_guests_the_first_keeps_the_port_and_the_second_is_told(self):
        first = self.listen()
        wait_reachable(self.port)
        netfwd, second = self.follow_another_guest("{}")
        netfwd.wait_log("failed protocol=tcp", PATIENCE)
        self.assertIn("in use by netfwd", netfwd.log())
        self.pair(first).check()
        first.close()
        netfwd.wait_log("recovered protocol=tcp", PATIENCE)
        pair_eventually(second, self.port).check()

    def test_by_option_the_second_guest_gets_the_next_free_port(self):
        self.listen()
        wait_reachable(self.port)
        netfwd, second = self.follow_another_guest("autoCorrect: true")
        netfwd.wait_log(f"forwarding protocol=tcp host=127.0.0.1:{self.port + 1}", PATIENCE)
        self.port += 1
        pair_eventually(second, self.port).check()

    def first_sender(self, client, server):
        """Sends until something arrives: the first datagram may be lost to ARP."""
        server.settimeout(PROMISE)
        for _ in range(int(PATIENCE / PROMISE)):
            client.send(b"ping")
            with contextlib.suppress(TimeoutError):
                sender = server.recvfrom(16)[1]
                server.settimeout(PATIENCE)
                return sender
        raise TimeoutError("no datagram arrived")

    def test_both_halves_of_a_published_port_are_one(self):
        first = self.listen("0.0.0.0")
        wait_reachable(self.port)
        pair = self.pair(first)
        second = self.listen("::")
        first.close()
        eventual = pair_eventually(second, self.port)
        self.addCleanup(eventual.close)
        eventual.check()
        pair.check()
        self.assertEqual(self.netfwd.log().count("forwarding protocol=tcp"), 1)
        second.close()
        wait_refused(self.port)

    def test_a_restart_keeps_the_port_and_connections(self):
        listener = self.listen()
        wait_reachable(self.port)
        pair = self.pair(listener)
        for _ in range(10):
            listener.close()
            listener = self.listen()
            wait_reachable(self.port)
            pair.check()
        self.assertNotIn("stopping ", self.netfwd.log())

    def test_five_hundred_restarts_lose_nothing(self):
        for _ in range(500):
            listener = self.listen()
            wait_reachable(self.port)
            listener.close()
        wait_refused(self.port)

    def test_a_busy_port_is_served_once_it_is_free(self):
        with socket.create_server(("127.0.0.1", self.port)):
            listener = self.listen()
            self.netfwd.wait_log("failed protocol=tcp", PATIENCE)
        self.netfwd.wait_log("recovered protocol=tcp", PATIENCE)
        self.pair(listener).check()

    def test_udp_is_followed(self):
        server = self.listen(kind=socket.SOCK_DGRAM)
        self.netfwd.wait_log("forwarding protocol=udp", PATIENCE)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.connect(("127.0.0.1", self.port))
            sender = self.first_sender(client, server)
            server.connect(sender)  # as iperf3 and QUIC servers do
            server.send(b"pong")
            self.assertEqual(client.recv(16), b"pong")
            time.sleep(5 * PROMISE)  # netfwd has looked, and more than its grace is over
            client.send(b"again")
            while server.recv(16) != b"again":
                pass
        self.assertNotIn("stopping ", self.netfwd.log())
        server.close()
        self.netfwd.wait_log("stopping protocol=udp", PATIENCE)

    def test_udp_clients_of_the_guest_are_not_published(self):
        client = self.inside.thread.submit(self.inside.open, "0.0.0.0", 0,
                                           socket.SOCK_DGRAM).result(PATIENCE)
        self.addCleanup(client.close)
        self.listen()
        wait_reachable(self.port)  # by then it has looked
        self.assertNotIn("protocol=udp", self.netfwd.log())

    def test_udp_ports_of_clients_are_published_when_a_rule_names_them(self):
        self.config_path.write_text("portForwards: [{guestPort: 40001}]")
        self.netfwd.stop()
        self.netfwd = harness.Netfwd.start(f"--config={self.config_path}",
                                           f"--netns={self.guest.name}", "-v")
        self.listen(port=40000, kind=socket.SOCK_DGRAM)
        self.listen(port=40001, kind=socket.SOCK_DGRAM)
        self.netfwd.wait_log("forwarding protocol=udp host=127.0.0.1:40001", PATIENCE)
        self.assertNotIn(":40000", self.netfwd.log())

    def test_watching_costs_little(self):
        def seconds():
            fields = pathlib.Path(f"/proc/{self.netfwd.pid}/stat").read_text().split()
            return sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")

        before = seconds()
        time.sleep(5)
        print(f"{(seconds() - before) / 5:.1%} of a core, with nothing to do")


if __name__ == "__main__":
    harness.main()
