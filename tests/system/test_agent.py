#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   host, in a network of its own                guest, another network namespace
#   client ── 127.0.0.1:P ── netfwd ═══ UNIX socket ═══ netfwd-agent ── 127.0.0.1:P
"""What listens on the loopback of a guest with an agent appears on the host's."""
import contextlib
import os
import pathlib
import select
import signal
import socket
import statistics
import struct
import subprocess
import threading
import time
import unittest

import paths  # noqa: F401
import harness
from following import (PATIENCE, PORT, Inside, Pair, connect, pair_eventually, wait_reachable,
                       wait_refused)

SAMPLES = 100
PROMISE = 0.1  # seconds; of most samples, as the machine may be busy for a moment
RETURN = 1.0  # from the agent's return to a connection that works
STORM_SECONDS = 60 if harness.SOAK else 10
STORM_RATE = 100  # sockets bound per second
AWAY_SECONDS = (0, 5, 60) if harness.SOAK else (0, 5)
STOPPED_SECONDS = 60 if harness.SOAK else 3
IN_TURN = 10000 if harness.SOAK else 300


def cpu_seconds(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as stat:
        return int(stat.read().split()[0]) / 1e9


class Line:
    """A serial line: a terminal for the guest, a UNIX socket for the host. What nobody reads
    stays in it, as in QEMU and in its driver."""

    def __init__(self, path):
        self.path = path
        self.master, self.slave = os.openpty()
        self.device = os.ttyname(self.slave)  # kept open: an agent may go and come back
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.host = None
        self.changed = threading.Condition()
        for run in (self.accept, self.from_guest):
            threading.Thread(target=run, daemon=True).start()

    def accept(self):
        while True:
            host, _ = self.listener.accept()
            with self.changed:
                self.host = host
                self.changed.notify_all()
            with contextlib.suppress(OSError):
                while True:
                    piece = host.recv(65536)
                    if not piece:
                        break
                    while piece:
                        piece = piece[os.write(self.master, piece):]
            with self.changed:
                self.host = None
            host.close()

    def from_guest(self):
        while True:
            with contextlib.suppress(OSError):
                piece = os.read(self.master, 65536)
                with self.changed:
                    self.changed.wait_for(lambda: self.host)
                    host = self.host
                host.sendall(piece)


class AgentCase(unittest.TestCase):
    """A guest, its agent, and netfwd; subclasses say how these two meet."""
    transport = "unix"
    name = "agent"
    rules = ""

    def agent_arguments(self):
        return [f"--unix={self.path}"]

    def agent_config(self):
        return f"{{transport: unix, path: {self.path}}}"

    def setUp(self):
        self.guest = harness.NamespaceGuest(self.name)
        self.addCleanup(self.guest.remove)
        self.inside = Inside(self.guest)
        self.addCleanup(self.inside.close)
        self.path = harness.new_path("sock")
        self.prepare()
        self.start_agent()
        self.addCleanup(lambda: self.agent and self.agent.stop())
        self.start_netfwd()
        self.addCleanup(lambda: self.netfwd.stop())

    def prepare(self):
        pass

    def start_agent(self):
        self.agent = harness.Agent(self.guest, "-vv", *self.agent_arguments())

    def start_netfwd(self):
        config = pathlib.Path(harness.new_path("yaml"))
        config.write_text(f"portForwardTypes: {{any: grpc}}\nagent: {self.agent_config()}\n"
                          f"{self.rules}")
        self.netfwd = harness.Netfwd.start(f"--config={config}", f"--netns={self.guest.name}",
                                           "-v")

    def listen(self, address="127.0.0.1", port=PORT, kind=socket.SOCK_STREAM):
        listener = self.inside.listen(address, port, kind)
        self.addCleanup(listener.close)
        return listener

    def check_works(self, listener, port=PORT):
        wait_reachable(port)
        pair = pair_eventually(listener, port)
        pair.check()
        pair.close()


class Unix(AgentCase):
    def test_listeners_come_and_go_at_once(self):
        came, went = [], []
        for _ in range(SAMPLES):
            listener = self.listen()
            came.append(wait_reachable(PORT))
            listener.close()
            went.append(wait_refused(PORT))
        for name, samples in (("reachable", came), ("released", went)):
            cuts = statistics.quantiles(samples, n=100)
            print(f"{name}: p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms")
            self.assertLess(statistics.median(samples), PROMISE)

    def test_tcp_and_udp_on_all_loopbacks(self):
        for address in ("127.0.0.1", "::1"):
            with self.subTest(address):
                listener = self.listen(address)
                self.check_works(listener)
                listener.close()
                wait_refused(PORT)
        server = self.listen(kind=socket.SOCK_DGRAM)
        self.netfwd.wait_log("forwarding protocol=udp", PATIENCE)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.connect(("127.0.0.1", PORT))
            client.send(b"ping")
            data, sender = server.recvfrom(16)
            self.assertEqual(data, b"ping")
            server.connect(sender)  # as iperf3 and QUIC servers do
            for _ in range(3):
                server.send(b"pong")
                self.assertEqual(client.recv(16), b"pong")
                time.sleep(0.3)  # the agent has looked meanwhile
        self.assertNotIn("stopping protocol=udp", self.netfwd.log())
        server.close()
        self.netfwd.wait_log("stopping protocol=udp", PATIENCE)

    def test_clients_of_the_guest_are_no_listeners(self):
        """A DNS query, and 100 sockets per second that are bound and closed."""
        def storm():
            end, n = time.monotonic() + STORM_SECONDS, 0
            start = time.monotonic()
            while time.monotonic() < end:
                with socket.socket(socket.AF_INET, (socket.SOCK_DGRAM, socket.SOCK_STREAM)[n % 2],
                                   ) as sock:
                    sock.bind(("127.0.0.1", 0))
                    if n % 2 == 0:
                        sock.sendto(b"query", ("127.0.0.1", 53))
                n += 1
                time.sleep(max(0, start + n / STORM_RATE - time.monotonic()))
            return n

        before = cpu_seconds(self.agent.pid)
        n = self.inside.thread.submit(storm).result(STORM_SECONDS + PATIENCE)
        share = (cpu_seconds(self.agent.pid) - before) / STORM_SECONDS
        print(f"{n} sockets in {STORM_SECONDS} s: the agent took {share:.2%} of a core")
        self.assertLess(share, 0.05)  # on a busy, emulated machine; 1 % on a quiet one
        listener = self.listen()
        self.check_works(listener)
        self.assertNotIn("protocol=udp", self.netfwd.log())

    def test_connections_that_the_server_ends_leave_nothing_behind(self):
        """The server's end first, as that of one that has been idle for long."""
        listener = self.listen()
        wait_reachable(PORT)

        def one():
            pair = Pair(listener, PORT)
            pair.guest.close()
            self.assertEqual(pair.client.recv(1), b"")
            pair.client.close()

        def descriptors():
            return [len(os.listdir(f"/proc/{p.pid}/fd")) for p in (self.agent, self.netfwd)]

        for _ in range(10):
            one()
        before = descriptors()
        for _ in range(IN_TURN):
            one()
        harness.until(lambda: all(now <= then for now, then in zip(descriptors(), before)),
                      PATIENCE, "descriptors to be closed")

    def test_agent_killed_and_started_again(self):
        listener = self.listen()
        self.check_works(listener)
        for away in AWAY_SECONDS:
            with self.subTest(away=away):
                self.agent.kill()
                if away:
                    time.sleep(away)
                    # the port of the host has stayed: a client is reset, not refused
                    with contextlib.suppress(ConnectionResetError):
                        connect(PORT).close()
                self.start_agent()
                start = time.monotonic()
                self.check_works(listener)
                print(f"away {away} s: served {time.monotonic() - start:.2f} s after its return")
        log = self.netfwd.log()
        self.assertNotIn("stopping ", log)
        self.assertEqual(log.count("forwarding protocol=tcp"), 1)

    def test_what_changes_while_the_agent_is_away_is_found(self):
        gone, stays = self.listen(port=PORT), self.listen(port=PORT + 1)
        self.check_works(gone)
        self.check_works(stays, PORT + 1)
        self.agent.kill()
        gone.close()
        new = self.listen(port=PORT + 2)
        self.start_agent()
        self.check_works(new, PORT + 2)
        self.check_works(stays, PORT + 1)
        wait_refused(PORT)
        self.netfwd.wait_log(f"stopping protocol=tcp host=127.0.0.1:{PORT} ")

    def test_agent_stopped_and_continued(self):
        listener = self.listen()
        wait_reachable(PORT)
        pair = Pair(listener, PORT)
        self.addCleanup(pair.close)
        self.agent.process.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED_SECONDS)
        self.agent.process.send_signal(signal.SIGCONT)
        if not harness.SOAK:  # a minute of silence is a lost connection
            pair.check()
        self.check_works(listener)
        self.assertNotIn("stopping ", self.netfwd.log())

    def test_a_guests_port_that_went_away_resets_its_clients(self):
        listener = self.listen()
        self.check_works(listener)
        self.agent.process.send_signal(signal.SIGSTOP)  # it does not tell
        listener.close()
        client = connect(PORT)
        self.addCleanup(client.close)
        start = time.monotonic()
        self.agent.process.send_signal(signal.SIGCONT)
        with self.assertRaises(ConnectionError):
            if client.recv(1) == b"":
                raise ConnectionResetError
        print(f"reset after {time.monotonic() - start:.3f} s")


