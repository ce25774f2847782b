# SPDX-License-Identifier: Apache-2.0
"""Ways past the guest's NIC: each starts a tunnel into a namespace guest, to a server on its
loopback, over a transport that all of a group share.

"unix" is a UNIX socket that both ends reach. "veth" is TCP between the two kernels' ends of a
veth. "tcp" is a connection of TCP to a port of the guest, through a NIC that netfwd serves;
the plain relay over that is netfwd's own forward.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys

import harness
from contenders import FORWARD_PORT, GUEST_PORT, NS, netfwd_program, program, wait
from measure import Path, is_listening

AGENT_PORT = 2222
SSH_PORT, SSH_HOST_PORT = 22, 5322
VETH_HOST, VETH_GUEST = "10.9.0.1", "10.9.0.2"
CIPHER = "aes128-gcm@openssh.com"
BUFFER = 262144  # bytes: socat's own 8192 would measure system calls

# inetd for a UNIX socket: one sshd for each connection.
SERVE = """
import socket, subprocess, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
while True:
    c, _ = s.accept()
    subprocess.Popen(sys.argv[2:], stdin=c, stdout=c)
    c.close()
"""
# Hands a connected descriptor to ssh (ProxyUseFdpass).
PASS = """
import array, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
out = socket.socket(fileno=1)
out.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [s.fileno()]))])
"""


@contextlib.contextmanager
def guest(transport):
    g = harness.NamespaceGuest(NS)
    try:
        if transport == "veth":
            add_veth()
        yield g, ("nsenter", f"--net=/run/netns/{NS}")
    finally:
        if transport == "veth":  # with the namespace it would go, but some time after it
            subprocess.run(["ip", "link", "delete", "veth0"], check=False, timeout=10)
        g.remove()


def add_veth():
    for command in (f"link add veth0 type veth peer name veth0 netns {NS}",
                    f"address add {VETH_HOST}/30 dev veth0", "link set veth0 up",
                    f"-n {NS} address add {VETH_GUEST}/30 dev veth0",
                    f"-n {NS} link set veth0 up"):
        subprocess.run(["ip", *command.split()], check=True, timeout=10)


def path(enter, *forwarders, address="127.0.0.1"):
    """The server is on the guest's loopback alone."""
    return [Path("in", address, FORWARD_PORT, server=enter, server_address="127.0.0.1",
                 server_port=GUEST_PORT, forwarder=tuple(f.pid for f in forwarders))]


def write(suffix, text):
    file = harness.new_path(suffix)
    file.write_text(text)
    file.chmod(0o600)
    return file


@contextlib.contextmanager
def agent(g, *arguments):
    a = harness.Agent(g, *arguments)
    try:
        yield a
    finally:
        a.kill()


@contextlib.contextmanager
def netfwd(transport):
    """netfwd and its agent."""
    with guest(transport) as (g, enter):
        if transport == "unix":
            at = harness.new_path("sock")
            arguments, config = [f"--unix={at}"], f"transport: unix, path: {at}"
        else:
            token = write("token", "perf-perf-perf-perf-perf-perf-perf\n")
            arguments = [f"--tcp=0.0.0.0:{AGENT_PORT}", f"--token-file={token}"]
            config = f"transport: tcp, port: {AGENT_PORT}, tokenFile: {token}"
            if transport == "veth":
                arguments.append(f"--from={VETH_HOST}")
                config += f", host: {VETH_GUEST}"
        file = write("yaml", f"agent: {{{config}}}\nportForwardTypes: {{any: grpc}}\n"
                     f"portForwards:\n- {{guestPort: {GUEST_PORT}, hostPort: {FORWARD_PORT}, "
                     "static: true}\n")
        with agent(g, *arguments) as a, netfwd_program(
                f"--config={file}", f"--netns={NS}") as p:
            harness.until(lambda: is_reached(enter), 20, "the tunnel")
            yield path(enter, p, a)


def is_reached(enter):
    """A connection that the tunnel carries: it may wait a moment for its other end."""
    with harness_server(enter), contextlib.suppress(OSError), \
            socket.create_connection(("127.0.0.1", FORWARD_PORT), 2) as s:
        return s.recv(1) == b"x"
    return False


@contextlib.contextmanager
def harness_server(enter):
    """Says x to one client."""
    serve = ("import socket; s = socket.create_server(('127.0.0.1', %d)); "
             "s.accept()[0].send(b'x')" % GUEST_PORT)
    with program("probe", *enter, sys.executable, "-c", serve) as p:
        harness.until(lambda: is_listening(p.pid, GUEST_PORT), 10, "the probe")
        yield


def sshd_command(key):
    """A server for one connection, on its standard input."""
    config = write("sshd", f"HostKey {key}\nAuthorizedKeysFile {key}.pub\nStrictModes no\n"
                   f"Ciphers {CIPHER}\nPidFile none\nUsePAM no\nPermitRootLogin yes\n")
    os.makedirs("/run/sshd", exist_ok=True)
    return shutil.which("sshd") or "/usr/sbin/sshd", "-i", "-f", str(config), "-e"


