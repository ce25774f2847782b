#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   host, in a network of its own                           guest, in QEMU
#   peer client ── 127.0.0.1:P, [::1]:P ─┐                ┌─ 192.168.5.15:7000 ── peer server
#                                     netfwd ══ UNIX ══ eth0
#   peer server ── 127.0.0.1, [::1]:S ───┘     stream    └─ 192.168.5.2:S, [fd00:c0a8:5::2]:S
"""A virtual machine behind netfwd --stream."""
import unittest

import paths  # noqa: F401
import harness
from qemu_checks import QemuChecks


class QemuGuestStream(QemuChecks, unittest.TestCase):
    link = "stream"


if __name__ == "__main__":
    harness.main()
