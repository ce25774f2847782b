# SPDX-License-Identifier: Apache-2.0
"""What must work for a virtual machine besides guest_checks: its lease, and its restart."""
import harness
import peer
from guest_checks import GUEST_PORT, MEGA, GuestChecks


class QemuChecks(GuestChecks):
    link = None  # "stream", "dgram" or "vhost-user"
    if not harness.SOAK:  # an emulated processor takes minutes for the numbers of guest_checks
        bulk = 24 * MEGA  # more than all buffers on the way
        sequence = 1_000
        crowd = 200

    @classmethod
    def setUpClass(cls):
        cls.start_server()
        path = harness.new_path("sock")
        cls.netfwd = harness.Netfwd.start(f"--{cls.link}={path}", *cls.forward_arguments(),
                                          measured=True)
        cls.addClassCleanup(cls.netfwd.stop)
        cls.guest = cls.new_guest(path)
        cls.addClassCleanup(cls.guest.kill)
        cls.guest.wait_network()
        cls.guest.start_peer(GUEST_PORT)

    @classmethod
    def new_guest(cls, path):
        return harness.QemuGuest(f"{cls.link} {path}")

    def test_lease(self):
        lease = dict(line.split("=", 1) for line in
                     self.guest.output("cat /tmp/lease").splitlines())
        self.assertEqual(lease["ip"], harness.GUEST)
        self.assertEqual(lease["mask"], "24")
        self.assertEqual(lease["router"], harness.GATEWAY)
        self.assertEqual(lease["dns"], harness.DNS)
        self.assertEqual(lease["mtu"], self.guest.output("cat /sys/class/net/eth0/mtu").strip())
        self.assertGreaterEqual(int(lease["mtu"]), 1500)

    def test_guest_killed_and_started_again(self):
        """The same netfwd serves the next QEMU, though the first died in mid-transfer."""
        with peer.connect("127.0.0.1", self.port) as sock:
            sock.sendall(b"echo\nwaiting")
            self.assertEqual(peer.receive(sock, 7), b"waiting")
            self.guest.kill()
            self.guest.start()
            self.guest.wait_network()
            self.guest.start_peer(GUEST_PORT)
        self.check_routes("upload", MEGA)
        self.check_routes("download", MEGA)