@contextlib.contextmanager
def ssh(transport):
    """OpenSSH's ssh -L. Its server's part is a child of who accepts."""
    key = harness.new_path("key")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True,
                   timeout=10)
    sshd = sshd_command(key)
    with guest(transport) as (_, enter), contextlib.ExitStack() as stack:
        at = harness.new_path("sock")
        if transport == "unix":
            server = stack.enter_context(program("sshd", *enter, sys.executable, "-c", SERVE,
                                                 str(at), *sshd))
            harness.until(at.exists, 10, "sshd's socket")
            reach = [f"-oProxyCommand={sys.executable} -c '{PASS}' {at}",
                     "-oProxyUseFdpass=yes", "guest"]
        else:
            server = stack.enter_context(program(
                "sshd", *enter, sshd[0], "-D", f"-oPort={SSH_PORT}", "-oListenAddress=0.0.0.0",
                *sshd[2:]))
            harness.until(lambda: is_listening(server.pid, SSH_PORT), 10, "sshd")
            reach = ["-p", str(SSH_PORT), VETH_GUEST]
        if transport == "tcp":
            p = stack.enter_context(netfwd_program(
                f"--netns={NS}", f"--forward=tcp:127.0.0.1:{SSH_HOST_PORT}:{SSH_PORT}"))
            reach = ["-p", str(SSH_HOST_PORT), "127.0.0.1"]
        client = stack.enter_context(program(
            "ssh", "ssh", "-F", "none", "-N", "-i", str(key), "-o", f"Ciphers={CIPHER}",
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "LogLevel=ERROR", "-L",
            f"127.0.0.1:{FORWARD_PORT}:127.0.0.1:{GUEST_PORT}", *reach))
        wait(client, lambda: is_listening(client.pid, FORWARD_PORT), "ssh ready")
        yield path(enter, client, server, *([p] if transport == "tcp" else []))


@contextlib.contextmanager
def sshd_of(enter, key, address, port):
    """A server that waits for connections, in a guest or not."""
    sshd = sshd_command(key)
    with program("sshd", *enter, sshd[0], "-D", f"-oPort={port}",
                 f"-oListenAddress={address}", *sshd[2:]) as server:
        harness.until(lambda: is_listening(server.pid, port), 10, "sshd")
        yield server


def make_key():
    key = harness.new_path("key")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True,
                   timeout=10)
    return key


def ssh_config(key, *lines):
    return write("yaml", "\n".join([
        "portForwardTypes: {tcp: ssh, udp: none}", "ssh:", "  user: root",
        f"  identityFile: {key}", "  hostKeyChecking: no", *lines, "portForwards:",
        f"- {{guestPort: {GUEST_PORT}, hostPort: {FORWARD_PORT}, static: true}}", ""]))


@contextlib.contextmanager
def netfwd_ssh(transport):
    """netfwd by the guest's sshd: over the guest's NIC, or to one on the host's loopback."""
    key = make_key()
    with contextlib.ExitStack() as stack:
        if transport == "tcp":
            _, enter = stack.enter_context(guest(transport))
            where, link = [], [f"--netns={NS}"]
            server = stack.enter_context(sshd_of(enter, key, "0.0.0.0", SSH_PORT))
        else:
            enter, link = (), [f"--stream={harness.new_path('sock')}"]
            where = ["  host: 127.0.0.1", f"  port: {SSH_HOST_PORT}"]
            server = stack.enter_context(sshd_of(enter, key, "127.0.0.1", SSH_HOST_PORT))
        p = stack.enter_context(netfwd_program(f"--config={ssh_config(key, *where)}", *link))
        harness.until(lambda: is_reached(enter), 20, "the tunnel")
        yield path(enter, p, server)


@contextlib.contextmanager
def ssh_loopback():
    """ssh -L to a server on the host's loopback."""
    key = make_key()
    with sshd_of((), key, "127.0.0.1", SSH_HOST_PORT) as server, program(
            "ssh", "ssh", "-F", "none", "-N", "-i", str(key), "-o", f"Ciphers={CIPHER}",
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "LogLevel=ERROR", "-L",
            f"127.0.0.1:{FORWARD_PORT}:127.0.0.1:{GUEST_PORT}", "-p", str(SSH_HOST_PORT),
            "127.0.0.1") as client:
        wait(client, lambda: is_listening(client.pid, FORWARD_PORT), "ssh ready")
        yield path((), client, server)


@contextlib.contextmanager
def relay(transport):
    """Copies bytes and knows nothing: two socats over the UNIX socket and the veth; over the
    NIC netfwd's forward to the server's port, and a socat from there to the guest's
    loopback."""
    listen = f"TCP-LISTEN:{FORWARD_PORT},bind=127.0.0.1,fork,reuseaddr"
    with guest(transport) as (_, enter), contextlib.ExitStack() as stack:
        at = harness.new_path("sock")
        if transport == "unix":
            accept, reach = f"UNIX-LISTEN:{at},fork", f"UNIX-CONNECT:{at}"
        else:
            accept = f"TCP-LISTEN:{AGENT_PORT},fork,reuseaddr"
            reach = f"TCP:{VETH_GUEST}:{AGENT_PORT}"
        inner = stack.enter_context(program(
            "socat", *enter, "socat", "-b", str(BUFFER), accept,
            f"TCP:127.0.0.1:{GUEST_PORT}"))
        if transport == "unix":
            harness.until(at.exists, 10, "socat's socket")
        else:
            harness.until(lambda: is_listening(inner.pid, AGENT_PORT), 10, "socat")
        if transport != "tcp":
            outer = stack.enter_context(program("socat", "socat", "-b", str(BUFFER), listen, reach))
        else:
            outer = stack.enter_context(netfwd_program(
                f"--netns={NS}", f"--forward=tcp:127.0.0.1:{FORWARD_PORT}:{AGENT_PORT}"))
        wait(outer, lambda: is_listening(outer.pid, FORWARD_PORT), "the relay")
        yield path(enter, outer, inner)
