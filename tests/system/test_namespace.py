#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   host, in a network of its own                           guest, another network namespace
#   peer client ── 127.0.0.1:P, [::1]:P ─┐                ┌─ 192.168.5.15:7000 ── peer server
#                                     netfwd ══ TAP ══ eth0
#   peer server ── 127.0.0.1, [::1]:S ───┘                └─ 192.168.5.2:S, [fd00:c0a8:5::2]:S
"""A network namespace behind netfwd --netns, at each MTU that matters."""
import unittest

import paths  # noqa: F401
import harness
from guest_checks import GUEST_PORT, GuestChecks


class NamespaceChecks(GuestChecks):
    arguments = ()
    mtu = 65520

    @classmethod
    def setUpClass(cls):
        cls.start_server()
        cls.guest = harness.NamespaceGuest(f"guest{cls.mtu}")
        cls.addClassCleanup(cls.guest.remove)
        cls.netfwd = harness.Netfwd.start(f"--netns={cls.guest.name}", *cls.arguments,
                                          *cls.forward_arguments(), measured=True)
        cls.addClassCleanup(cls.netfwd.stop)
        cls.guest.start_peer(GUEST_PORT)

    def test_interface_is_configured(self):
        addresses = self.guest.output("ip addr show dev eth0")
        self.assertIn(f"mtu {self.mtu} ", addresses)
        self.assertIn(f"inet {harness.GUEST}/24 ", addresses)
        self.assertIn(f"inet6 {harness.GUEST6}/64 ", addresses)
        self.assertIn(f"default via {harness.GATEWAY} dev eth0", self.guest.output("ip route"))
        self.assertIn("default via ", self.guest.output("ip -6 route"))


class NamespaceGuestDefault(NamespaceChecks, unittest.TestCase):
    pass


class NamespaceGuest1500(NamespaceChecks, unittest.TestCase):
    arguments = ("--mtu=1500",)
    mtu = 1500


class NamespaceWithoutHostLoopback(unittest.TestCase):
    def test_host_loopback_is_out_of_reach(self):
        guest = harness.NamespaceGuest("shut")
        self.addCleanup(guest.remove)
        server = harness.peer.Server()
        netfwd = harness.Netfwd.start(f"--netns={guest.name}", "--no-host-loopback")
        self.addCleanup(netfwd.stop)

        for host in (harness.GATEWAY, harness.GATEWAY6):
            with self.subTest(host):
                answer = guest.check("fate", host, server.port)["answer"]
                self.assertIn(answer, ("ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH"))


if __name__ == "__main__":
    harness.main()
