#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   this program, speaking frames ══ UNIX stream ══ netfwd ── 127.0.0.1:S ── peer server
#   namespace that floods ══ TAP ══ netfwd
"""A guest that lies, breaks off and floods: netfwd counts it and goes on."""
import struct
import sys
import unittest

import paths  # noqa: F401
import frames
import harness
import peer
from guest_checks import GUEST_PORT, MEGA

FRAME_MAX = 14 + 40 + 65535  # Ethernet, and the longest IPv6 packet
FLOOD = 20_000
FLOOD_MEMORY_MAX = 64 * 1024  # KiB


class StreamChecks(unittest.TestCase):
    def setUp(self):
        self.path = harness.new_path("sock")
        self.netfwd = harness.Netfwd.start("-v", f"--stream={self.path}")
        self.addCleanup(self.netfwd.kill)
        self.server = peer.Server()
        self.connect()

    def connect(self):
        self.guest = frames.StreamGuest(self.path)
        self.addCleanup(self.guest.close)

    def assert_serves(self, mark):
        self.assertTrue(self.netfwd.alive(), f"netfwd ended after: {mark}")
        gateway = self.guest.find_gateway()
        self.assertIsNotNone(gateway, f"no answer to ARP after: {mark}")
        self.assertTrue(self.guest.ping(gateway, mark.encode()), f"no echo after: {mark}")

    def assert_serves_again(self, mark):
        """As assert_serves, by the same connection or, where netfwd may close it, the next."""
        self.guest.close()
        self.connect()
        self.assert_serves(mark)

    def test_malformed_frames_are_counted(self):
        for name, frame in frames.malformed():
            with self.subTest(name):
                self.guest.send(frame)
                self.assert_serves(name)
        self.netfwd.stop()
        for counter in ("runt", "bad-arp", "bad-ip-header", "bad-ip-length", "bad-ip-source",
                        "bad-fragment", "bad-extension-header", "bad-tcp", "bad-udp", "bad-icmp"):
            with self.subTest(counter):
                self.assertRegex(self.netfwd.log(), rf"{counter}\W+[1-9]")

    def test_mutated_frames(self):
        for number, frame in enumerate(frames.mutations(5000, seed=2)):
            self.guest.send(frame)
            if number % 500 == 499:
                self.assert_serves(f"mutation {number}")
        self.netfwd.stop()

    def test_mutated_frames_to_the_gateway_itself(self):
        gateway = self.guest.find_gateway()
        for number, frame in enumerate(frames.mutations(5000, seed=3)):
            self.guest.send(gateway + frame[6:])
            if number % 500 == 499:
                self.assert_serves(f"mutation {number}")
        self.netfwd.stop()

    def test_frame_of_nothing_is_skipped(self):
        self.guest.send(b"")
        self.assert_serves("a frame of nothing")

    def test_lengths_that_cannot_be(self):
        for length in (FRAME_MAX + 1, 1 << 20, 0xffffffff):
            with self.subTest(length):
                self.guest.send_bytes(struct.pack(">I", length))
                self.guest.wait_closed()
                self.assert_serves_again(f"length {length}")
        self.netfwd.stop()

    def test_guest_that_breaks_off_in_a_frame(self):
        for part in (b"\0", struct.pack(">I", 1000), struct.pack(">I", 1000) + bytes(999)):
            with self.subTest(len(part)):
                self.guest.send_bytes(part)
                self.assert_serves_again(f"{len(part)} bytes of a frame")
        self.netfwd.stop()

    def test_frame_in_pieces_is_one_frame(self):
        frame = frames.ethernet(frames.ARP, frames.arp())
        for byte in struct.pack(">I", len(frame)) + frame:
            self.guest.send_bytes(bytes([byte]))
        self.assertIsNotNone(self.guest.wait_for(lambda f: f[12:14] == b"\x08\x06"))

    def test_guest_that_never_reads(self):
        """It asks and asks and takes no answer: netfwd's memory stays as it is."""
        gateway = self.guest.find_gateway()
        before = self.netfwd.memory()
        echo = frames.ethernet(frames.IPV4, frames.ipv4(frames.ICMP, frames.icmp(8, bytes(1400))),
                               gateway)
        self.guest.sock.settimeout(2)
        try:
            for _ in range(50_000):
                self.guest.send(echo)
        except TimeoutError:
            pass  # netfwd stopped reading as well, which is one way to bound memory
        self.assertLess(self.netfwd.memory() - before, 32 * 1024)
        self.assert_serves_again("a guest that never read")
        self.netfwd.stop()

    def test_flood_of_connection_requests(self):
        """Half-open connections are bounded, and a proper one still opens afterwards."""
        gateway = self.guest.find_gateway()
        before = self.netfwd.memory()
        self.guest.sock.settimeout(20)
        for number in range(FLOOD):
            packet = frames.ipv4(frames.TCP, frames.tcp(self.server.port, 1024 + number % 60000))
            self.guest.send(frames.ethernet(frames.IPV4, packet, gateway))
            while number % 64 == 0 and self.drain():
                pass
        self.assertLess(self.netfwd.memory() - before, FLOOD_MEMORY_MAX)
        self.assert_serves_again("a flood")
        flags = self.guest.open_tcp(gateway, self.server.port, 65000)
        self.assertEqual(flags, frames.SYN | frames.ACK)
        self.netfwd.stop()

    def drain(self):
        """Reads what netfwd sent, as far as it is there; whether there was anything."""
        self.guest.sock.setblocking(False)
        try:
            return bool(self.guest.sock.recv(1 << 20))
        except BlockingIOError:
            return False
        finally:
            self.guest.sock.settimeout(20)


class FloodBesideWork(unittest.TestCase):
    def test_flood_leaves_other_connections_alone(self):
        server = peer.Server()
        port = harness.free_port()
        guest = harness.NamespaceGuest("flooding")
        self.addCleanup(guest.remove)
        netfwd = harness.Netfwd.start(f"--netns={guest.name}",
                                      *harness.forward_both("127.0.0.1", port, GUEST_PORT))
        self.addCleanup(netfwd.kill)
        guest.start_peer(GUEST_PORT)
        guest.output(f"ping -c 1 -W 5 {harness.GATEWAY}")
        neighbour = guest.output(f"ip neigh show {harness.GATEWAY}").split("lladdr ")[1].split()[0]

        with peer.connect("127.0.0.1", port) as held:
            held.sendall(b"echo\nbefore")
            self.assertEqual(peer.receive(held, 6), b"before")
            for target in (server.port, harness.free_port()):
                guest.output(f"{sys.executable} {frames.__file__} flood eth0 {neighbour} {FLOOD} "
                             f"{harness.GATEWAY} {target}", timeout=120)
            held.sendall(b"after")
            self.assertEqual(peer.receive(held, 5), b"after")
        for name in ("upload", "download"):
            result = peer.run_check(name, "127.0.0.1", port, MEGA)
            self.assertEqual(result["answer"], result["expected"])
            result = guest.check(name, harness.GATEWAY, server.port, MEGA)
            self.assertEqual(result["answer"], result["expected"])
        netfwd.stop()


if __name__ == "__main__":
    harness.main()
