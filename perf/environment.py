# SPDX-License-Identifier: Apache-2.0
"""What no figure can be read without: the machine, versions, settings."""

import os
import pathlib
import platform
import re
import subprocess

import harness

PACKAGES = ("iperf3", "slirp4netns", "passt", "qemu-system-x86")
SYSCTLS = ("net/ipv4/tcp_congestion_control", "net/ipv4/tcp_rmem",
           "net/ipv4/tcp_wmem", "net/core/rmem_max", "net/core/wmem_max")


def output(*command):
    """What a command prints, or None when it cannot."""
    try:
        return subprocess.check_output(command, text=True, timeout=10,
                                       stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.SubprocessError):
        return None


def cpu_model():
    found = re.search(r"^model name\s*: (.*)$",
                      pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def accelerator():
    """What the QEMU guests run on, as the image's own script decides it."""
    arguments = output(str(harness.ROOT / "tests/guest/qemu-args"))
    return arguments.split()[1] if arguments else None


def describe():
    return {
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "memory_bytes": (os.sysconf("SC_PAGE_SIZE") *
                         os.sysconf("SC_PHYS_PAGES")),
        "kernel": platform.release(),
        "qemu_accelerator": accelerator(),
        "load": os.getloadavg(),
        "commit": output("git", "-C", str(harness.ROOT), "describe",
                         "--always", "--dirty", "--abbrev=12"),
        "packages": {p: output("dpkg-query", "-W", "-f", "${Version}", p)
                     for p in PACKAGES},
        "sysctls": {name: output("cat", "/proc/sys/" + name)
                    for name in SYSCTLS},
    }
