#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   host, in a network of its own                  guest, another network namespace
#   TCP client ── 127.0.0.1:P ─┐          ┌═ SSH over the NIC ══ sshd ──────┐
#                            netfwd ──────┤                                 ├─ 127.0.0.1:P
#   UDP client ── 127.0.0.1:P ─┘          └═ gRPC over UNIX ═ netfwd-agent ─┘
"""A guest with an SSH server and an agent: which of them a connection takes."""
import json
import os
import pathlib
import socket
import subprocess
import unittest

import paths  # noqa: F401
import harness
from following import PATIENCE, PORT, Inside, Pair, pair_eventually, wait_reachable
from sshd import Sshd

CONFIG = """
portForwardTypes: {types}
ssh: {{user: root, identityFile: {key}, hostKeyChecking: accept-new}}
agent: {{transport: unix, path: {agent}}}
"""


class Dual(unittest.TestCase):
    def setUp(self):
        self.guest = harness.NamespaceGuest("dual")
        self.addCleanup(self.guest.remove)
        self.inside = Inside(self.guest)
        self.addCleanup(self.inside.close)
        os.environ["XDG_STATE_HOME"] = str(harness.new_path("state"))
        self.addCleanup(os.environ.pop, "XDG_STATE_HOME")
        self.sshd = Sshd(guest=self.guest, address="0.0.0.0", port=22)
        self.addCleanup(self.sshd.kill)
        self.agent_path = harness.new_path("sock")
        self.agent = harness.Agent(self.guest, f"--unix={self.agent_path}")
        self.addCleanup(lambda: self.agent.kill())
        self.config = pathlib.Path(harness.new_path("yaml"))
        self.control = harness.new_path("sock")

    def start(self, types):
        self.write(types)
        netfwd = harness.Netfwd.start(f"--config={self.config}", f"--netns={self.guest.name}",
                                      f"--control={self.control}", "-v")
        self.addCleanup(netfwd.stop)
        netfwd.wait_log("by ssh is up", PATIENCE)
        netfwd.wait_log("by grpc is up", PATIENCE)
        return netfwd

    def write(self, types):
        self.config.write_text(CONFIG.format(types=types, key=self.sshd.key,
                                             agent=self.agent_path))

    def verb(self, *words):
        done = subprocess.run([harness.Netfwd.binary(), *words, f"--control={self.control}"],
                              stdout=subprocess.PIPE, check=True, timeout=PATIENCE)
        return done.stdout

    def vias(self):
        """What a connection made now would go through, by protocol."""
        status = json.loads(self.verb("status", "--json"))
        return {forward["proto"]: forward["via"] for forward in status["forwards"]}

    def wait_vias(self, **expected):
        harness.until(lambda: self.vias() == expected, PATIENCE, f"{expected}")

    def listen(self, kind=socket.SOCK_STREAM):
        listener = self.inside.listen("127.0.0.1", PORT, kind)
        self.addCleanup(listener.close)
        return listener

    def check_udp(self, server):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.connect(("127.0.0.1", PORT))
            client.send(b"ping")
            server.settimeout(PATIENCE)
            data, sender = server.recvfrom(16)
            server.sendto(data.upper(), sender)
            self.assertEqual(client.recv(16), b"PING")

    def sessions_of_sshd(self):
        return self.sshd.program.log().count("direct-tcpip")

    def test_tcp_takes_ssh_and_udp_the_agent(self):
        tcp, udp = self.listen(), self.listen(socket.SOCK_DGRAM)
        self.start("{}")  # dual is the default
        self.wait_vias(tcp="ssh", udp="grpc")
        before = self.sessions_of_sshd()
        pair_eventually(tcp, PORT).check()
        self.assertGreater(self.sessions_of_sshd(), before)  # sshd has seen it
        self.check_udp(udp)

    def test_types_change_by_a_reload_and_listeners_and_connections_stay(self):
        tcp, udp = self.listen(), self.listen(socket.SOCK_DGRAM)
        netfwd = self.start("{}")
        self.wait_vias(tcp="ssh", udp="grpc")
        old = pair_eventually(tcp, PORT)
        old.check()
        for types, via in (("{any: grpc}", "grpc"), ("{tcp: ssh, udp: grpc}", "ssh")):
            with self.subTest(types):
                self.write(types)
                self.verb("reload")
                self.wait_vias(tcp=via, udp="grpc")
                pair = Pair(tcp, PORT)
                pair.check()
                pair.close()
                self.check_udp(udp)
                old.check()
        self.assertNotIn("stopping ", netfwd.log())
        self.write("{tcp: none}")
        self.verb("reload")
        self.wait_vias(udp="grpc")
        old.check()
        old.close()

    def test_auto_goes_on_by_the_other_way_when_one_is_gone(self):
        tcp = self.listen()
        netfwd = self.start("{any: auto}")
        wait_reachable(PORT)
        for leave, back, log in (
                (self.agent.kill, self.restart_agent, "by grpc is"),
                (self.sshd.kill, self.sshd.start, "by ssh is")):
            with self.subTest(log):
                before = netfwd.log().count(log)
                leave()
                harness.until(lambda b=before, l=log: netfwd.log().count(l) > b, PATIENCE, log)
                pair = pair_eventually(tcp, PORT)
                pair.check()
                pair.close()
                back()
        self.assertNotIn("stopping ", netfwd.log())

    def restart_agent(self):
        self.agent = harness.Agent(self.guest, f"--unix={self.agent_path}")


if __name__ == "__main__":
    harness.main()
