#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   host                                                              guest, in QEMU
#   client ── 127.0.0.1:P ── netfwd qemu ══ virtio-serial, or eth0 ══ netfwd-agent ── 127.0.0.1:P
"""A server on the loopback of a virtual machine answers on the host's, by itself."""
import contextlib
import pathlib
import socket
import statistics
import time
import unittest

import paths  # noqa: F401
import following
import harness
import peer

PORT = 8080
PATIENCE = harness.BOOT_TIMEOUT
MEGA = 1 << 20
SAMPLES = 50 if harness.SOAK else 3
BULK = 4 * MEGA
TOKEN = "0123456789abcdef0123456789abcdef"  # as in the guest's image
AGENT_PORT = 2222
BACK = 9002  # in the guest: leads to a server of the host


def write_config(agent, rules=""):
    token = pathlib.Path(harness.new_path("token"))
    token.write_text(TOKEN + "\n")
    config = pathlib.Path(harness.new_path("yaml"))
    config.write_text("portForwardTypes: {any: grpc}\n"
                      f"agent: {agent.format(token=token)}\n{rules}")
    return f"--config={config}"


class AgentChecks:
    agent = None  # the section of the configuration

    @classmethod
    def configure(cls):
        cls.server = peer.Server()
        cls.addClassCleanup(cls.server.close)
        return write_config(cls.agent, "portForwards:\n" + "".join(
            f"- {{guestPort: {BACK}, hostPort: {cls.server.port}, proto: {proto}, reverse: true}}\n"
            for proto in ("tcp", "udp")))

    @classmethod
    def setUpClass(cls):
        cls.agent_port = harness.free_port()
        cls.guest = harness.WrappedGuest(cls.configure(), "-v",
                                         f"--forward=tcp:127.0.0.1:{cls.agent_port}:{AGENT_PORT}")
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

    def test_programs_of_the_guest_reach_a_server_of_the_host(self):
        for proto in ("tcp", "udp"):
            self.netfwd.wait_log(f"forwarding protocol={proto} host=127.0.0.1:{self.server.port}",
                                 PATIENCE)
        for result in (self.guest.check("datagrams", "127.0.0.1", BACK, 0, 1, 1400, peer.UDP_MAX),
                       self.guest.check("upload", "127.0.0.1", BACK, MEGA)):
            self.assertEqual(result["answer"], result["expected"])
        self.assertNotIn(f"guest=127.0.0.1:{BACK} error", self.netfwd.log())

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

    def test_by_the_network_card_and_with_a_token_too(self):
        """Another netfwd, whose connection to the agent goes through the card of this one."""
        ports = {proto: harness.free_port() for proto in ("tcp", "udp")}
        rules = "portForwards:\n" + "".join(
            f"- {{guestPort: 7100, hostPort: {port}, proto: {proto}, static: true}}\n"
            for proto, port in ports.items()) + "- {guestPortRange: [1, 65535], ignore: true}\n"
        agent = f"{{{{transport: tcp, host: 127.0.0.1, port: {self.agent_port}, tokenFile: {{token}}}}}}"
        other = harness.Netfwd.start(f"--stream={harness.new_path('sock')}", "-v",
                                     write_config(agent, rules))
        self.addCleanup(other.stop)
        other.wait_log("by grpc is up", PATIENCE)
        self.guest.start_peer(7100)
        tcp = peer.run_check("both_ways", "127.0.0.1", ports["tcp"], MEGA)
        udp = peer.run_check("datagrams", "127.0.0.1", ports["udp"], 0, 1, 1400, peer.UDP_MAX)
        for result in (tcp, udp):
            self.assertEqual(result["answer"], result["expected"])

    def test_only_the_host_may_come_by_vsock(self):
        self.guest.output("modprobe vsock_loopback")
        self.guest.run("socat -u VSOCK-CONNECT:1:2222 - </dev/null", timeout=10)
        self.assertIn("not the host's", self.guest.output("cat /tmp/agent.log"))


class Nic(AgentChecks):
    agent = "{{transport: tcp, tokenFile: {token}}}"


@unittest.skipUnless(harness.SOAK, "a boot more: ./dev soak")
class QemuNic(Nic, unittest.TestCase):
    pass


class UserModeLinux(AgentChecks):
    """A kernel at the machine's own speed, though one without tracepoints."""

    @classmethod
    def setUpClass(cls):
        if harness.Agent.is_sanitized():
            raise unittest.SkipTest("no address sanitizer in User-Mode Linux")
        nic, vsock = harness.new_path("nic"), harness.new_path("vsock")
        cls.netfwd = harness.Netfwd.start(f"--vhost-user={nic}", f"--vsock={vsock}",
                                          cls.configure(), "-v")
        cls.addClassCleanup(lambda: cls.netfwd.stop())
        cls.guest = harness.UmlGuest((nic, harness.UmlGuest.NET), (vsock, harness.UmlGuest.VSOCK))
        cls.addClassCleanup(cls.guest.kill)


class UmlVsock(UserModeLinux, unittest.TestCase):
    agent = "{{transport: vsock}}"


class UmlNic(Nic, UserModeLinux, unittest.TestCase):
    def test_listeners_come_and_go(self):
        """A server that listens for 0.4 seconds, again and again."""
        port = PORT + 2
        program = f"""
import socket, time
for _ in range({SAMPLES}):
    s = socket.create_server(("127.0.0.1", {port}))
    time.sleep(0.4)
    s.close()
    time.sleep(0.6)
"""
        self.guest.output(f"cat >/tmp/come.py <<'END'\n{program}END\n"
                          "python3 /tmp/come.py </dev/null >/dev/null 2>&1 &")
        came = []
        for _ in range(SAMPLES):
            following.wait_reachable(port)
            start = time.monotonic()
            following.wait_refused(port)
            came.append(time.monotonic() - start)
            following.seconds_until(lambda: self.netfwd.log().count(
                f"stopping protocol=tcp host=127.0.0.1:{port}") >= len(came), "it to be said")
        print(f"served for {statistics.median(came):.3f} s of 0.4, by polling")


if __name__ == "__main__":
    harness.main()
