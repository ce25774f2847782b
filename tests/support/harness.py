# SPDX-License-Identifier: Apache-2.0
"""What the system tests are made of: netfwd under test, and guests to put behind it.

Everything here runs inside the sandbox (sandbox.py), started by main().
"""
import base64
import contextlib
import itertools
import json
import os
import pathlib
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import peer
import sandbox

ROOT = pathlib.Path(__file__).resolve().parents[2]
GUEST = "192.168.5.15"
GATEWAY, DNS = "192.168.5.2", "192.168.5.3"
GUEST6, GATEWAY6, DNS6 = "fd00:c0a8:5::15", "fd00:c0a8:5::2", "fd00:c0a8:5::3"

START_TIMEOUT = 20  # seconds for netfwd to be ready, or to give up
BOOT_TIMEOUT = 120  # seconds for a guest to come up, emulated on a busy machine
STOP_TIMEOUT = 20

# ./dev soak: the numbers and waits that take long, every one of them
SOAK = os.environ.get("NETFWD_SOAK") == "1"

logs = []  # (title, path) of every log that explains a failed test
work = None  # this program's directory of sockets and logs; made by main()
serial = itertools.count(1)


def new_path(suffix):
    return work / f"{next(serial)}.{suffix}"


def new_log(title):
    path = new_path("log")
    logs.append((title, path))
    return path


def until(condition, timeout, what):
    """Waits for condition() to become true, and returns its value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"gave up waiting for {what}")
        time.sleep(0.1)


def free_port():
    """A port free for TCP and UDP on every address of this sandbox."""
    while True:
        with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as tcp, \
                socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp, \
                contextlib.suppress(OSError):
            port = tcp.getsockname()[1]
            udp.bind(("::", port))
            return port


def forward_both(address, port, guest_port):
    """Arguments that forward one host port, TCP and UDP, to the guest."""
    return [f"--forward={proto}:{address}:{port}:{guest_port}" for proto in ("tcp", "udp")]


class Program:
    """A child process in a session of its own, its output kept in a log."""

    def __init__(self, title, command, pass_fds=(), env=None):
        self.log_path = new_log(title)
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, pass_fds=pass_fds, env=env,
                                            start_new_session=True)

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_log(self, text, timeout=10):
        until(lambda: text in self.log(), timeout, f"{text!r} in {self.log_path}")

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        """Ends it at once, with all it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(STOP_TIMEOUT)


