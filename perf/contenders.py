# SPDX-License-Identifier: Apache-2.0
"""The contenders: each starts one forwarder on a fresh guest.

Each is a context manager that takes the guest's MTU and yields the paths to
measure, one for each connection a guest can have with its host: "out" to the
host's loopback, and "in" by a forwarded port.
"""

import contextlib
import json
import os
import socket
import subprocess

import harness
from measure import Path, interface, is_listening

UPLINK, UPLINK_GATEWAY = "10.99.0.1", "10.99.0.254"
NS = "guest"
GUEST_PORT = 5201       # where the guest's server listens
HOST_PORT = 5202        # where the host's server listens
FORWARD_PORT = 5301     # the host port forwarded to GUEST_PORT
FORWARD = f"--forward=tcp:127.0.0.1:{FORWARD_PORT}:{GUEST_PORT}"


def make_uplink():
    """A host interface with a default route that leads nowhere: pasta takes
    its addresses from one, and does not start without."""
    for command in ("link add uplink type bridge",
                    f"addr add {UPLINK}/24 dev uplink",
                    "link set uplink up",
                    f"route add default via {UPLINK_GATEWAY}"):
        subprocess.run(["ip", *command.split()], check=True, timeout=10)


def wait(program, condition, what):
    """Until the condition holds; fails at once when the program ends."""
    harness.until(lambda: condition() or not program.alive(), 20, what)
    if not program.alive():
        raise RuntimeError(f"ended before {what}: {program.log()[-400:]}")


@contextlib.contextmanager
def program(title, *command, pass_fds=()):
    p = harness.Program(title, command, pass_fds=pass_fds)
    try:
        yield p
    finally:
        p.kill()


@contextlib.contextmanager
def namespace():
    """A network namespace as the guest; yields the command that enters it."""
    guest = harness.NamespaceGuest(NS)
    try:
        yield ("nsenter", f"--net=/run/netns/{NS}")
    finally:
        guest.remove()


@contextlib.contextmanager
def netfwd_program(*arguments):
    p = harness.Netfwd.start(*arguments)
    try:
        yield p
        p.stop()
    finally:
        p.kill()


def check_mtu(found, wanted):
    if found != wanted:
        raise RuntimeError(f"the guest's MTU is {found}, not {wanted}")


def namespace_paths(enter, mtu, forwarder, gateway, name,
                    forward_address="127.0.0.1"):
    check_mtu(interface(NS, name)["mtu"], mtu)
    both = {"forwarder": forwarder.pid, "nic": (NS, name)}
    return [
        Path("out", gateway, HOST_PORT, client=enter, server=(),
             server_address="127.0.0.1", server_port=HOST_PORT, **both),
        Path("in", forward_address, FORWARD_PORT, server=enter,
             server_address="0.0.0.0", server_port=GUEST_PORT, **both),
    ]


@contextlib.contextmanager
def loopback(_mtu):
    """The kernel alone: client and server on the host's loopback."""
    yield [Path("any", "127.0.0.1", HOST_PORT, server=(),
                server_address="127.0.0.1", server_port=HOST_PORT)]


@contextlib.contextmanager
def netfwd_namespace(mtu):
    with namespace() as enter, netfwd_program(
            f"--netns={NS}", f"--mtu={mtu}", FORWARD) as p:
        yield namespace_paths(enter, mtu, p, harness.GATEWAY, "eth0")


def slirp4netns_forward(api):
    """Ask slirp4netns for the forwarded port: one request per connection."""
    request = {"execute": "add_hostfwd", "arguments": {
        "proto": "tcp", "host_addr": "127.0.0.1", "host_port": FORWARD_PORT,
        "guest_addr": "10.0.2.100", "guest_port": GUEST_PORT}}
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(str(api))
        s.sendall(json.dumps(request).encode())
        s.shutdown(socket.SHUT_WR)
        answer = json.loads(s.makefile().read())
    if "error" in answer:
        raise RuntimeError(f"slirp4netns: {answer['error']}")


@contextlib.contextmanager
def slirp4netns(mtu):
    api = harness.new_path("sock")
    ready, ready_child = os.pipe()
    os.set_blocking(ready, False)
    with open(ready, "rb", buffering=0) as ready, namespace() as enter, \
            program("slirp4netns", "slirp4netns", "--configure",
                    f"--mtu={mtu}", f"--api-socket={api}",
                    f"--ready-fd={ready_child}", "--netns-type=path",
                    f"/run/netns/{NS}", "tap0",
                    pass_fds=[ready_child]) as p:
        os.close(ready_child)
        wait(p, lambda: ready.read(1), "slirp4netns ready")
        slirp4netns_forward(api)
        yield namespace_paths(enter, mtu, p, "10.0.2.2", "tap0")


