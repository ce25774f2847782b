#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   host                                                    guest, User-Mode Linux or QEMU
#   peer client ── UNIX socket V ────┐                   ┌─ vsock port 7000 ── peer server
#                                 netfwd ══════════ vsock
#   peer server ── UNIX socket V_P ──┘ guest's memory    └─ CID 2, port P ── peer client
"""A guest's vsock behind netfwd --vsock, for programs that know UNIX sockets only."""
import pathlib
import unittest

import paths  # noqa: F401
import harness
import peer
from guest_checks import CLOSED_PORT, GUEST_PORT, MEGA

HOST_PORT = 9000
CID = 7


class VsockChecks:
    bulk = 50 * MEGA

    @classmethod
    def setUpClass(cls):
        cls.device = harness.new_path("sock")
        cls.uds = harness.new_path("vsock")
        cls.server = peer.serve_unix(f"{cls.uds}_{HOST_PORT}")
        cls.start_netfwd()
        cls.addClassCleanup(lambda: cls.netfwd.stop())
        cls.guest = cls.new_guest(cls.device)
        cls.addClassCleanup(cls.guest.kill)
        cls.guest.output(f"peer serve-vsock {GUEST_PORT}")

    @classmethod
    def start_netfwd(cls):
        cls.netfwd = harness.Netfwd.start(
            f"--stream={harness.new_path('sock')}", f"--vsock={cls.device}", f"--vsock-cid={CID}",
            f"--vsock-uds={cls.uds}", measured=True)

    @classmethod
    def new_guest(cls, device):
        raise NotImplementedError

    def bind_anew(self):
        """The guest's driver lets the device go, and takes it again."""
        self.guest.output("""
            cd /sys/bus/virtio/drivers/vmw_vsock_virtio_transport
            device=$(basename virtio*)
            echo $device >unbind
            echo $device >bind""")

    def check(self, name, *numbers, port=GUEST_PORT):
        """To the guest, and from there."""
        yield "to guest", peer.run_check(name, str(self.uds), port, *numbers)
        host_port = HOST_PORT if port == GUEST_PORT else port
        yield "to host", self.guest.check(name, "vsock:2", host_port, *numbers)

    def check_routes(self, name, *numbers):
        for title, result in self.check(name, *numbers):
            with self.subTest(title):
                self.assertEqual(result["answer"], result.get("expected"), result)

    def check_answer(self, expected, name, *numbers, port=GUEST_PORT):
        for title, result in self.check(name, *numbers, port=port):
            with self.subTest(title):
                self.assertIn(result["answer"], expected)

    def tearDown(self):
        self.assertTrue(self.netfwd.alive(), "netfwd has ended")

    def test_transfers_arrive_and_are_answered_after_half_close(self):
        self.check_routes("upload", self.bulk)
        self.check_routes("download", self.bulk)
        self.check_routes("both_ways", self.bulk // 5)

    def test_nobody_listens(self):
        # A guest hears of it as Linux tells: its own port was reset.
        self.check_answer(("ECONNREFUSED", "ECONNRESET"), "fate", port=CLOSED_PORT)

    def test_concurrent_connections(self):
        self.check_routes("concurrent", 1000 if harness.SOAK else 100)

    def test_driver_unbound_and_bound_again(self):
        """What was open breaks, and the new driver is served."""
        with peer.connect(str(self.uds), GUEST_PORT) as sock:
            sock.sendall(b"echo\nwaiting")
            self.assertEqual(peer.receive(sock, 7), b"waiting")
            self.bind_anew()
            self.assertEqual(sock.recv(1), b"")
        self.check_routes("upload", MEGA)

    def test_a_peer_that_is_killed(self):
        """Its sockets are reset, and whoever serves next is reached."""
        with peer.connect(str(self.uds), GUEST_PORT) as sock:
            sock.sendall(b"echo\nwaiting")
            self.assertEqual(peer.receive(sock, 7), b"waiting")
            self.guest.output("killall -9 peer; while pidof peer; do sleep 0.05; done")
            self.assertEqual(sock.recv(1), b"")
        self.guest.output(f"peer serve-vsock {GUEST_PORT}")
        self.check_routes("upload", MEGA)

    def test_the_guest_has_its_cid(self):
        cid = self.guest.output(
            "python3 -c 'import fcntl, struct; print(struct.unpack(\"I\", fcntl.ioctl("
            "open(\"/dev/vsock\"), 0x7b9, bytes(4)))[0])'")
        self.assertEqual(int(cid), CID)

    def test_many_in_turn_leave_nothing_behind(self):
        self.check_routes("sequential", 100)
        before = self.netfwd.descriptors()
        self.check_routes("sequential", 200)
        harness.until(lambda: self.netfwd.descriptors() <= before, 30, "descriptors to be closed")


class UmlGuestVsock(VsockChecks, unittest.TestCase):
    @classmethod
    def new_guest(cls, device):
        return harness.UmlGuest((device, harness.UmlGuest.VSOCK))

    def test_stopped_reader_stops_the_sender(self):
        self.check_routes("stalled", 50 * MEGA)

    def test_the_kernels_own_vsock(self):
        """The host's kernel may have no loopback of vsock; this guest's has: the component test
        runs there, from the files of the host."""
        program = (pathlib.Path(harness.Netfwd.binary()).resolve().parents[1] /
                   "tests/component/test_vsock_kernel")
        if not program.exists() or b"__asan_init" in program.read_bytes():
            self.skipTest(f"no {program} that runs in a small guest")
        if self.guest.run("modprobe vsock_loopback")[0] != 0:
            self.skipTest("this kernel of User-Mode Linux has no vsock_loopback")
        output = self.guest.output("mkdir -p /host && mount -t hostfs none /host &&"
                                   f"chroot /host {program} 2>&1")
        self.assertNotIn("SKIPPED", output)
        self.assertIn("PASSED", output)

    def test_guest_killed_and_started_again(self):
        """What was open breaks, and the next guest is served."""
        with peer.connect(str(self.uds), GUEST_PORT) as sock:
            sock.sendall(b"echo\nwaiting")
            self.assertEqual(peer.receive(sock, 7), b"waiting")
            self.guest.restart()
            self.assertEqual(sock.recv(1), b"")
        self.guest.output(f"peer serve-vsock {GUEST_PORT}")
        self.check_routes("upload", MEGA)


@unittest.skipUnless(harness.SOAK, "takes long: ./dev soak vsock")
class QemuGuestVsock(VsockChecks, unittest.TestCase):
    bulk = 5 * MEGA

    @classmethod
    def new_guest(cls, device):
        return harness.QemuGuest("user ", extra=[
            *harness.shared_memory(), "-chardev", f"socket,id=vsock,path={device}",
            "-device", "vhost-user-vsock-pci,chardev=vsock,vectors=0"])


if __name__ == "__main__":
    harness.main()