class Netfwd(Program):
    """netfwd, ready to serve. stop() insists on an orderly end, sanitizers included."""

    def __init__(self, *arguments, verb=(), prefix=(), pass_fds=(), measured=False):
        """`verb` is what precedes netfwd's options, `prefix` the program that starts netfwd.
        `measured`: its memory will be; a sanitizer must not keep much of what is freed."""
        env = dict(os.environ)
        if measured:
            env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + \
                ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64"
        ready, ready_child = os.pipe()
        # The usual limit of descriptors: netfwd raises it itself or fails the load tests.
        command = ["prlimit", "--nofile=1024:", *prefix, self.binary(), *verb,
                   f"--ready-fd={ready_child}", *arguments]
        super().__init__("netfwd " + " ".join(arguments), command,
                         pass_fds=[ready_child, *pass_fds], env=env)
        os.close(ready_child)
        with os.fdopen(ready, "rb") as ready:
            answered = select.select([ready], [], [], START_TIMEOUT)[0]
            self.ready = bool(answered) and ready.read(1) == b"1"

    @staticmethod
    def binary():
        return os.environ.get("NETFWD") or str(ROOT / "build/release/bin/netfwd")

    @classmethod
    def start(cls, *arguments, **how):
        self = cls(*arguments, **how)
        if not self.ready:
            self.kill()
            raise RuntimeError(f"netfwd did not become ready:\n{self.log()}")
        return self

    @classmethod
    def refuse(cls, *arguments, prefix=()):
        """Starts netfwd where it must give up: (exit status, log)."""
        self = cls(*arguments, prefix=prefix)
        try:
            return self.process.wait(START_TIMEOUT), self.log()
        finally:
            self.kill()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_TIMEOUT)
        finally:
            self.kill()
        if status != 0:
            raise RuntimeError(f"netfwd ended with {status}:\n{self.log()[-4000:]}")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self, field="VmRSS"):
        """Resident memory in KiB; VmHWM is the most since forget_peak()."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
        raise RuntimeError(f"netfwd has no {field}: it has ended")

    def forget_peak(self):
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")


class Agent(Program):
    """netfwd-agent, in the network namespace of a guest that is one; None: in ours."""

    def __init__(self, guest, *arguments):
        ready, ready_child = os.pipe()
        enter = ["nsenter", f"--net=/run/netns/{guest.name}"] if guest else []
        command = [*enter, self.binary(), f"--ready-fd={ready_child}", *arguments]
        super().__init__("netfwd-agent " + " ".join(arguments), command, pass_fds=[ready_child])
        os.close(ready_child)
        with os.fdopen(ready, "rb") as ready:
            answered = select.select([ready], [], [], START_TIMEOUT)[0]
            if not answered or ready.read(1) != b"1":
                self.kill()
                raise RuntimeError(f"the agent did not become ready:\n{self.log()}")

    @staticmethod
    def binary():
        return str(pathlib.Path(Netfwd.binary()).with_name("netfwd-agent"))

    @classmethod
    def is_sanitized(cls):
        """Then it needs more address space than User-Mode Linux gives its processes."""
        program = pathlib.Path(cls.binary()).read_bytes()
        return b"__asan_init" in program or b"__tsan_init" in program

    def stop(self):
        """Insists on an orderly end, sanitizers included."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_TIMEOUT)
        finally:
            self.kill()
        if status != 0:
            raise RuntimeError(f"the agent ended with {status}:\n{self.log()[-4000:]}")


class Guest:
    """What every kind of guest can do. Subclasses say how to run a shell script in it."""

    def run(self, script, timeout=30):
        """(exit status, output) of a shell script run in the guest as root."""
        raise NotImplementedError

    def output(self, script, timeout=30):
        status, output = self.run(script, timeout)
        if status != 0:
            raise RuntimeError(f"in the guest: {script}: status {status}\n{output}")
        return output

    def check(self, name, host, port, *numbers, timeout=120):
        """Runs one of peer.CHECKS in the guest, against a server outside."""
        command = " ".join(map(str, ("peer", name, host, port, *numbers)))
        return json.loads(self.output(command, timeout))

    def start_peer(self, port):
        self.output(f"peer serve {port}", BOOT_TIMEOUT)


def qemu_arguments(boot=""):
    """What boots the test guest, without any network; `boot` is for its kernel command line."""
    return subprocess.check_output([ROOT / "tests/guest/qemu-args", boot], text=True,
                                   timeout=10).splitlines()


class Machine(Guest):
    """A guest with a kernel of its own, controlled over a serial line: tests/guest/control.
    Subclasses say in launch() how it is started."""

    def launch(self, fd):
        """The Program, whose guest has `fd` as that line."""
        raise NotImplementedError

    def start(self):
        self.control, child = socket.socketpair()
        self.control.settimeout(BOOT_TIMEOUT)
        self.replies = self.control.makefile("rb")
        self.program = self.launch(child.fileno())
        child.close()
        if self.replies.readline() != b"ready\n":
            self.kill()
            raise RuntimeError(f"the guest did not come up:\n{self.program.log()}")

    def kill(self):
        self.program.kill()
        self.replies.close()
        self.control.close()

    def restart(self):
        self.kill()
        self.start()

    def run(self, script, timeout=30):
        self.control.settimeout(timeout + BOOT_TIMEOUT)
        self.control.sendall(b"%d %s\n" % (timeout, base64.b64encode(script.encode())))
        status, size = map(int, self.replies.readline().split())
        return status, self.replies.read(size).decode(errors="replace")

    def wait_network(self):
        """Until the guest has its IPv4 lease and its own IPv6 address and router."""
        until(lambda: self.run("""
            test -f /tmp/lease && ip -6 route | grep -q '^default' &&
            ip -6 addr show dev eth0 scope global | grep -v tentative | grep -q inet6
            """)[0] == 0, BOOT_TIMEOUT, "the guest's addresses")


