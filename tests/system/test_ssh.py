#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   client ── 127.0.0.1:P ── ssh_forward ══ SSH ══ sshd ── 127.0.0.1:Q  (sockets of this test)
"""Connections into the guest through its own SSH server, OpenSSH's."""
import concurrent.futures
import contextlib
import hashlib
import os
import pathlib
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest

import paths  # noqa: F401
import harness
import peer
import sshd as ssh
from serving import MIB, Server, echo, greet_then_echo, receive_all, receive_digest

PATIENCE = ssh.PATIENCE


def pattern(size):
    """Bytes that no shifted or repeated piece is mistaken for."""
    return b"".join(struct.pack(">Q", n) for n in range(size // 8))


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def is_reset(connection):
    try:
        connection.recv(1)
    except ConnectionResetError:
        return True
    return False


def is_refused(forward):
    """Accepted, and reset once the guest has refused it."""
    try:
        with forward.connect() as client:
            return is_reset(client)
    except ConnectionResetError:
        return True


class SshCase(unittest.TestCase):
    def sshd(self, *options, **how):
        sshd = ssh.Sshd(*options, **how)
        self.addCleanup(lambda: sshd.program.alive() and sshd.kill())
        return sshd

    def server(self, serve, **how):
        server = Server(serve, **how)
        self.addCleanup(server.close)
        return server

    def forward(self, *arguments, **how):
        forward = ssh.Forward(*arguments, **how)
        self.addCleanup(forward.stop)
        return forward

    @staticmethod
    def wait_for_both_sessions(sshd):
        harness.until(lambda: sshd.program.log().count("Accepted publickey") == 2, PATIENCE,
                      "the second session")

    def open(self, serve, *options, **how):
        """(sshd, forward): one that is up."""
        sshd = self.sshd(*options)
        forward = self.forward(self.server(serve).address, sshd, **how)
        forward.wait_state("up")
        return sshd, forward


class Connections(SshCase):
    def test_a_server_that_speaks_first_is_heard_and_each_direction_ends_by_itself(self):
        _, forward = self.open(greet_then_echo)
        with forward.connect() as client:
            self.assertEqual(client.recv(6), b"hello\n")
            client.sendall(b"one")
            self.assertEqual(client.recv(3), b"one")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(client), b"bye\n")

    def test_a_client_goes_on_sending_after_the_server_has_ended_its_direction(self):
        got = []

        def end_first(connection):
            connection.sendall(b"that is all")
            connection.shutdown(socket.SHUT_WR)
            got.append(receive_all(connection))

        _, forward = self.open(end_first)
        with forward.connect() as client:
            self.assertEqual(receive_all(client), b"that is all")
            client.sendall(pattern(MIB))
        harness.until(lambda: got, PATIENCE, "the server's end")
        self.assertEqual(got[0], pattern(MIB))

    def test_a_port_where_nobody_listens_resets_the_client(self):
        forward = self.forward(f"127.0.0.1:{harness.free_port()}", self.sshd())
        forward.wait_state("up")
        self.assertTrue(is_refused(forward))

    def test_a_reset_of_the_client_ends_the_connection_in_the_guest(self):
        ended = threading.Event()

        def wait_for_end(connection):
            connection.sendall(b"x")
            with contextlib.suppress(ConnectionError):
                receive_all(connection)
            ended.set()

        _, forward = self.open(wait_for_end)
        client = forward.connect()
        client.recv(1)
        reset(client)
        self.assertTrue(ended.wait(PATIENCE))

    def test_who_writes_to_a_server_that_was_reset_is_reset(self):
        _, forward = self.open(lambda connection: (connection.recv(1), reset(connection)))
        with forward.connect() as client, self.assertRaises(ConnectionError):
            client.sendall(b"x")
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end:
                client.sendall(b"more")
                time.sleep(0.01)

    def test_bytes_arrive_whole_in_both_directions_across_many_key_exchanges(self):
        data = pattern(64 * MIB)

        def both(connection):
            sender = threading.Thread(target=lambda: (connection.sendall(data),
                                                      connection.shutdown(socket.SHUT_WR)))
            sender.start()
            got.append(receive_digest(connection))
            sender.join()

        got = []
        sshd, forward = self.open(both, "RekeyLimit 4M")
        with forward.connect() as client, concurrent.futures.ThreadPoolExecutor() as threads:
            receiving = threads.submit(receive_digest, client)
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            wanted = b"%d %s" % (len(data), hashlib.sha256(data).hexdigest().encode())
            self.assertEqual(receiving.result(60), wanted)
        harness.until(lambda: got, PATIENCE, "the server's digest")
        self.assertEqual(got[0], wanted)
        self.assertGreater(sshd.program.log().count("rekeying in progress") +
                           sshd.program.log().count("SSH2_MSG_KEXINIT sent"), 8)

    def test_a_thousand_connections_leave_nothing_behind(self):
        sshd, forward = self.open(greet_then_echo)

        def one(_):
            with forward.connect() as client:
                client.sendall(b"x")
                client.shutdown(socket.SHUT_WR)
                return receive_all(client)

        self.assertEqual(one(0), b"hello\nxbye\n")
        harness.until(lambda: forward.lines("netfwd: debug: tcp")[-1:], PATIENCE, "the end of it")
        self.wait_for_both_sessions(sshd)
        before = len(os.listdir(f"/proc/{forward.pid}/fd"))
        with concurrent.futures.ThreadPoolExecutor(32) as threads:
            for answer in threads.map(one, range(1000)):
                self.assertEqual(answer, b"hello\nxbye\n")
        harness.until(lambda: len(os.listdir(f"/proc/{forward.pid}/fd")) <= before, PATIENCE,
                      "its descriptors to be closed")

    @ssh.ours_only
    def test_a_connection_that_nobody_answers_holds_up_no_other(self):
        """The guest's firewall drops it: sshd waits for minutes."""
        # a listener whose backlog is full does not answer either
        hole = socket.socket()
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(hole.getsockname())
        sshd = self.sshd()
        slow = self.forward(f"127.0.0.1:{hole.getsockname()[1]}", sshd)
        slow.wait_state("up")
        clients = [slow.connect() for _ in range(8)]
        harness.until(lambda: sshd.program.log().count("server_request_direct_tcpip") >= 8, PATIENCE,
                      "all of them to be asked for")
        for client in clients + fillers + [hole]:
            client.close()

    def test_a_reader_that_stops_holds_up_nobody_else(self):
        def flood(connection):
            while True:
                connection.sendall(bytes(MIB))

        sshd, forward = self.open(flood)
        with forward.connect() as slow:
            slow.recv(1)
            with forward.connect() as other, forward.connect() as third:
                for client in (other, third):
                    left = 64 * MIB
                    while left > 0:
                        left -= len(client.recv(MIB))
            self.assertTrue(slow.recv(1))
        self.assertTrue(sshd.program.alive())

    def test_a_unix_socket_of_the_guest_is_reached(self):
        server = self.server(greet_then_echo, path=harness.new_path("sock"))
        forward = self.forward(server.address, self.sshd())
        with forward.connect() as client:
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(client), b"hello\nbye\n")


