#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   host                                              guest, in QEMU or User-Mode Linux
#   client ── 127.0.0.1:P ── netfwd ══ eth0 ═════════ sshd ─────── 127.0.0.1:P, /tmp/guest.sock
#                            netfwd ══ vsock port 22 ═ netfwd-agent ══ sshd
"""A virtual machine with OpenSSH's server and our key: ports, sockets, and no agent needed."""
import json
import os
import pathlib
import socket
import subprocess
import sys
import unittest

import paths  # noqa: F401
import harness
import sshd
from serving import Server, greet_then_echo, receive_all

PATIENCE = harness.BOOT_TIMEOUT
PORT = 8080
BULK = bytes(range(256)) * 4096  # 1 MiB, through an emulated processor

# On the guest's loopback: TCP and a UNIX socket that greet first, UDP that answers.
SERVERS = f"""
import socket, threading
def greet(c):
    c.sendall(b"hello\\n")
    while part := c.recv(65536):
        c.sendall(part)
    c.sendall(b"bye\\n")
    c.close()
def serve(s):
    while True:
        threading.Thread(target=greet, args=[s.accept()[0]], daemon=True).start()
u = socket.socket(socket.AF_UNIX)
u.bind("/tmp/guest.sock")
u.listen()
for s in u, socket.create_server(("127.0.0.1", {PORT})):
    threading.Thread(target=serve, args=[s], daemon=True).start()
d = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
d.bind(("127.0.0.1", {PORT}))
print("ready", flush=True)
while True:
    data, sender = d.recvfrom(65536)
    d.sendto(data.upper(), sender)
"""


def write(suffix, text):
    path = pathlib.Path(harness.new_path(suffix))
    path.write_text(text)
    return path


def public(key):
    return pathlib.Path(f"{key}.pub").read_text().strip()


def start_servers(guest):
    guest.output(f"cat >/tmp/servers.py <<'END'\n{SERVERS}END\n"
                 "python3 /tmp/servers.py </dev/null >/tmp/servers.log 2>&1 &")
    guest.output("until grep -q ready /tmp/servers.log; do sleep 0.1; done")


def use_state_directory(case):
    os.environ["XDG_STATE_HOME"] = str(harness.new_path("state"))
    case.addClassCleanup(os.environ.pop, "XDG_STATE_HOME")


def connect(to):
    if isinstance(to, int):
        return socket.create_connection(("127.0.0.1", to), PATIENCE)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE)
    client.connect(str(to))
    return client


class Qemu(unittest.TestCase):
    """One boot. Nothing of netfwd is in it but what netfwd brings along."""

    CONFIG = """\
ssh: {{user: root, identityFile: {key}}}
agent: {{transport: ssh}}
portForwards:
  - guestSocket: /tmp/guest.sock
    hostSocket: {host_socket}
  - guestSocket: /tmp/to-host.sock
    hostSocket: {back_socket}
    reverse: true
  - guestPort: 7100
    hostPort: {back_port}
    reverse: true
    proto: tcp
"""

    @classmethod
    def setUpClass(cls):
        use_state_directory(cls)
        key = sshd.make_key()
        cls.host_socket = harness.new_path("sock")
        cls.control = harness.new_path("sock")
        back, back_unix = Server(greet_then_echo), Server(greet_then_echo, harness.new_path("sock"))
        cls.addClassCleanup(back.close)
        cls.addClassCleanup(back_unix.close)
        config = write("yaml", cls.CONFIG.format(
            key=key, host_socket=cls.host_socket, back_socket=back_unix.address,
            back_port=back.address.split(":")[1]))
        cls.guest = harness.WrappedGuest(f"--config={config}", f"--control={cls.control}", "-v",
                                         boot="netfwd.agent=off")
        cls.addClassCleanup(cls.guest.kill)
        cls.netfwd = cls.guest.netfwd
        # a session that is lost leaves its socket behind, and the next one needs it
        cls.guest.output(f"ssh-server '{public(key)}' 'StreamLocalBindUnlink yes'")
        start_servers(cls.guest)
        cls.netfwd.wait_log("by ssh is up", PATIENCE)

    def forwarded(self, proto):
        self.netfwd.wait_log(f"forwarding protocol={proto} host=127.0.0.1:{PORT}", PATIENCE)

    def check_greeting(self, to):
        """It speaks first, echoes, and says goodbye once nothing more comes."""
        with connect(to) as client:
            self.assertEqual(client.recv(6, socket.MSG_WAITALL), b"hello\n")
            client.sendall(b"ping")
            self.assertEqual(client.recv(4, socket.MSG_WAITALL), b"ping")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(client), b"bye\n")

    def test_a_port_of_its_loopback_appears_and_bytes_arrive_whole(self):
        self.forwarded("tcp")
        self.check_greeting(PORT)
        with connect(PORT) as client:
            client.recv(6, socket.MSG_WAITALL)
            client.sendall(BULK)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(client), BULK + b"bye\n")

    def test_a_udp_port_of_its_loopback_appears(self):
        self.forwarded("udp")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.connect(("127.0.0.1", PORT))
            client.send(b"ping")
            self.assertEqual(client.recv(16), b"PING")

    def test_tcp_takes_ssh_and_udp_the_agent_that_was_brought_along(self):
        self.forwarded("tcp")
        self.forwarded("udp")
        status = json.loads(subprocess.run(
            [harness.Netfwd.binary(), "status", "--json", f"--control={self.control}"],
            stdout=subprocess.PIPE, check=True, timeout=PATIENCE).stdout)
        vias = {f["proto"]: f["via"] for f in status["forwards"] if f["host"].endswith(f":{PORT}")}
        self.assertEqual(vias, {"tcp": "ssh", "udp": "grpc"})

    def test_its_unix_socket_is_reached(self):
        self.check_greeting(self.host_socket)

    @sshd.ours_only
    def test_its_programs_reach_the_host_by_a_port_and_a_socket(self):
        for at in ("TCP4:127.0.0.1:7100", "UNIX-CONNECT:/tmp/to-host.sock"):
            with self.subTest(at):
                self.guest.output(f"until echo | socat -t 60 - {at} 2>/dev/null; do sleep 0.1; done",
                                  PATIENCE)  # it may not be there yet
                self.assertEqual(self.guest.output(f"echo ping | socat -t 60 - {at}"),
                                 "hello\nping\nbye\n")


