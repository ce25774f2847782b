# SPDX-License-Identifier: Apache-2.0
"""User-Mode Linux, a guest at the machine's own speed: by its network card, and by tunnels to a
server on its loopback, over its vsock or over that card.

It and netfwd wake each other so often that the scheduler may put both on one processor, and leave
it so: they are told where to run.
"""

import contextlib
import os

import harness
from contenders import FORWARD, FORWARD_PORT, GUEST_PORT, check_mtu, netfwd_program, program, wait
from measure import Path, is_listening
from sshd import make_key
from tunnels import CIPHER, SSH_HOST_PORT, SSH_PORT, write
from uml_sshd import UmlSshd


@contextlib.contextmanager
def on_processor(number):
    """What is started in here runs there only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[number]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def machine(*arguments):
    """netfwd with these arguments, and the guest that has its card and its vsock."""
    nic, vsock = harness.new_path("nic"), harness.new_path("vsock")
    with contextlib.ExitStack() as stack:
        with on_processor(0):
            p = stack.enter_context(netfwd_program(f"--vhost-user={nic}", f"--vsock={vsock}",
                                                   *arguments))
        with on_processor(-1):
            guest = harness.UmlGuest((nic, harness.UmlGuest.NET),
                                     (vsock, harness.UmlGuest.VSOCK), memory="1G")
        stack.callback(guest.kill)
        harness.until(lambda: guest.run("test -f /tmp/lease")[0] == 0, 30, "the guest's lease")
        guest.output("echo reno >/proc/sys/net/ipv4/tcp_congestion_control")
        yield p, guest


def path(guest, *forwarders):
    """The guest runs a server of its own."""
    return [Path("in", "127.0.0.1", FORWARD_PORT, server=None,
                 forwarder=tuple(f.pid for f in forwarders), qemu=guest.program.pid)]


@contextlib.contextmanager
def direct(mtu):
    with machine(f"--mtu={mtu}", FORWARD) as (p, guest):
        check_mtu(int(guest.output("cat /sys/class/net/eth0/mtu")), mtu)
        yield path(guest, p)


def config(via, *lines):
    return write("yaml", "\n".join([
        *lines, "portForwards:",
        f"- {{guestPort: {GUEST_PORT}, hostPort: {FORWARD_PORT}, proto: tcp, via: {via}, "
        "static: true}", ""]))


@contextlib.contextmanager
def agent(via):
    """The agent, by raw flows (vsock) or by gRPC, over vsock both."""
    file = config(via, "agent: {transport: vsock}")
    with machine(f"--config={file}", "-v") as (p, guest):
        wait(p, lambda: f"by {via} is up" in p.log(), "the agent")
        yield path(guest, p)


@contextlib.contextmanager
def ssh(carrier):
    """netfwd by the guest's sshd: over its card ("nic"), or over vsock, where sshd has the
    connection itself ("sshd") or the agent hands it on ("agent")."""
    key = make_key()
    file = config("ssh", "ssh:", "  user: root", f"  identityFile: {key}",
                  "  hostKeyChecking: no", f"  overVsock: {str(carrier != 'nic').lower()}",
                  "agent: {transport: none}")
    with machine(f"--config={file}", "-v") as (p, guest):
        UmlSshd(guest, key, by_vsock=carrier == "sshd", by_agent=carrier == "agent")
        wait(p, lambda: "by ssh is up" in p.log(), "the tunnel")
        yield path(guest, p)


@contextlib.contextmanager
def openssh():
    """ssh -L to the same server, over the guest's card."""
    key = make_key()
    with machine(f"--forward=tcp:127.0.0.1:{SSH_HOST_PORT}:{SSH_PORT}") as (p, guest):
        UmlSshd(guest, key, by_vsock=False)
        with program("ssh", "ssh", "-F", "none", "-N", "-i", str(key), "-o", f"Ciphers={CIPHER}",
                     "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                     "-o", "LogLevel=ERROR", "-L",
                     f"127.0.0.1:{FORWARD_PORT}:127.0.0.1:{GUEST_PORT}", "-p", str(SSH_HOST_PORT),
                     "127.0.0.1") as client:
            wait(client, lambda: is_listening(client.pid, FORWARD_PORT), "ssh ready")
            yield path(guest, client, p)
