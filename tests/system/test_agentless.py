#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   host, in a network of its own               guest, another network namespace
#   client ── 127.0.0.1:P ── netfwd ═══ SSH ═══ sshd ── sh ── netfwd-agent ── 127.0.0.1:P
"""A guest that has an SSH server and knows our key, and nothing of netfwd."""
import os
import pathlib
import shutil
import socket
import unittest
import unittest.mock

import paths  # noqa: F401
import harness
import sshd
from following import PATIENCE, PORT, Inside, pair_eventually, wait_reachable, wait_refused

CONFIG = """
ssh: {{user: root, identityFile: {key}}}
agent: {{transport: ssh}}
"""


def agents():
    """The processes that run a program which is no file any more."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            program = os.readlink(process / "exe")
        except OSError:
            continue
        if "(deleted)" in program and b"--stdio" in (process / "cmdline").read_bytes():
            found.append(int(process.name))
    return found


class Agentless(unittest.TestCase):
    def setUp(self):
        self.guest = harness.NamespaceGuest("agentless")
        self.addCleanup(self.guest.remove)
        self.inside = Inside(self.guest)
        self.addCleanup(self.inside.close)
        os.environ["XDG_STATE_HOME"] = str(harness.new_path("state"))
        self.addCleanup(os.environ.pop, "XDG_STATE_HOME")
        self.temporary = harness.new_path("tmp")
        self.temporary.mkdir()
        self.sshd = sshd.Sshd(guest=self.guest, address="0.0.0.0", port=22,
                              env={"TMPDIR": self.temporary})
        self.addCleanup(self.sshd.kill)
        config = pathlib.Path(harness.new_path("yaml"))
        config.write_text(CONFIG.format(key=self.sshd.key))
        self.start_netfwd(config)

    def start_netfwd(self, config):
        self.netfwd = harness.Netfwd.start(f"--config={config}", f"--netns={self.guest.name}",
                                           "-v")
        self.addCleanup(lambda: self.netfwd.alive() and self.netfwd.stop())

    def pretend(self, machine):
        """The guest is of another kind from now on."""
        command = harness.new_path("sh")
        command.write_text("#!/bin/sh\ncase $SSH_ORIGINAL_COMMAND in\n"
                           f"*uname*) echo {machine} ;;\n"
                           "*) eval \"$SSH_ORIGINAL_COMMAND\" ;;\nesac\n")
        command.chmod(0o755)
        self.sshd.kill()
        self.sshd.options = (*self.sshd.options, f"ForceCommand {command}")
        self.sshd.start()

    def listen(self, kind=socket.SOCK_STREAM):
        listener = self.inside.listen("127.0.0.1", PORT, kind)
        self.addCleanup(listener.close)
        return listener

    def check(self, tcp):
        wait_reachable(PORT)
        pair = pair_eventually(tcp, PORT)
        pair.check()
        pair.close()

    def test_ports_of_its_loopback_appear_and_nothing_is_left_in_it(self):
        tcp, udp = self.listen(), self.listen(socket.SOCK_DGRAM)
        self.check(tcp)
        self.netfwd.wait_log(f"forwarding protocol=udp host=127.0.0.1:{PORT}", PATIENCE)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            udp.settimeout(PATIENCE)
            client.connect(("127.0.0.1", PORT))
            client.send(b"ping")
            data, sender = udp.recvfrom(16)
            udp.sendto(data.upper(), sender)
            self.assertEqual(client.recv(16), b"PING")
        tcp.close()
        wait_refused(PORT)
        self.assertEqual(len(agents()), 1)
        self.assertEqual(list(self.temporary.iterdir()), [])
        self.netfwd.stop()
        harness.until(lambda: not agents(), PATIENCE, "the agent to end")

    def test_it_is_brought_again_when_sshd_comes_back(self):
        tcp = self.listen()
        self.check(tcp)
        self.sshd.kill()
        self.netfwd.wait_log("by grpc is down", PATIENCE)
        self.sshd.start()
        self.check(tcp)
        self.assertNotIn("stopping ", self.netfwd.log())

    def test_a_guest_that_cannot_run_it_is_told(self):
        self.sshd.kill()
        self.sshd.options = (*self.sshd.options, "ForceCommand false")
        self.sshd.start()
        self.netfwd.wait_log("netfwd-agent does not run in the guest", PATIENCE)

    def test_where_there_is_no_agent_for_it_that_is_told_and_tcp_is_followed_by_a_shell(self):
        tcp = self.listen()
        self.pretend("s390x")
        self.netfwd.wait_log("netfwd-agent-s390x: No such file", PATIENCE)
        self.check(tcp)
        tcp.close()
        wait_refused(PORT)


class AnotherProcessor(Agentless):
    """A guest of a kind that has an agent of its own beside netfwd, and netfwd has none."""

    def start_netfwd(self, config):
        directory = pathlib.Path(harness.new_path("bin"))
        directory.mkdir()
        shutil.copy(harness.Netfwd.binary(), directory / "netfwd")
        shutil.copy(harness.Agent.binary(), directory / "netfwd-agent-other64")
        self.pretend("other64")
        with unittest.mock.patch.dict(os.environ, NETFWD=str(directory / "netfwd")):
            super().start_netfwd(config)


def load_tests(loader, _tests, _pattern):
    """Of the second guest what differs."""
    name = "test_ports_of_its_loopback_appear_and_nothing_is_left_in_it"
    return unittest.TestSuite([loader.loadTestsFromTestCase(Agentless), AnotherProcessor(name)])


if __name__ == "__main__":
    harness.main()