@contextlib.contextmanager
def pasta_program(mtu, *options):
    """Started on a namespace that exists: `pasta -- COMMAND` run as root may
    spin over a user namespace it cannot have."""
    with namespace() as enter, program(
            "pasta", "pasta", "--foreground", "--stderr", "--runas", "0",
            "--netns-only", "--netns", f"/run/netns/{NS}", "--config-net",
            "-I", "eth0", "-m", str(mtu), "-u", "none", "-U", "none",
            "-t", f"{FORWARD_PORT}:{GUEST_PORT}", *options) as p:
        wait(p, lambda: is_listening(p.pid, FORWARD_PORT), "pasta ready")
        yield enter, p


@contextlib.contextmanager
def pasta(mtu):
    """The tap path. pasta joins loopback to loopback past the guest's NIC,
    so the forwarded port is reached by the uplink's address, which the kernel
    carries over its loopback interface all the same. The guest reaches the
    host's loopback by the gateway's address."""
    with pasta_program(mtu, "-T", "none") as (enter, p):
        yield namespace_paths(enter, mtu, p, UPLINK_GATEWAY, "eth0", UPLINK)


@contextlib.contextmanager
def pasta_splice(mtu):
    """pasta's short cut between the two loopbacks."""
    with pasta_program(mtu, "-T", str(HOST_PORT)) as (enter, p):
        paths = namespace_paths(enter, mtu, p, "127.0.0.1", "eth0")
        for path in paths:
            path.through_nic = False
        yield paths


@contextlib.contextmanager
def netfwd_splice(mtu):
    """The same of netfwd: sockets made inside the namespace. A reverse forward leads
    from the guest's loopback to the host's."""
    config = harness.new_path("yaml")
    config.write_text(
        f"portForwards:\n"
        f"- {{guestPort: {GUEST_PORT}, hostPort: {FORWARD_PORT}, proto: tcp, static: true}}\n"
        f"- {{guestPort: {HOST_PORT}, hostPort: {HOST_PORT}, proto: tcp, reverse: true}}\n")
    with namespace() as enter, netfwd_program(
            f"--netns={NS}", f"--mtu={mtu}", f"--config={config}") as p:
        paths = namespace_paths(enter, mtu, p, "127.0.0.1", "eth0")
        for path in paths:
            path.through_nic = False
        yield paths


@contextlib.contextmanager
def qemu_guest(mtu, netdev):
    """A booted virtual machine with its lease."""
    guest = harness.QemuGuest(netdev)
    try:
        harness.until(lambda: guest.run("test -f /tmp/lease")[0] == 0, 30,
                      "the guest's lease")
        check_mtu(int(guest.output("cat /sys/class/net/eth0/mtu")), mtu)
        guest.output("echo reno >/proc/sys/net/ipv4/tcp_congestion_control")
        yield guest
    finally:
        guest.kill()


def qemu_paths(guest, forwarder=0):
    """The guest runs its own server. Only "in": out of the guest, its own
    processor would run the client too."""
    return [Path("in", "127.0.0.1", FORWARD_PORT, server=None,
                 forwarder=forwarder, qemu=guest.program.pid)]


@contextlib.contextmanager
def qemu_user(mtu):
    with qemu_guest(mtu, f"user hostfwd=tcp:127.0.0.1:{FORWARD_PORT}"
                    f"-:{GUEST_PORT}") as guest:
        yield qemu_paths(guest)


@contextlib.contextmanager
def netfwd_qemu(link, mtu):
    path = harness.new_path("sock")
    with netfwd_program(f"--{link}={path}", f"--mtu={mtu}", FORWARD) as p, \
            qemu_guest(mtu, f"{link} {path}") as guest:
        yield qemu_paths(guest, p.pid)


def netfwd_stream(mtu):
    return netfwd_qemu("stream", mtu)


def netfwd_dgram(mtu):
    return netfwd_qemu("dgram", mtu)


def netfwd_vhost_user(mtu):
    return netfwd_qemu("vhost-user", mtu)
