#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   host                                               guest, User-Mode Linux or QEMU
#   client ── 127.0.0.1:P ── netfwd ════ vsock ═════ netfwd-agent, or sshd ── 127.0.0.1:7000
#   ssh ── ProxyCommand ── UNIX socket ──┘
"""What serves on a guest's loopback, by its vsock: raw flows, gRPC and SSH."""
import contextlib
import hashlib
import json
import os
import pathlib
import socket
import subprocess
import unittest

import paths  # noqa: F401
import harness
import peer
from guest_checks import CLOSED_PORT, GUEST_PORT, MEGA
from sshd import make_key
from uml_sshd import UmlSshd

PATIENCE = harness.BOOT_TIMEOUT
WAYS = ("vsock", "grpc", "ssh")
BULK = {"vsock": 200 * MEGA, "grpc": 50 * MEGA, "ssh": 10 * MEGA}
SOAK_BULK = {"vsock": 10240 * MEGA, "grpc": 10240 * MEGA, "ssh": 1024 * MEGA}
CONCURRENT = 1000 if harness.SOAK else 100
DUAL_PORT, AUTO_PORT, OPEN_PORT = 7001, 7002, 7003  # followed: the way is chosen
UNIX_PATH = "/tmp/echo.sock"
BACK = 7004  # in the guest: leads to a server of the host


def forward(guest, host, via, proto="tcp"):
    return (f"- {{guestPort: {guest}, hostPort: {host}, proto: {proto}, via: {via}, "
            "static: true}\n")


