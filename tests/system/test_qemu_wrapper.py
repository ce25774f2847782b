#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   HTTP client ── 127.0.0.1:P ── netfwd qemu ══ socket ══ eth0 of the guest QEMU runs
"""`netfwd qemu -- qemu-system-x86_64 ...`: the two start together and end together."""
import os
import pathlib
import signal
import unittest
import urllib.request

import paths  # noqa: F401
import harness


class QemuWrapper(unittest.TestCase):
    def setUp(self):
        self.port = harness.free_port()
        self.netfwd = harness.Netfwd.start(
            f"--forward=tcp:127.0.0.1:{self.port}:80", "--", "qemu-system-x86_64",
            *harness.qemu_arguments(), "-serial", f"file:{harness.new_log('guest console')}",
            verb=["qemu"])
        self.addCleanup(self.netfwd.kill)

    def fetch(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as page:
                return page.read().decode()
        except OSError:
            return ""  # the guest is not up yet

    def qemu(self):
        """The pid of netfwd's child."""
        children = pathlib.Path(f"/proc/{self.netfwd.pid}/task/{self.netfwd.pid}/children")
        return int(children.read_text().split()[0])

    def test_page_is_served_and_qemu_ends_with_netfwd(self):
        page = harness.until(self.fetch, harness.BOOT_TIMEOUT, "the guest's page")
        self.assertIn("Hello from the guest", page)
        qemu = self.qemu()

        self.netfwd.stop()

        self.assertFalse(pathlib.Path(f"/proc/{qemu}/fd").exists(), "QEMU was left behind")

    def test_memory_is_shared_for_both_devices(self):
        """By what QEMU has and its arguments allow, without being told."""
        uds = harness.new_path("vsock")
        netfwd = harness.Netfwd.start(
            "-v", f"--vsock-uds={uds}", "--", "qemu-system-x86_64", *harness.qemu_arguments(),
            "-serial", f"file:{harness.new_log('guest console')}", verb=["qemu"])
        self.addCleanup(netfwd.kill)

        netfwd.wait_log("vsock of CID 3 is up", harness.BOOT_TIMEOUT)
        with self.assertRaises(ConnectionRefusedError):  # nobody listens in there, and says so
            harness.peer.connect(str(uds), 7)
        self.assertIn(".nic: guest connected", netfwd.log())
        netfwd.stop()

    def test_netfwd_ends_with_qemu(self):
        harness.until(self.fetch, harness.BOOT_TIMEOUT, "the guest's page")
        os.kill(self.qemu(), signal.SIGTERM)  # handled by now: QEMU ends with 0
        self.assertEqual(self.netfwd.process.wait(harness.STOP_TIMEOUT), 0)

    def test_signal_that_ends_qemu_is_told_by_the_status(self):
        os.kill(self.qemu(), signal.SIGKILL)
        self.assertEqual(self.netfwd.process.wait(harness.STOP_TIMEOUT), 128 + signal.SIGKILL)

    def test_status_of_a_failed_qemu_is_passed_on(self):
        netfwd = harness.Netfwd("--", "qemu-system-x86_64", "-no-such-option", verb=["qemu"])
        self.addCleanup(netfwd.kill)
        self.assertEqual(netfwd.process.wait(harness.START_TIMEOUT), 1)
        self.assertIn("-no-such-option", netfwd.log())


if __name__ == "__main__":
    harness.main()