class Vsock(unittest.TestCase):
    """A boot for each test, in User-Mode Linux: its kernel runs at the machine's own speed."""

    CONFIG = """\
ssh: {{user: root, identityFile: {key}, overVsock: true}}
agent: {{transport: ssh}}
"""

    @classmethod
    def setUpClass(cls):
        if harness.Agent.is_sanitized():
            raise unittest.SkipTest("no address sanitizer in User-Mode Linux")
        use_state_directory(cls)

    def boot(self, prepare):
        """prepare: a script for the guest, run before netfwd's first attempt is over."""
        self.key = sshd.make_key()
        nic, vsock, self.uds = (harness.new_path(name) for name in ("nic", "vsock", "uds"))
        config = write("yaml", self.CONFIG.format(key=self.key))
        self.netfwd = harness.Netfwd.start(
            f"--config={config}", f"--vhost-user={nic}", f"--vsock={vsock}",
            f"--vsock-uds={self.uds}", "-v")
        self.addCleanup(self.netfwd.stop)
        self.guest = harness.UmlGuest((nic, harness.UmlGuest.NET), (vsock, harness.UmlGuest.VSOCK),
                                      boot="netfwd.agent=off")
        self.addCleanup(self.guest.kill)
        self.guest.output(prepare.format(key=public(self.key)))
        start_servers(self.guest)
        self.netfwd.wait_log("by ssh is up", PATIENCE)

    def check(self):
        self.netfwd.wait_log(f"forwarding protocol=tcp host=127.0.0.1:{PORT}", PATIENCE)
        with connect(PORT) as client:
            client.recv(6, socket.MSG_WAITALL)
            client.sendall(BULK)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(client), BULK + b"bye\n")

    def test_port_22_of_its_vsock_is_taken_and_an_unmodified_ssh_finds_it_as_well(self):
        # sshd listens on the loopback alone: there is no other way to it
        self.boot("netfwd-agent --vsock=77 --vsock-ssh </dev/null >/tmp/agent.log 2>&1 &\n"
                  "ssh-server '{key}' 'ListenAddress 127.0.0.1'")
        self.netfwd.wait_log("logged in at port 22 of the guest's vsock", PATIENCE)
        self.check()
        proxy = write("py", PROXY)
        done = subprocess.run(
            ["timeout", str(PATIENCE), "ssh", "-F", "none", "-i", self.key, "-o", "BatchMode=yes",
             "-o", f"ProxyCommand={sys.executable} {proxy} {self.uds} 22",
             "-o", "ProxyUseFdpass=yes", "-o", "StrictHostKeyChecking=no",
             "-o", "UserKnownHostsFile=/dev/null", "root@guest", "cat /proc/net/tcp"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        self.assertIn(f"0100007F:{PORT:04X}", done.stdout, done.stderr)

    def test_where_nobody_is_at_port_22_connections_go_by_tcp_until_somebody_is(self):
        self.boot("ssh-server '{key}'")
        self.check()
        self.guest.output("netfwd-agent --vsock=77 --vsock-ssh </dev/null >/tmp/agent.log 2>&1 &\n"
                          "killall -9 sshd\n"
                          f"until ssh-server '{public(self.key)}'; do sleep 0.1; done")
        self.netfwd.wait_log("an SSH server answers at port 22 of the guest's vsock now", PATIENCE)
        self.check()
        self.assertEqual(self.netfwd.log().count("connections go by TCP"), 1)


# Hands ssh a connection to a port of the guest, as ssh_config(5) has it for ProxyUseFdpass.
PROXY = f"""\
import array, socket, sys
sys.path.insert(0, {str(harness.ROOT / 'tests/support')!r})
import peer
s = peer.connect_hybrid(sys.argv[1], int(sys.argv[2]))
socket.socket(fileno=1).sendmsg(
    [b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [s.fileno()]))])
"""


if __name__ == "__main__":
    harness.main()
