# SPDX-License-Identifier: Apache-2.0
"""Runs a test program where nothing it sends can leave the machine.

enter() starts the program again in namespaces of its own: a network with nothing but a loopback
interface, with the test zone's name server on it and in /etc/resolv.conf; a private mount table
with an empty /run; and a process space that the kernel empties when the program ends, however it
ends, so no guest or netfwd can outlive a test.
"""
import os
import pathlib
import subprocess
import sys

import dns_server

MARK = "NETFWD_TEST_OUTSIDE"  # names the network namespace the program was started in


def network_namespace():
    return os.readlink("/proc/self/ns/net")


def enter():
    outside = os.environ.get(MARK)
    if outside is None:
        os.environ[MARK] = network_namespace()
        command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child",
                   "--mount-proc"]
        if os.geteuid() != 0:
            command += ["--user", "--map-root-user"]
        os.execvp("unshare", [*command, sys.executable, *sys.argv])
    if outside == network_namespace():
        sys.exit(f"sandbox: still in the network of the machine; unset {MARK}")
    prepare_mounts()
    prepare_network()


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True, timeout=10)


def bind_over(source, target):
    """Mounts a file over another, which may be a link into a directory hidden by now."""
    target = pathlib.Path(os.path.realpath(target))
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    mount("--bind", str(source), str(target))


def prepare_mounts():
    mount("-t", "tmpfs", "tmpfs", "/run")
    resolver = pathlib.Path("/run/resolv.conf")
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:2 attempts:1\n")
    bind_over(resolver, "/etc/resolv.conf")
    runtime = pathlib.Path("/run/user")
    runtime.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)


def prepare_network():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)
    use_reno()
    dns_server.start()


def use_reno():
    """The one congestion control that every network namespace may choose. The machine's default
    may be one that paces, which halves what loopback carries."""
    pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text("reno")