class Tcp(AgentCase):
    """Through the guest's network card, with a token."""
    name = "agent-tcp"
    port = 2222

    def prepare(self):
        self.token = harness.new_path("token")
        self.token.write_text("0123456789abcdef0123456789abcdef\n")

    def agent_arguments(self):
        return [f"--tcp=0.0.0.0:{self.port}", f"--token-file={self.token}"]

    def agent_config(self):
        return f"{{transport: tcp, port: {self.port}, tokenFile: {self.token}}}"

    def test_loopback_is_served_and_the_agents_own_port_is_not(self):
        listener = self.listen()
        self.check_works(listener)
        self.assertNotIn(f"{self.port}", self.netfwd.log().replace("tcp port 2222", ""))

    def test_only_the_gateway_with_the_token_is_served(self):
        wait_for = self.agent.wait_log
        stranger = self.inside.thread.submit(socket.create_connection,
                                             ("127.0.0.1", self.port), PATIENCE)
        stranger.result(PATIENCE).close()
        wait_for("not the host's")

        other = harness.new_path("token")
        other.write_text("0123456789abcdef0123456789abcdeF\n")
        self.netfwd.stop()
        self.token, right = other, self.token
        self.start_netfwd()
        wait_for("another token")
        self.netfwd.wait_log("Permission denied")
        self.netfwd.stop()
        self.token = right
        self.start_netfwd()
        listener = self.listen()
        self.check_works(listener)