def shared_memory():
    """QEMU's arguments for a guest whose memory back ends can have, as large as qemu_arguments()
    says."""
    return ["-object", "memory-backend-memfd,id=memory,share=on,size=256M",
            "-machine", "memory-backend=memory"]


class QemuGuest(Machine):
    """A virtual machine with one network card.

    netdev is "stream PATH", "dgram PATH", "vhost-user PATH" or "socket PATH" (where netfwd serves;
    the last is a stream that somebody else has connected, as socket_vmnet's client does), or
    "user OPTIONS": QEMU's own stack, to compare with. `extra` are more arguments for QEMU.
    """

    def __init__(self, netdev, boot="", mac="52:54:00:12:34:56", extra=()):
        self.netdev = netdev
        self.boot = boot
        self.mac = mac
        self.extra = extra
        self.start()

    def network(self, connected):
        kind, _, path = self.netdev.partition(" ")
        if kind == "socket":
            connected.connect(str(path))
        device = f"virtio-net-pci,netdev=n0,mac={self.mac}"
        if kind != "vhost-user":
            return ["-netdev", self.netdev_argument(connected.fileno()), "-device", device]
        # vectors=0: QEMU 7.2 needs a kernel with KVM for MSI-X here, and dies without
        return [*shared_memory(),
                "-chardev", f"socket,id=nic,path={path},reconnect=1",
                "-netdev", "vhost-user,id=n0,chardev=nic", "-device", device + ",vectors=0"]

    def netdev_argument(self, connected):
        kind, _, path = self.netdev.partition(" ")
        if kind == "socket":
            return f"socket,id=n0,fd={connected}"
        if kind == "stream":
            return f"stream,id=n0,server=off,addr.type=unix,addr.path={path}"
        if kind == "dgram":
            local = new_path("sock")
            return (f"dgram,id=n0,local.type=unix,local.path={local},"
                    f"remote.type=unix,remote.path={path}")
        return ("user,id=n0,net=192.168.5.0/24,dhcpstart=192.168.5.15,ipv6-prefix=fd00:c0a8:5::,"
                + path)

    def launch(self, fd):
        with socket.socket(socket.AF_UNIX) as connected:
            command = ["qemu-system-x86_64", *qemu_arguments(self.boot),
                       "-serial", f"file:{new_log('guest console')}",
                       "-device", "virtio-serial-pci",
                       "-chardev", f"socket,id=control,fd={fd}",
                       "-device", "virtserialport,chardev=control,name=control",
                       *self.network(connected), *self.extra]
            return Program("qemu", command, pass_fds=[fd, connected.fileno()])


class WrappedGuest(Machine):
    """A virtual machine that `netfwd qemu` starts, with these arguments for netfwd; `boot` is for
    the kernel's command line."""

    def __init__(self, *arguments, boot=""):
        self.arguments = arguments
        self.boot = boot
        self.start()

    def launch(self, fd):
        self.netfwd = Netfwd.start(*self.arguments, "--", "qemu-system-x86_64", *qemu_arguments(self.boot),
                                   "-serial", f"file:{new_log('guest console')}",
                                   "-device", "virtio-serial-pci,id=c",
                                   "-chardev", f"socket,id=control,fd={fd}",
                                   "-device", "virtserialport,bus=c.0,chardev=control,name=control",
                                   verb=["qemu"], pass_fds=[fd])
        return self.netfwd


