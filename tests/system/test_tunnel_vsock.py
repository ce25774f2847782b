#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   host                                              guest, User-Mode Linux
#   client ── 127.0.0.1:P ── netfwd ═══ vsock ══════ netfwd-agent, or sshd ── 127.0.0.1:7000
#   ssh ── ProxyCommand ── UNIX socket ─┘
"""What a guest's loopback serves, by its vsock: raw flows, gRPC and SSH."""
import os
import pathlib
import socket
import subprocess
import unittest

import paths  # noqa: F401
import harness
import peer
from guest_checks import CLOSED_PORT, GUEST_PORT, MEGA
from uml_sshd import UmlSshd

PATIENCE = harness.BOOT_TIMEOUT
WAYS = ("vsock", "grpc", "ssh")
BULK = 200 * MEGA
SOAK_BULK = 10240 * MEGA
DUAL_PORT = 7001  # of the guest's loopback, followed by rules that name no way
UNIX_PATH = "/tmp/echo.sock"

CONFIG = """
ssh: {{user: root, identityFile: {key}, hostKeyChecking: accept-new, overVsock: true}}
agent: {{transport: vsock}}
portForwards:
"""


def forwards(ports, closed):
    for way in WAYS:
        yield (f"- {{guestPort: {GUEST_PORT}, hostPort: {ports[way]}, proto: tcp, via: {way}, "
               "static: true}\n")
        yield (f"- {{guestPort: {CLOSED_PORT}, hostPort: {closed[way]}, proto: tcp, via: {way}, "
               "static: true}\n")
    yield (f"- {{guestPort: {GUEST_PORT}, hostPort: {ports['udp']}, proto: udp, via: vsock, "
           "static: true}\n")
    yield (f"- {{guestPort: {CLOSED_PORT}, hostPort: {closed['udp']}, proto: udp, via: vsock, "
           "static: true}\n")
    yield f"- {{guestSocket: {UNIX_PATH}, hostSocket: {ports['unix']}, via: vsock}}\n"


class TunnelVsock(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        os.environ["XDG_STATE_HOME"] = str(harness.new_path("state"))
        cls.addClassCleanup(os.environ.pop, "XDG_STATE_HOME")
        cls.device, cls.uds = harness.new_path("sock"), harness.new_path("vsock")
        cls.nic = harness.new_path("nic")
        cls.ports = {way: harness.free_port() for way in (*WAYS, "udp")}
        cls.closed = {way: harness.free_port() for way in (*WAYS, "udp")}
        cls.ports["unix"] = harness.new_path("unix")
        cls.config = pathlib.Path(harness.new_path("yaml"))
        cls.guest = None
        cls.boot()
        cls.addClassCleanup(lambda: cls.netfwd.stop())
        cls.addClassCleanup(lambda: cls.guest.kill())

    @classmethod
    def start_netfwd(cls):
        cls.netfwd = harness.Netfwd.start(
            f"--vhost-user={cls.nic}", f"--vsock={cls.device}", "--vsock-cid=7",
            f"--vsock-uds={cls.uds}", f"--config={cls.config}", "-v", measured=True)

    @classmethod
    def boot(cls):
        """netfwd's key is the server's, which is made when the guest is there: so it boots on a
        device that serves it later."""
        from sshd import make_key
        UmlSshd.shared_key = make_key()
        cls.config.write_text(CONFIG.format(key=UmlSshd.shared_key) +
                              "".join(forwards(cls.ports, cls.closed)))
        cls.start_netfwd()
        cls.guest = harness.UmlGuest((cls.nic, harness.UmlGuest.NET),
                                     (cls.device, harness.UmlGuest.VSOCK))
        cls.sshd = UmlSshd(cls.guest, UmlSshd.shared_key)
        cls.guest.start_peer(GUEST_PORT)