class Veth(AgentCase):
    """By the host's network, which a container has beside netfwd's network card."""
    name = "agent-veth"
    host, address = "10.9.0.1", "10.9.0.2"

    def prepare(self):
        self.token = harness.new_path("token")
        self.token.write_text("0123456789abcdef0123456789abcdef\n")
        for command in (f"link add out type veth peer name in netns {self.name}",
                        f"address add {self.host}/30 dev out", "link set out up",
                        f"-n {self.name} address add {self.address}/30 dev in",
                        f"-n {self.name} link set in up"):
            subprocess.run(["ip", *command.split()], check=True, timeout=10)

    def agent_arguments(self):
        return ["--tcp=0.0.0.0:2222", f"--token-file={self.token}", f"--from={self.host}"]

    def agent_config(self):
        return f"{{transport: tcp, host: {self.address}, tokenFile: {self.token}}}"

    def test_the_host_named_is_served_and_the_gateway_is_not(self):
        listener = self.listen()
        self.check_works(listener)
        self.assertIn("tcp 10.9.0.2:2222", self.netfwd.log())
        self.assertNotIn("not the host's", self.agent.log())
        with self.subTest("by the NIC"):
            self.netfwd.stop()
            self.agent_config = lambda: f"{{transport: tcp, tokenFile: {self.token}}}"
            self.start_netfwd()
            self.agent.wait_log("not the host's")