class UmlGuest(Machine):
    """User-Mode Linux, whose devices are vhost-user's: a kernel at the machine's own speed, in a
    process. It boots the same image as QEMU. `devices`: (path, virtio id) for each."""

    NET, VSOCK = 1, 19

    def __init__(self, *devices, memory="256M", boot=""):
        self.devices = devices
        self.memory = memory
        self.boot = boot
        self.start()

    def launch(self, fd):
        command = ["linux.uml", f"uml_dir={work}", f"mem={self.memory}",
                   f"initrd={ROOT / 'build/guest/initramfs'}", "quiet", "console=tty0",
                   "con=null", "con0=null,fd:1", "ssl=null", f"ssl0=fd:{fd}",
                   *(f"virtio_uml.device={path}:{kind}" for path, kind in self.devices),
                   *self.boot.split()]
        # its memory is a file there, and has to be executable
        return Program("uml", command, pass_fds=[fd], env={**os.environ, "TMPDIR": "/dev/shm"})


class NamespaceGuest(Guest):
    """A network namespace; netfwd --netns=NAME makes its interface."""

    def __init__(self, name, dns=(DNS, DNS6)):
        self.name = name
        self.resolver = new_path("resolv.conf")
        self.resolver.write_text("".join(f"nameserver {server}\n" for server in dns))
        self.tools = new_path("bin")  # the same tools as in the virtual machine
        self.tools.mkdir()
        busybox = shutil.which("busybox")
        for applet in subprocess.check_output([busybox, "--list"], text=True).split():
            (self.tools / applet).symlink_to(busybox)
        (self.tools / "peer").symlink_to(ROOT / "tests/support/peer.py")
        subprocess.run(["ip", "netns", "add", name], check=True, timeout=10)
        self.output("ip link set lo up; echo reno >/proc/sys/net/ipv4/tcp_congestion_control")

    def command(self, script):
        bind = f'mount --bind {self.resolver} {os.path.realpath("/etc/resolv.conf")}'
        return ["nsenter", f"--net=/run/netns/{self.name}", "unshare", "--mount", "sh", "-c",
                f'{bind} && PATH={self.tools}:$PATH && exec sh -c "$1"', "sh", script]

    def run(self, script, timeout=30):
        with tempfile.TemporaryFile() as output:  # not a pipe: what runs on may hold it open
            done = subprocess.run(["timeout", "-s", "KILL", str(timeout), *self.command(script)],
                                  stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                  check=False)
            output.seek(0)
            return done.returncode, output.read().decode(errors="replace")

    def remove(self):
        """Ends what runs in the namespace, and gives it up."""
        pids = subprocess.check_output(["ip", "netns", "pids", self.name], text=True, timeout=10)
        for pid in map(int, pids.split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", self.name], check=True, timeout=10)


def iperf3(host, port, *arguments):
    """One iperf3 run against a server; bit/s that arrived."""
    command = ["timeout", "60", "iperf3", "-J", "-c", host, "-p", str(port), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    result = json.loads(done.stdout)
    if "error" in result:
        raise RuntimeError(f"iperf3: {result['error']}")
    return result["end"]["sum_received"]["bits_per_second"]


def print_logs():
    for title, path in logs:
        if path.exists():
            print(f"--- {title}\n{path.read_text(errors='replace')[-4000:]}", file=sys.stderr)


class TimedResult(unittest.TextTestResult):
    """Says how long each took: the suite has a budget."""

    def startTest(self, test):
        self.started = time.monotonic()
        super().startTest(test)

    def addSuccess(self, test):
        unittest.TestResult.addSuccess(self, test)
        self.stream.writeln(f"ok, {time.monotonic() - self.started:.1f} s")


def main():
    """Runs the tests of the calling program in the sandbox."""
    global work
    sandbox.enter()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as pid 1 it would be ignored
    work = pathlib.Path("/run/test")  # in the sandbox, which takes it along
    work.mkdir()
    runner = unittest.TextTestRunner(verbosity=2, resultclass=TimedResult)
    tests = unittest.main(module="__main__", exit=False, testRunner=runner)
    if not tests.result.wasSuccessful():
        print_logs()
    sys.exit(not tests.result.wasSuccessful())