class TunnelVsock(unittest.TestCase):
    bulk = SOAK_BULK if harness.SOAK else BULK

    @classmethod
    def setUpClass(cls):
        if harness.Agent.is_sanitized():
            raise unittest.SkipTest("no address sanitizer in User-Mode Linux")
        os.environ["XDG_STATE_HOME"] = str(harness.new_path("state"))
        cls.addClassCleanup(os.environ.pop, "XDG_STATE_HOME")
        cls.nic, cls.vsock = harness.new_path("nic"), harness.new_path("sock")
        cls.uds, cls.control = harness.new_path("vsock"), harness.new_path("control")
        cls.ports = {way: harness.free_port() for way in (*WAYS, "udp")}
        cls.closed = {way: harness.free_port() for way in (*WAYS, "udp")}
        cls.server = peer.Server()
        cls.addClassCleanup(cls.server.close)
        cls.key, cls.unix = make_key(), harness.new_path("unix")
        cls.config = pathlib.Path(harness.new_path("yaml"))
        cls.config.write_text(cls.rules())
        cls.start_netfwd()
        cls.addClassCleanup(lambda: cls.netfwd.stop())
        cls.guest = cls.new_guest()
        cls.addClassCleanup(cls.guest.kill)
        cls.start_sshd()
        cls.guest.start_peer(GUEST_PORT)
        for way in WAYS:
            cls.netfwd.wait_log(f"by {way} is up", PATIENCE)

    @classmethod
    def new_guest(cls):
        return harness.UmlGuest((cls.nic, harness.UmlGuest.NET),
                                (cls.vsock, harness.UmlGuest.VSOCK))

    @classmethod
    def start_sshd(cls):
        """It has the connections of the vsock itself, as systemd gives them."""
        UmlSshd(cls.guest, cls.key)

    @classmethod
    def rules(cls):
        """TCP by SSH and UDP by gRPC is the default, "dual"."""
        text = (f"ssh: {{user: root, identityFile: {cls.key}, hostKeyChecking: accept-new, "
                "overVsock: true}\nagent: {transport: vsock}\nportForwards:\n")
        for way in WAYS:
            text += forward(GUEST_PORT, cls.ports[way], way)
            text += forward(CLOSED_PORT, cls.closed[way], way)
        text += forward(GUEST_PORT, cls.ports["udp"], "vsock", "udp")
        text += forward(CLOSED_PORT, cls.closed["udp"], "vsock", "udp")
        for port in (AUTO_PORT, OPEN_PORT):
            text += f"- {{guestPort: {port}, via: auto}}\n"
        for proto in ("tcp", "udp"):
            text += (f"- {{guestPort: {BACK}, hostPort: {cls.server.port}, proto: {proto}, "
                     "reverse: true, via: vsock}\n")
        return text + f"- {{guestSocket: {UNIX_PATH}, hostSocket: {cls.unix}, via: vsock}}\n"

    @classmethod
    def start_netfwd(cls):
        cls.netfwd = harness.Netfwd.start(
            f"--vhost-user={cls.nic}", f"--vsock={cls.vsock}", f"--vsock-uds={cls.uds}",
            f"--config={cls.config}", f"--control={cls.control}", "-v", measured=True)

    def tearDown(self):
        self.assertTrue(self.netfwd.alive(), "netfwd has ended")

    def check(self, name, way, *numbers, ports=None):
        return peer.run_check(name, "127.0.0.1", (ports or self.ports)[way], *numbers)

    def check_ways(self, name, *numbers):
        for way in WAYS:
            with self.subTest(way):
                result = self.check(name, way, *numbers)
                self.assertEqual(result["answer"], result["expected"])

    def status(self):
        command = [harness.Netfwd.binary(), "status", "--json", f"--control={self.control}"]
        return json.loads(subprocess.check_output(command, timeout=PATIENCE))

    def serve(self, listen):
        """Socat in the guest: an echo."""
        self.guest.output(f"socat {listen},fork EXEC:cat </dev/null >/dev/null 2>&1 &")

    def test_bulk_arrives_as_it_was_sent(self):
        for way in WAYS:
            size = self.bulk[way]
            for name in ("upload", "download"):
                with self.subTest(way, name=name):
                    result = self.check(name, way, size)
                    self.assertEqual(result["answer"], result["expected"])

    def test_both_directions_at_once(self):
        self.check_ways("both_ways", 5 * MEGA)

    def test_concurrent_connections(self):
        self.check_ways("concurrent", CONCURRENT)

    def test_nobody_listens(self):
        for way in WAYS:
            with self.subTest(way):
                self.assertEqual(self.check("fate", way, ports=self.closed)["answer"],
                                 "ECONNRESET")

    def test_a_reset_stays_a_reset_and_an_end_an_end(self):
        for way in ("vsock", "grpc"):  # sshd makes an end of the guest's reset
            with self.subTest(way):
                self.assertEqual(self.check("reset_by_server", way)["answer"], "ECONNRESET")
                self.assertEqual(self.check("ending_seen", way, 1)["answer"], "ECONNRESET")
                self.assertEqual(self.check("ending_seen", way, 0)["answer"], "EOF")

    def test_datagrams(self):
        result = self.check("datagrams", "udp", 0, 1, 1400, peer.UDP_MAX)
        self.assertEqual(result["answer"], result["expected"])
        refused = self.check("datagram_fate", "udp", ports=self.closed)
        self.assertEqual(refused["answer"], "ECONNREFUSED")

    def test_programs_of_the_guest_reach_a_server_of_the_host(self):
        for result in (self.guest.check("datagrams", "127.0.0.1", BACK, 0, 1, 1400, peer.UDP_MAX),
                       self.guest.check("upload", "127.0.0.1", BACK, 20 * MEGA),
                       self.guest.check("download", "127.0.0.1", BACK, 20 * MEGA)):
            self.assertEqual(result["answer"], result["expected"])

    def test_a_unix_socket_of_the_guest(self):
        self.serve(f"UNIX-LISTEN:{UNIX_PATH}")

        def echo():
            with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
                sock.settimeout(peer.TIMEOUT)
                sock.connect(str(self.unix))
                sock.sendall(b"hello")
                return peer.receive(sock, 5) == b"hello"
            return False

        harness.until(echo, PATIENCE, "an echo from the socket")

    def test_which_way_is_taken(self):
        """By "dual", by auto for what only tunnels reach, and for what the card reaches."""
        self.serve(f"TCP4-LISTEN:{DUAL_PORT},bind=127.0.0.1")
        self.serve(f"UDP4-LISTEN:{DUAL_PORT},bind=127.0.0.1")
        self.serve(f"TCP4-LISTEN:{AUTO_PORT},bind=127.0.0.1")
        self.serve(f"TCP4-LISTEN:{OPEN_PORT}")
        expected = {("tcp", DUAL_PORT): "ssh", ("udp", DUAL_PORT): "grpc",
                    ("tcp", AUTO_PORT): "vsock", ("tcp", OPEN_PORT): "direct"}

        def vias():
            found = {}
            for f in self.status()["forwards"]:
                port = int(f["host"].rpartition(":")[2]) if ":" in f["host"] else 0
                if (f["proto"], port) in expected:
                    found[f["proto"], port] = f["via"]
            return found

        harness.until(lambda: vias() == expected, PATIENCE, f"{expected}")
        for port in (DUAL_PORT, AUTO_PORT, OPEN_PORT):
            with peer.connect("127.0.0.1", port) as sock:
                sock.sendall(b"ping")
                self.assertEqual(peer.receive(sock, 4), b"ping")

    def test_status_has_the_vsock_and_its_counters(self):
        status = self.status()
        self.assertIn("vsock", json.dumps(status["ways"]))
        self.assertGreater(status["counters"]["vsock.opened"], 0)

    def test_ssh_by_the_unix_socket_with_a_proxy_command(self):
        """The answer, OK and a port, is a line before the server's version: RFC 4253, 4.2."""
        done = subprocess.run(
            ["timeout", str(PATIENCE), "ssh", "-F", "none", "-i", self.key,
             "-o", f"ProxyCommand=sh -c '(echo CONNECT 22; exec cat) | socat - {self.uds}'",
             "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
             "-W", f"127.0.0.1:{GUEST_PORT}", "root@guest"],  # a shell would read the host's files
            input="digest\nhello", capture_output=True, text=True, check=False)
        self.assertEqual(done.stdout.split(),
                         ["5", hashlib.sha256(b"hello").hexdigest()], done.stderr)

    def test_another_netfwd_goes_by_the_unix_socket(self):
        """As by that of Firecracker or cloud-hypervisor: all three ways."""
        ports = {way: harness.free_port() for way in WAYS}
        config = pathlib.Path(harness.new_path("yaml"))
        config.write_text(self.rules().partition("portForwards:")[0] + "portForwards:\n" +
                          "".join(forward(GUEST_PORT, ports[way], way) for way in WAYS))
        other = harness.Netfwd.start(f"--stream={harness.new_path('sock')}",
                                     f"--vsock-connect={self.uds}", f"--config={config}", "-v",
                                     f"--control={harness.new_path('control')}")
        self.addCleanup(other.stop)
        for way in WAYS:
            with self.subTest(way):
                other.wait_log(f"by {way} is up", PATIENCE)
                for name in ("upload", "download"):
                    result = peer.run_check(name, "127.0.0.1", ports[way], 5 * MEGA)
                    self.assertEqual(result["answer"], result["expected"])

    def test_many_in_turn_leave_nothing_behind(self):
        self.check_ways("sequential", 20)
        before = self.netfwd.descriptors()
        self.check_ways("sequential", 30)
        harness.until(lambda: self.netfwd.descriptors() <= before, 30, "descriptors to be closed")

    def comes_back(self, way):
        """A transfer by that way, as soon as it can be."""
        def attempt():
            result = self.check("upload", way, MEGA)
            return result["answer"] == result.get("expected")

        harness.until(attempt, PATIENCE, f"a transfer by {way}")

    def test_the_agent_is_killed_in_the_middle_of_it(self):
        with peer.connect("127.0.0.1", self.ports["vsock"]) as sock:
            sock.sendall(b"echo\nwaiting")
            self.assertEqual(peer.receive(sock, 7), b"waiting")
            self.guest.output("killall -9 netfwd-agent")
            with self.assertRaises(ConnectionResetError):
                sock.recv(1)
        for way in ("vsock", "grpc"):
            self.comes_back(way)

    def test_the_agent_is_for_the_host_alone(self):
        if self.guest.run("modprobe vsock_loopback")[0] != 0:
            self.skipTest("this kernel of User-Mode Linux has no vsock_loopback")
        port = self.guest.output("sed -n 's/.*raw flows are taken at vsock port //p' "
                                 "/tmp/agent.log | tail -1").strip()
        self.guest.run(f"socat -u VSOCK-CONNECT:1:{port} - </dev/null", timeout=10)
        self.assertIn("not the host's", self.guest.output("cat /tmp/agent.log"))


@unittest.skipUnless(harness.SOAK, "takes long: ./dev soak tunnel_vsock")
class QemuTunnelVsock(TunnelVsock):
    bulk = {"vsock": 1024 * MEGA, "grpc": 256 * MEGA, "ssh": 64 * MEGA}  # hashed by an emulated CPU

    @classmethod
    def new_guest(cls):
        return harness.QemuGuest(f"vhost-user {cls.nic}", extra=[
            "-chardev", f"socket,id=vsock,path={cls.vsock}",
            "-device", "vhost-user-vsock-pci,chardev=vsock,vectors=0"])

    @classmethod
    def start_sshd(cls):
        """It listens on TCP, and a second agent hands it the connections of the vsock."""
        public = pathlib.Path(f"{cls.key}.pub").read_text().strip()
        cls.guest.output(f"ssh-server '{public}' 'ListenAddress 127.0.0.1'\n"
                         "netfwd-agent --vsock=77 --vsock-ssh </dev/null >/dev/null 2>&1 &")


if __name__ == "__main__":
    harness.main()
