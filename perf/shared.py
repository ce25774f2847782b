# SPDX-License-Identifier: Apache-2.0
"""The contenders of a shared network: netfwd --shared beside the kernel's bridge.

Each yields one path: "ip", the host to a namespace guest by its address, or "guests", from one
namespace guest to another.
"""

import contextlib
import os
import signal
import subprocess

import harness
from contenders import GUEST_PORT, NS, netfwd_program
from joiner import Joiner
from measure import Path

CLIENT = "client"       # the guest that connects to the other
BRIDGE, FIRST, SECOND = "10.98.0.1", "10.98.0.2", "10.98.0.3"
IDLE = 8


def ip(*words):
    subprocess.run(["ip", *" ".join(words).split()], check=True, timeout=10)


@contextlib.contextmanager
def namespaces():
    """Both guests; yields the commands that enter them."""
    with contextlib.ExitStack() as stack:
        for name in (NS, CLIENT):
            stack.callback(harness.NamespaceGuest(name).remove)
        yield [("nsenter", f"--net=/run/netns/{name}") for name in (NS, CLIENT)]


def path(connection, address, enter, forwarder=0):
    server, client = enter
    return Path(connection, address, GUEST_PORT, server=server, server_address="0.0.0.0",
                server_port=GUEST_PORT, client=client if connection == "guests" else (),
                forwarder=forwarder, nic=(NS, "eth0"))


@contextlib.contextmanager
def kernel_bridge(connection, mtu):
    with namespaces() as enter:
        ip("link add bridge0 type bridge")
        try:
            ip(f"addr add {BRIDGE}/24 dev bridge0")
            ip("link set bridge0 up")
            for name, address in ((NS, FIRST), (CLIENT, SECOND)):
                ip(f"link add to-{name} mtu {mtu} master bridge0 type veth "
                   f"peer name eth0 mtu {mtu} netns {name}")
                ip(f"link set to-{name} up")
                ip(f"-n {name} addr add {address}/24 dev eth0")
                ip(f"-n {name} link set eth0 up")
            yield [path(connection, FIRST, enter)]
        finally:
            ip("link del bridge0")


def join(socket_path, number):
    joiner = Joiner(socket_path, number)
    joiner.ask()
    joiner.take()
    return joiner


@contextlib.contextmanager
def stopped_neighbor(socket_path):
    """A guest's process that is stopped once it has its address; yields its MAC and that."""
    ready, ready_child = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            neighbor = join(socket_path, 99)
            os.write(ready_child, neighbor.mac + neighbor.address.encode())
            neighbor.sock.settimeout(None)
            while neighbor.sock.recv(65536):
                pass
        finally:
            os._exit(1)
    os.close(ready_child)
    try:
        told = os.read(ready, 100)
        if not told:
            raise RuntimeError("the neighbor did not join")
        os.kill(pid, signal.SIGSTOP)
        yield told[:6], told[6:].decode()
    finally:
        os.close(ready)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@contextlib.contextmanager
def netfwd_shared(connection, mtu, socket_path=None):
    """Guests may join at the socket."""
    socket_path = socket_path or harness.new_path("sock")
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context(namespaces())
        p = stack.enter_context(netfwd_program(
            "--shared", f"--mtu={mtu}", f"--netns={NS}", f"--netns={CLIENT}",
            "--host-interface=netfwd0", f"--stream={socket_path}",
            f"--leases={harness.new_path('leases')}"))
        address = subprocess.check_output([harness.Netfwd.binary(), "ip", NS], text=True,
                                          timeout=10).split()[0]
        yield [path(connection, address, enter, p.pid)]
