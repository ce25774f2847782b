#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   host, in a network of its own                        guest, User-Mode Linux or QEMU
#   peer client ── 127.0.0.1:P, [::1]:P ─┐             ┌─ 192.168.5.15:7000 ── peer server
#                                     netfwd ══════ eth0
#   peer server ── 127.0.0.1, [::1]:S ───┘  guest's    └─ 192.168.5.2:S, [fd00:c0a8:5::2]:S
#                                           memory
"""Guests that share their memory with netfwd --vhost-user."""
import sys
import time
import unittest

import paths  # noqa: F401
import harness
import peer
from guest_checks import GUEST_PORT, MEGA
from qemu_checks import QemuChecks

# Of the offloads that `ethtool -k` lists.
OFFLOADS = ("rx-checksumming: on", "tx-checksum-ip-generic: on", "tx-tcp-segmentation: on",
            "tx-tcp6-segmentation: on")

# For ./dev soak: of the stack, which other guests test (and a thousand processes are
# slow in User-Mode Linux), or done with the other guest as well.
LONG = ("UmlGuestVhostUser.test_concurrent_connections",
        "UmlGuestVhostUser.test_gateway_answers_ping",
        "UmlGuestVhostUser.test_sequential_connections_leave_nothing_behind",
        "UmlGuestVhostUser.test_stopped_reader_leaves_others_alone",
        "UmlGuestVhostUser.test_stopped_reader_stops_the_sender",
        "QemuGuestVhostUser.test_driver_unbound_and_bound_again",
        "QemuGuestVhostUser.test_guest_killed_and_started_again")


class VhostUserChecks:
    """What a guest can do that shares its memory, besides QemuChecks."""

    def setUp(self):
        name = f"{type(self).__name__}.{self._testMethodName}"
        if name in LONG and not harness.SOAK:
            self.skipTest("takes long: ./dev soak")

    def configure(self):
        """As the guest's init has done, for a device that is new."""
        self.guest.output("rm -f /tmp/lease; ip link set eth0 up;"
                          "udhcpc -q -n -s /sbin/lease -i eth0 -t 10 -T 1 -A 1 -O mtu")
        self.guest.wait_network()

    def test_the_guest_has_the_offloads(self):
        features = self.guest.output("ethtool -k eth0")
        for offload in OFFLOADS:
            self.assertIn(offload, features)

    def test_driver_unbound_and_bound_again(self):
        before = self.guest.output("cat /sys/class/net/eth0/address")
        self.guest.output("""
            device=$(basename $(readlink -f /sys/class/net/eth0/device))
            cd /sys/bus/virtio/drivers/virtio_net
            echo $device >unbind
            echo $device >bind""")
        self.configure()
        self.assertEqual(self.guest.output("cat /sys/class/net/eth0/address"), before)
        self.check_routes("upload", MEGA)
        self.check_routes("download", MEGA)


class UmlGuestVhostUser(VhostUserChecks, QemuChecks, unittest.TestCase):
    link = "vhost-user"
    bulk = 150 * MEGA  # both transfers together let the indexes of the rings wrap around

    @classmethod
    def new_guest(cls, path):
        return harness.UmlGuest((path, harness.UmlGuest.NET))


class QemuGuestVhostUser(VhostUserChecks, unittest.TestCase):
    """Slow, so only what depends on who shares the memory."""

    @classmethod
    def setUpClass(cls):
        cls.path = harness.new_path("sock")
        cls.server = peer.Server()
        cls.port = harness.free_port()
        cls.start_netfwd()
        cls.addClassCleanup(lambda: cls.netfwd.stop())
        cls.guest = harness.QemuGuest(f"vhost-user {cls.path}")
        cls.addClassCleanup(cls.guest.kill)
        cls.guest.wait_network()
        cls.guest.start_peer(GUEST_PORT)

    @classmethod
    def start_netfwd(cls):
        cls.netfwd = harness.Netfwd.start(
            f"--vhost-user={cls.path}", f"--forward=tcp:127.0.0.1:{cls.port}:{GUEST_PORT}")

    def check_routes(self, name, *numbers):
        for title, result in (
                ("to guest", lambda: peer.run_check(name, "127.0.0.1", self.port, *numbers)),
                ("to host", lambda: self.guest.check(name, harness.GATEWAY, self.server.port,
                                                     *numbers))):
            with self.subTest(title):
                answer = result()
                self.assertEqual(answer["answer"], answer.get("expected"), answer)

    def test_transfers(self):
        self.check_routes("upload", 5 * MEGA)
        self.check_routes("download", 5 * MEGA)

    def answers(self):
        result = peer.run_check("upload", "127.0.0.1", self.port, 1)
        return result["answer"] == result.get("expected")

    def test_netfwd_killed_and_started_again(self):
        """The guest's device is back, though nobody in the guest did anything."""
        self.netfwd.kill()
        started = time.monotonic()
        self.start_netfwd()
        harness.until(self.answers, harness.START_TIMEOUT, "the guest's device")
        print(f"netfwd killed: the guest's device is back after {time.monotonic() - started:.2f} s",
              file=sys.stderr)
        self.check_routes("upload", MEGA)

    def test_guest_killed_and_started_again(self):
        self.guest.restart()
        self.guest.wait_network()
        self.guest.start_peer(GUEST_PORT)
        self.check_routes("download", MEGA)


if __name__ == "__main__":
    harness.main()
