#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   host                                                              guest, in QEMU
#   client ── 127.0.0.1:P ── netfwd qemu ══ virtio-serial, or eth0 ══ netfwd-agent ── 127.0.0.1:P
"""A server on the loopback of a virtual machine answers on the host's, by itself."""
import contextlib
import pathlib
import socket
import time
import unittest

import paths  # noqa: F401
import harness
import peer

PORT = 8080
PATIENCE = harness.BOOT_TIMEOUT
MEGA = 1 << 20
BULK = 8 * MEGA
TOKEN = "0123456789abcdef0123456789abcdef"  # as in the guest's image


class AgentChecks:
    agent = None  # the section of the configuration

    @classmethod
    def setUpClass(cls):
        token = pathlib.Path(harness.new_path("token"))
        token.write_text(TOKEN + "\n")
        config = pathlib.Path(harness.new_path("yaml"))
        config.write_text("portForwardTypes: {any: grpc}\n"
                          f"agent: {cls.agent.format(token=token)}\n")
        cls.guest = harness.WrappedGuest(f"--config={config}", "-v")
        cls.addClassCleanup(cls.guest.kill)
        cls.netfwd = cls.guest.netfwd

    def serve(self, port, options=""):
        """Socat in the guest, on its loopback: an echo."""
        self.guest.output(f"socat -d {options},bind=127.0.0.1,reuseaddr,fork EXEC:cat"
                          f" </dev/null >/dev/null 2>&1 & echo $! >/tmp/server.{port}")

    def stop(self, port):
        self.guest.output(f"kill $(cat /tmp/server.{port})")

    def echo(self, port, data):
        def attempt():
            with contextlib.suppress(OSError):
                with socket.create_connection(("127.0.0.1", port), peer.TIMEOUT) as client:
                    client.sendall(data)
                    client.shutdown(socket.SHUT_WR)
                    return peer.receive(client, len(data)) == data
            return False

        harness.until(attempt, PATIENCE, f"an echo from port {port}")

    def test_tcp_of_the_guests_loopback(self):
        self.serve(PORT, f"TCP4-LISTEN:{PORT}")
        self.echo(PORT, b"hello" * 1000)
        self.stop(PORT)
        self.netfwd.wait_log(f"stopping protocol=tcp host=127.0.0.1:{PORT}", PATIENCE)

    def test_udp_of_the_guests_loopback(self):
        self.serve(PORT, f"UDP4-LISTEN:{PORT}")
        self.netfwd.wait_log(f"forwarding protocol=udp host=127.0.0.1:{PORT}", PATIENCE)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(peer.TIMEOUT)
            client.connect(("127.0.0.1", PORT))
            client.send(b"ping")
            self.assertEqual(client.recv(16), b"ping")
        self.stop(PORT)

    def test_bulk_both_ways(self):
        self.guest.start_peer(7000)
        harness.until(lambda: "host=127.0.0.1:7000" in self.netfwd.log(), PATIENCE, "the peer")
        for run in (peer.upload, peer.download, peer.both_ways):
            start = time.monotonic()
            result = run("127.0.0.1", 7000, BULK)
            self.assertEqual(result["answer"], result["expected"])
            print(f"{run.__name__}: {BULK / MEGA / (time.monotonic() - start):.1f} MiB/s")

    def test_the_agent_is_killed_in_the_middle_of_it(self):
        port = PORT + 1
        self.serve(port, f"TCP4-LISTEN:{port}")
        self.echo(port, b"before")
        with socket.create_connection(("127.0.0.1", port), peer.TIMEOUT) as client:
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    client.send(b"stale" * 10000)
            self.guest.output("killall -9 netfwd-agent")
        self.echo(port, b"after")
        self.assertNotIn(f"stopping protocol=tcp host=127.0.0.1:{port}", self.netfwd.log())
        self.stop(port)


class Serial(AgentChecks, unittest.TestCase):
    agent = "{{transport: serial}}"


class Nic(AgentChecks, unittest.TestCase):
    agent = "{{transport: tcp, tokenFile: {token}}}"


if __name__ == "__main__":
    harness.main()