class Command(AgentCase):
    """An agent that netfwd's own command starts."""
    name = "agent-command"

    def start_agent(self):
        self.agent = None

    def agent_config(self):
        return (f"{{transport: command, command: [nsenter, --net=/run/netns/{self.name}, "
                f"{harness.Agent.binary()}, --stdio]}}")

    def agents(self):
        pids = subprocess.run(["pgrep", "-P", str(self.netfwd.pid), "netfwd-agent"], text=True,
                              capture_output=True, check=False, timeout=10).stdout
        return [int(pid) for pid in pids.split()]

    def test_it_is_started_again_when_it_ends_and_ends_with_netfwd(self):
        listener = self.listen()
        self.check_works(listener)
        (first,) = self.agents()
        os.kill(first, signal.SIGKILL)
        self.netfwd.wait_log("nsenter has ended with status 137")
        self.check_works(listener)
        (second,) = self.agents()
        self.assertNotEqual(first, second)
        self.assertNotIn("stopping ", self.netfwd.log())
        process = os.pidfd_open(second)
        self.addCleanup(os.close, process)
        self.netfwd.stop()
        self.assertTrue(select.select([process], [], [], PATIENCE)[0], "it still runs")

    def test_one_that_cannot_run_is_said(self):
        self.netfwd.stop()
        self.agent_config = lambda: "{transport: command, command: [/nonexistent]}"
        self.start_netfwd()
        self.netfwd.wait_log("/nonexistent cannot be started: No such file")


class Serial(AgentCase):
    name = "agent-serial"

    def prepare(self):
        self.line = Line(self.path)

    def agent_arguments(self):
        return [f"--serial={self.line.device}"]

    def agent_config(self):
        return f"{{transport: serial, path: {self.path}}}"

    def flood(self, listener):
        """A connection that both ends fill, so that whoever is killed is in a frame."""
        wait_reachable(PORT)
        pair = Pair(listener, PORT)
        for sock in (pair.client, pair.guest):
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                while True:
                    sock.send(b"stale" * 10000)
        return pair

    def test_either_end_may_be_killed_in_the_middle_of_a_frame(self):
        listener = self.listen()
        for _ in range(3):
            pair = self.flood(listener)
            self.agent.kill()
            self.start_agent()
            self.check_works(listener)
            pair.close()

            pair = self.flood(listener)
            self.netfwd.kill()
            self.start_netfwd()
            self.check_works(listener)
            pair.close()


class Stdio(unittest.TestCase):
    """The agent as somebody's child."""

    def test_it_answers_on_standard_output_and_ends_with_its_input(self):
        agent = subprocess.Popen([harness.Agent.binary(), "--stdio"], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
        settings = struct.pack(">I", 0)[1:] + b"\4\0\0\0\0\0"
        agent.stdin.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
        agent.stdin.flush()
        self.assertEqual(agent.stdout.read(9)[3:9], b"\4\0\0\0\0\0")  # its SETTINGS
        agent.stdin.close()
        self.assertEqual(agent.wait(PATIENCE), 0)
        agent.stdout.close()

    def test_privileges_are_given_up(self):
        agent = harness.Agent(None, f"--unix={harness.new_path('sock')}")
        self.addCleanup(agent.stop)
        status = pathlib.Path(f"/proc/{agent.pid}/status").read_text()
        for field in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertIn(f"{field}:\t0000000000000000\n", status)
        self.assertIn("NoNewPrivs:\t1\n", status)


if __name__ == "__main__":
    harness.main()
