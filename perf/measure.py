# SPDX-License-Identifier: Apache-2.0
"""One measurement: an iperf3 run over a path, and what it cost in CPU."""

import contextlib
import json
import os
import subprocess
import time
from dataclasses import dataclass

import harness

TICK = os.sysconf("SC_CLK_TCK")
GB = 1e9
QUIET = 0.10            # a machine busier than this share is not quiet
DIRECTIONS = ("guest-to-host", "host-to-guest")


@dataclass
class Path:
    """How a contender connects guest and host, ready to be used.

    `client` and `server` are the commands that enter the side the program
    runs on; `server` is None when one runs there already. `forwarder` (one, or
    several) and `qemu` are process ids, 0 if there is none. `nic` is the namespace and
    interface all bytes must pass (through_nic) or none may (not).
    """
    connection: str             # "out": the guest connects; "in": the host
                                # does, to a forwarded port; "ip": the host,
                                # to the guest's address; "guests": another
                                # guest does, in the host's place; "any":
                                # there is no guest
    address: str                # what the client connects to
    port: int
    client: tuple = ()
    server: tuple | None = None
    server_address: str = ""
    server_port: int = 0
    forwarder: int | tuple = 0
    qemu: int = 0
    nic: tuple = ()
    through_nic: bool = True
    streams: int = 1            # connections at a time


def interface(namespace, name):
    """What ip(8) knows about an interface, its counters too."""
    command = ["ip", "-n", namespace, "-j", "-s", "link", "show", name]
    return json.loads(subprocess.check_output(command, timeout=10))[0]


def nic_bytes(nic):
    if not nic:
        return 0
    counters = interface(*nic)["stats64"]
    return counters["rx"]["bytes"] + counters["tx"]["bytes"]


def process_ticks(roots):
    """CPU ticks of processes and their descendants, also those they waited for."""
    roots = {r for r in (roots if isinstance(roots, tuple) else (roots,)) if r}
    if not roots:
        return 0
    parent, ticks = {}, {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
                rest = f.read().rpartition(")")[2].split()
            parent[int(pid)] = int(rest[1])
            ticks[int(pid)] = sum(map(int, rest[11:15]))
    if not roots <= ticks.keys():
        raise RuntimeError(f"processes {roots - ticks.keys()} are gone")
    family, found = set(), roots
    while found:
        family |= found
        found = {p for p in parent if parent[p] in family} - family
    return sum(ticks[p] for p in family)


def machine_ticks():
    """Busy ticks of the whole machine since it started."""
    with open("/proc/stat", encoding="ascii") as f:
        fields = [int(n) for n in f.readline().split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq = fields[:7]
    return user + nice + system + irq + softirq


def wait_quiet(patience, interval=0.25):
    """Wait for a quiet moment; the share of the machine others still use."""
    end = time.monotonic() + patience
    while True:
        before = machine_ticks()
        time.sleep(interval)
        busy = (machine_ticks() - before) / TICK / interval / os.cpu_count()
        if busy <= QUIET or time.monotonic() > end:
            return round(busy, 3)


def is_listening(pid, port):
    """Whether anything listens on a TCP port in the network of a process.
    A connection made to find out would be taken for iperf3's client."""
    rows = []
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):      # no IPv6, or ended
            with open(f"/proc/{pid}/net/{table}", encoding="ascii") as f:
                rows += [line.split() for line in f]
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A"
               for row in rows)


@contextlib.contextmanager
def server(path):
    """The iperf3 server of one test; yields its Program, None where it runs already."""
    if path.server is None:
        yield None
        return
    p = harness.Program("iperf3 server", [
        *path.server, "iperf3", "-4", "-s", "-1", "-B", path.server_address,
        "-p", str(path.server_port)])
    try:
        harness.until(lambda: is_listening(p.pid, path.server_port), 10,
                      "the iperf3 server")
        yield p
    finally:
        p.kill()


def is_reverse(connection, direction):
    """iperf3's client sends unless told otherwise (-R)."""
    inwards = connection in ("in", "ip", "guests")
    sender = "host-to-guest" if inwards else "guest-to-host"
    return direction != sender


def client(path, direction, seconds):
    """Run the client: iperf3's own account of the end."""
    command = [*path.client, "iperf3", "-J", "-4", "-c", path.address,
               "-p", str(path.port), "-t", str(seconds),
               "-P", str(path.streams), "--connect-timeout", "5000"]
    if is_reverse(path.connection, direction):
        command.append("-R")
    done = subprocess.run(command, capture_output=True, text=True,
                          timeout=seconds + 15, check=False)
    if not done.stdout.startswith("{"):
        raise RuntimeError(f"iperf3: {done.stderr.strip() or done.returncode}")
    report = json.loads(done.stdout)
    if "error" in report:
        raise RuntimeError(f"iperf3: {report['error']}")
    if report["end"]["sum_received"]["bytes"] == 0:
        raise RuntimeError("iperf3 moved no bytes")
    return report["end"]


def check_nic(path, moved, through):
    """The bytes took the way that the row's name claims."""
    share = through / moved
    if path.nic and path.through_nic != (share > 0.9):
        raise RuntimeError(f"{share:.0%} of the bytes passed the guest's NIC")


def measure(path, direction, seconds, patience):
    """One sample, begun at a quiet moment if one comes in `patience` s."""
    busy_before = wait_quiet(patience)
    with server(path):
        nic = nic_bytes(path.nic)
        forwarder = process_ticks(path.forwarder)
        qemu = process_ticks(path.qemu)
        machine = machine_ticks()
        end = client(path, direction, seconds)
        machine = machine_ticks() - machine
        qemu = process_ticks(path.qemu) - qemu
        forwarder = process_ticks(path.forwarder) - forwarder
        nic = nic_bytes(path.nic) - nic
    moved = end["sum_received"]["bytes"]
    check_nic(path, moved, nic)

    def per_gb(ticks):
        return ticks / TICK / (moved / GB)
    return {
        "gbps": end["sum_received"]["bits_per_second"] / GB,
        "bytes": moved,
        "seconds": end["sum_received"]["seconds"],
        "retransmits": end["sum_sent"].get("retransmits"),
        "forwarder_s_per_gb": per_gb(forwarder) if path.forwarder else None,
        "qemu_s_per_gb": per_gb(qemu) if path.qemu else None,
        "machine_s_per_gb": per_gb(machine),
        "busy_before": busy_before,
    }
