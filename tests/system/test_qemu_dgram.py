#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   host, in a network of its own                           guest, in QEMU
#   peer client ── 127.0.0.1:P, [::1]:P ─┐                ┌─ 192.168.5.15:7000 ── peer server
#                                     netfwd ══ UNIX ══ eth0
#   peer server ── 127.0.0.1, [::1]:S ───┘     dgram    └─ 192.168.5.2:S, [fd00:c0a8:5::2]:S
"""A virtual machine behind netfwd --dgram."""
import unittest

import paths  # noqa: F401
import harness
from qemu_checks import QemuChecks


# What depends on the link; the rest is the stack's, and test_qemu_stream.py has it.
LINK = ("test_lease", "test_half_closed_upload_arrives_and_is_answered", "test_download_arrives",
        "test_both_ways_at_once", "test_stopped_reader_stops_the_sender",
        "test_datagrams_of_every_size", "test_guest_killed_and_started_again")


class QemuGuestDgram(QemuChecks, unittest.TestCase):
    link = "dgram"

    def setUp(self):
        if self._testMethodName not in LINK and not harness.SOAK:
            self.skipTest("./dev soak has it")


if __name__ == "__main__":
    harness.main()