class Reverse(SshCase):
    def test_a_port_of_the_guest_leads_to_the_host_and_comes_back_with_sshd(self):
        server, guest_port = self.server(greet_then_echo), harness.free_port()
        sshd = self.sshd()
        forward = self.forward(None, sshd, reverse=f"127.0.0.1:{guest_port}", back=server.address)
        for _ in range(2):
            harness.until(lambda: forward.lines("reverse ")[-1:] == ["reverse 0"], PATIENCE,
                          "the port in the guest")
            with socket.create_connection(("127.0.0.1", guest_port), PATIENCE) as client:
                self.assertEqual(client.recv(6), b"hello\n")
                client.sendall(pattern(MIB))
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(receive_all(client), pattern(MIB) + b"bye\n")
            sshd.kill()
            harness.until(lambda: forward.lines("reverse ")[-1:] == ["reverse ECONNRESET"],
                          PATIENCE, "the loss")
            sshd.start()

    @ssh.ours_only
    def test_a_unix_socket_of_the_guest_leads_to_the_host(self):
        server, path = self.server(greet_then_echo), harness.new_path("sock")
        sshd = self.sshd("StreamLocalBindUnlink yes")
        forward = self.forward(None, sshd, reverse=path, back=server.address)
        for _ in range(2):
            harness.until(lambda: forward.lines("reverse ")[-1:] == ["reverse 0"], PATIENCE,
                          "the socket in the guest")
            clients = [socket.socket(socket.AF_UNIX) for _ in range(8)]
            for client in clients:
                client.settimeout(PATIENCE)
                client.connect(str(path))
            for client in clients:
                self.assertEqual(client.recv(6), b"hello\n")
                client.sendall(pattern(MIB // 8))
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(receive_all(client), pattern(MIB // 8) + b"bye\n")
                client.close()
            sshd.kill()
            harness.until(lambda: forward.lines("reverse ")[-1:] == ["reverse ECONNRESET"],
                          PATIENCE, "the loss")
            sshd.start()

    def test_a_port_that_is_taken_in_the_guest_is_told(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            forward = self.forward(None, self.sshd(), back="127.0.0.1:9",
                                   reverse=f"127.0.0.1:{taken.getsockname()[1]}")
            harness.until(lambda: forward.lines("reverse ") == ["reverse EADDRINUSE"], PATIENCE,
                          "the refusal")


class Faults(SshCase):
    def test_after_sshd_was_killed_in_transfers_clients_are_reset_and_its_return_is_noticed(self):
        sshd, forward = self.open(lambda connection: connection.sendall(bytes(1024 * MIB)))
        clients = [forward.connect() for _ in range(4)]
        for client in clients:
            client.recv(MIB)
        sshd.kill()
        for client in clients:
            with self.assertRaises(ConnectionResetError):
                while client.recv(MIB):
                    pass
            client.close()
        time.sleep(2)  # it is not there for a while: this is what is tested
        sshd.start()
        start = time.monotonic()
        with forward.connect() as client:
            self.assertTrue(client.recv(1))
        print(f"served {time.monotonic() - start:.2f} s after its return")

    def test_a_changed_key_is_an_error_that_says_what_to_do(self):
        sshd, forward = self.open(echo)
        self.assertEqual(forward.known.read_text().split()[:2], ["guest", "ssh-ed25519"])
        self.assertEqual(forward.known.stat().st_mode & 0o777, 0o600)
        sshd.kill()
        sshd.host_key = ssh.make_key()
        sshd.start()
        line = forward.wait_state("failed")
        self.assertIn("key has changed", line)
        self.assertIn(str(forward.known), line)
        self.assertTrue(is_refused(forward))
        # another kind of key is a change as well: it is what an attacker has
        sshd.kill()
        sshd.host_key = ssh.make_key(kind="ecdsa")
        sshd.start()
        self.forward("127.0.0.1:9", sshd, known=forward.known).wait_state("failed")

    def test_with_yes_only_known_keys_are_accepted_and_with_no_any(self):
        sshd = self.sshd()
        strict = self.forward("127.0.0.1:9", sshd, keys="yes")
        self.assertIn("hostKeyChecking is yes", strict.wait_state("failed"))
        public = pathlib.Path(f"{sshd.host_key}.pub").read_text()
        known = harness.new_path("known_hosts")
        known.write_text(f"# by hand\nother ssh-ed25519 AAAA\nguest {public.strip()}")
        self.forward("127.0.0.1:9", sshd, keys="yes", known=known).wait_state("up")
        self.forward("127.0.0.1:9", sshd, keys="no", known="/nowhere/at/all").wait_state("up")

    def test_a_key_that_sshd_does_not_know_is_told_and_works_once_it_does(self):
        sshd = self.sshd()
        other = ssh.make_key()
        forward = self.forward("127.0.0.1:9", sshd, identity=other)
        line = forward.wait_state("down")
        self.assertIn("does not let us in as root", line)
        sshd.allow(other)
        forward.wait_state("up")

    def test_a_key_with_a_passphrase_comes_from_the_agent(self):
        sshd = self.sshd()
        key, agent = ssh.make_key("secret"), harness.new_path("agent")
        sshd.allow(key)
        program = harness.Program("ssh-agent", ["ssh-agent", "-D", "-a", str(agent)])
        self.addCleanup(program.kill)
        harness.until(agent.exists, PATIENCE, "the agent")
        forward = self.forward("127.0.0.1:9", sshd, identity=key, agent=agent)
        forward.wait_state("down")
        subprocess.run(["ssh-keygen", "-q", "-p", "-P", "secret", "-N", "", "-f", key], check=True,
                       timeout=PATIENCE)
        subprocess.run(["ssh-add", "-q", str(key)], check=True, timeout=PATIENCE,
                       env={**os.environ, "SSH_AUTH_SOCK": str(agent)})
        subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", key], check=True,
                       timeout=PATIENCE)
        forward.wait_state("up")

    def test_where_sshd_allows_no_forwarding_connections_are_refused_and_it_is_told(self):
        _, forward = self.open(echo, "AllowTcpForwarding no")
        self.assertTrue(is_refused(forward))
        forward.wait_log("AllowTcpForwarding")

    @ssh.ours_only
    def test_a_server_of_few_sessions_is_not_asked_for_more(self):
        sshd, forward = self.open(echo, "MaxStartups 1", "MaxSessions 0")
        clients = [forward.connect() for _ in range(20)]
        for client in clients:
            client.sendall(b"x")
            self.assertEqual(client.recv(1), b"x")
            client.close()
            time.sleep(0.05)  # the second session is to come meanwhile
        self.wait_for_both_sessions(sshd)
        self.assertFalse("drop connection" in sshd.program.log())

    def test_a_server_that_stalls_after_its_banner_is_left(self):
        silent = self.server(lambda connection: (connection.sendall(b"SSH-2.0-Silent\r\n"),
                                                 receive_all(connection)))
        forward = self.forward("127.0.0.1:9", server=silent.address, identity=ssh.make_key())
        self.assertIn("it stopped after its banner", forward.wait_state("down"))

    def test_a_server_that_stops_answering_is_left(self):
        sshd, forward = self.open(echo, keepalive=1)
        with forward.connect() as client:
            client.sendall(b"x")
            client.recv(1)
            sshd.signal_sessions(signal.SIGSTOP)
            self.assertTrue(is_reset(client))
        sshd.signal_sessions(signal.SIGCONT)
        forward.wait_state("up")


class Cut(SshCase):
    """sshd is in another namespace, behind a cable that is pulled."""

    def setUp(self):
        self.guest = harness.NamespaceGuest("cut")
        self.addCleanup(self.guest.remove)
        for command in (["link", "add", "veth0", "type", "veth", "peer", "name", "eth0",
                         "netns", self.guest.name],
                        ["addr", "add", "10.9.0.1/24", "dev", "veth0"],
                        ["link", "set", "veth0", "up"]):
            subprocess.run(["ip", *command], check=True, timeout=PATIENCE)
        self.guest.output("ip addr add 10.9.0.2/24 dev eth0; ip link set eth0 up")
        self.guest.start_peer(7000)
        sshd = self.sshd(guest=self.guest, address="10.9.0.2", port=2222)
        self.tunnel = self.forward("127.0.0.1:7000", sshd)
        self.tunnel.wait_state("up")

    def pull(self):
        self.guest.output("ip link set eth0 down")

    def plug(self):
        self.guest.output("ip link set eth0 up")

    def echo(self):
        client = self.tunnel.connect()
        client.sendall(b"echo\nx")
        self.assertEqual(client.recv(1), b"x")
        return client

    def test_a_transfer_survives_five_seconds_without_network(self):
        data = pattern(8 * MIB)
        with self.echo() as client, concurrent.futures.ThreadPoolExecutor() as threads:
            self.pull()
            receiving = threads.submit(receive_all, client)
            sending = threads.submit(lambda: (client.sendall(data),
                                              client.shutdown(socket.SHUT_WR)))
            time.sleep(5)  # what is tested
            self.plug()
            self.assertEqual(receiving.result(60), data)
            sending.result()

    @unittest.skipUnless(harness.SOAK, "./dev soak: takes minutes")
    def test_after_ninety_seconds_without_network_connections_were_reset_and_new_ones_work(self):
        with self.echo() as client:
            self.pull()
            client.settimeout(90)
            self.assertTrue(is_reset(client))
            time.sleep(15)  # 90 in all: what is tested
        self.plug()
        self.tunnel.wait_state("up")
        self.echo().close()


class Vsock(SshCase):
    """A UNIX socket stands in for the guest's vsock port 22."""

    def bridge(self, sshd, path=None):
        def join(connection):
            with socket.create_connection((sshd.address, sshd.port), PATIENCE) as server:
                def back():
                    with contextlib.suppress(OSError):
                        while part := server.recv(MIB):
                            connection.sendall(part)
                        connection.shutdown(socket.SHUT_WR)

                threading.Thread(target=back, daemon=True).start()
                with contextlib.suppress(OSError):
                    while part := connection.recv(MIB):
                        server.sendall(part)
        return self.server(join, path=path or harness.new_path("sock"))

    def test_it_is_taken_where_it_leads_to_a_server(self):
        sshd, server = self.sshd(), self.server(greet_then_echo)
        bridge = self.bridge(sshd)
        forward = self.forward(server.address, sshd, unix=bridge.address)
        forward.wait_log(f"logged in at {bridge.address}")
        with forward.connect() as client:
            self.assertEqual(client.recv(6), b"hello\n")

    def test_tcp_is_taken_where_it_is_accepted_and_dropped_which_is_said_once(self):
        sshd, server = self.sshd(), self.server(greet_then_echo)
        broken = self.server(lambda connection: None, path=harness.new_path("sock"))
        forward = self.forward(server.address, sshd, unix=broken.address)
        forward.wait_state("up")
        with forward.connect() as client:
            self.assertEqual(client.recv(6), b"hello\n")
        sshd.kill()
        sshd.start()
        with forward.connect() as client:
            self.assertEqual(client.recv(6), b"hello\n")
        self.assertEqual(forward.log().count("connections go by TCP"), 1)

    def by_tcp(self):
        """(sshd, forward, path): nobody is at the path yet."""
        sshd, path = self.sshd(), harness.new_path("sock")
        forward = self.forward(self.server(greet_then_echo).address, sshd, unix=path)
        self.wait_for_both_sessions(sshd)
        forward.wait_log("connections go by TCP")
        return sshd, forward, path

    def test_a_server_that_comes_later_is_taken_after_a_loss(self):
        sshd, forward, path = self.by_tcp()
        self.bridge(sshd, path)
        sshd.kill()
        sshd.start()
        forward.wait_log(f"an SSH server answers at {path} now", PATIENCE)
        with forward.connect() as client:
            self.assertEqual(client.recv(6), b"hello\n")
        self.assertEqual(forward.log().count("connections go by TCP"), 1)

    def test_who_comes_later_and_says_nothing_is_left_for_tcp_without_a_word(self):
        sshd, forward, path = self.by_tcp()
        self.server(receive_all, path=path)
        sshd.kill()
        sshd.start()
        harness.until(lambda: "Accepted publickey" in sshd.program.log(), PATIENCE, "a login")
        with forward.connect() as client:
            self.assertEqual(client.recv(6), b"hello\n")
        self.assertEqual(forward.log().count("connections go by TCP"), 1)
        self.assertNotIn("an SSH server answers", forward.log())


class Program(SshCase):
    """netfwd itself, which reaches the guest's sshd by the guest's NIC."""

    CONFIG = """\
portForwardTypes: {{tcp: ssh, udp: none}}
ssh:
  user: root
  identityFile: {key}
portForwards:
  - guestSocket: {guest_socket}
    hostSocket: {host_socket}
  - guestPort: 7100
    hostPort: {back}
    reverse: true
    proto: tcp
"""

    def setUp(self):
        self.guest = harness.NamespaceGuest("ssh")
        self.addCleanup(self.guest.remove)
        self.sshd = self.sshd(guest=self.guest, address="0.0.0.0", port=22)
        state = pathlib.Path(harness.new_path("state"))
        os.environ["XDG_STATE_HOME"] = str(state)
        self.addCleanup(os.environ.pop, "XDG_STATE_HOME")
        self.host_socket = harness.new_path("sock")
        unix = self.server(greet_then_echo, path=harness.new_path("sock"))
        self.back = self.server(greet_then_echo)
        config = harness.new_path("yaml")
        config.write_text(self.CONFIG.format(
            key=self.sshd.key, guest_socket=unix.address, host_socket=self.host_socket,
            back=self.back.address.split(":")[1]))
        self.netfwd = harness.Netfwd.start(f"--netns={self.guest.name}", f"--config={config}",
                                           "-vv")
        self.addCleanup(self.netfwd.stop)
        self.netfwd.wait_log("by ssh is up", PATIENCE)
        self.known = next(state.glob("netfwd/*.known_hosts"))

    def test_what_the_guest_serves_on_its_loopback_and_its_sockets_is_on_the_host(self):
        self.guest.start_peer(7000)
        harness.until(lambda: self.is_open(7000), PATIENCE, "the guest's port")
        result = peer.run_check("both_ways", "127.0.0.1", 7000, 8 * MIB)
        self.assertEqual(result["answer"], result["expected"])
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.host_socket))
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(client), b"hello\nbye\n")
        self.assertEqual(self.known.read_text().split()[0], "guest")
        # in the guest, to the host
        self.assertIn("hello", self.guest.output("nc 127.0.0.1 7100 </dev/null"))
        self.assertFalse("failed" in self.netfwd.log())
        # and again, after sshd was gone
        self.sshd.kill()
        self.netfwd.wait_log("by ssh is connecting", PATIENCE)
        self.sshd.start()
        harness.until(lambda: self.is_open(7000), PATIENCE, "the guest's port")

    @staticmethod
    def is_open(port):
        try:
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                client.sendall(b"echo\nx")
                return client.recv(1) == b"x"
        except OSError:
            return False


if __name__ == "__main__":
    harness.main()
