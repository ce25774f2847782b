# SPDX-License-Identifier: Apache-2.0
"""OpenSSH's sshd with a configuration and keys of its own, and the program that forwards through it
(ssh_forward.c)."""
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import unittest

import harness

PATIENCE = 20  # seconds, of a busy machine


def make_key(passphrase="", kind="ed25519"):
    path = harness.new_path("key")
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", path], check=True,
                   timeout=PATIENCE)
    return path


def children_of(pid):
    """All descendants, the deepest last."""
    found = []
    try:
        tasks = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return found
    for child in map(int, tasks):
        found += [child, *children_of(child)]
    return found


class Sshd:
    """Listens on a port of the sandbox, or of the namespace of `guest`. `env`: of the commands that
    it runs; their home is another than ours, as what shells read there may do anything: one of
    pyenv's leaves a lock behind when it is killed, which the next one waits for."""

    def __init__(self, *options, guest=None, address="127.0.0.1", port=None, env=None):
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)
        self.guest, self.address = guest, address
        self.port = port or harness.free_port()
        self.host_key, self.key = make_key(), make_key()
        self.authorized = harness.new_path("authorized")
        self.allow(self.key)
        self.options = options
        self.env = {"HOME": harness.work, **(env or {})}
        self.program = None
        self.start()

    def allow(self, key):
        self.authorized.write_text(pathlib.Path(f"{key}.pub").read_text())

    def configure(self):
        path = harness.new_path("sshd_config")
        path.write_text("\n".join([
            *self.options, "SetEnv " + " ".join(f"{k}={v}" for k, v in self.env.items()),
            f"ListenAddress {self.address}:{self.port}", f"HostKey {self.host_key}",
            f"AuthorizedKeysFile {self.authorized}", "StrictModes no", "UsePAM no", "PidFile none",
            "PermitRootLogin yes", "LogLevel DEBUG1", ""]))
        return path

    def start(self):
        command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(self.configure())]
        if self.guest:
            command = ["nsenter", f"--net=/run/netns/{self.guest.name}", *command]
        self.program = harness.Program("sshd", command)
        self.program.wait_log("Server listening on", PATIENCE)

    def signal_sessions(self, number):
        for pid in children_of(self.program.pid):
            os.kill(pid, number)

    def kill(self):
        """As a machine that dies: sessions, too, and those that are just beginning."""
        stopped = set()
        while new := {self.program.pid, *children_of(self.program.pid)} - stopped:
            for pid in new:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            stopped |= new
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.program.process.wait(PATIENCE)


# Tests of what a netfwd with an installed libssh2 cannot do: vendor/README.md.
ours_only = unittest.skipIf(os.environ.get("NETFWD_SYSTEM_LIBSSH2"),
                            "built with the installed libssh2")


class Forward(harness.Program):
    """ssh_forward: one port of the host, into the guest by SSH alone."""

    def __init__(self, to=None, sshd=None, known=None, **arguments):
        self.known = known or harness.new_path("known_hosts")
        if sshd:
            arguments = {"server": f"{sshd.address}:{sshd.port}", "identity": sshd.key, **arguments}
        if to:
            arguments["to"] = to
        words = [f"{key}={value}" for key, value in
                 {"user": "root", "known": self.known, **arguments}.items()]
        self.input, child = os.pipe()[::-1]
        super().__init__("ssh_forward", [os.environ["SSH_FORWARD"], *words, f"stdin={child}"],
                         pass_fds=[child])
        os.close(child)

    def lines(self, start):
        return [line for line in self.log().splitlines() if line.startswith(start)]

    def port(self):
        return int(harness.until(lambda: self.lines("port "), PATIENCE, "the port")[0].split()[1])

    def wait_state(self, state):
        harness.until(lambda: self.lines("state ")[-1:] and
                      self.lines("state ")[-1].split()[1] == state, PATIENCE, f"state {state}")
        return self.lines("state ")[-1]

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port()), PATIENCE)

    def stop(self):
        """In order: whatever it has not freed is reported by a sanitizer."""
        os.close(self.input)
        try:
            status = self.process.wait(PATIENCE)
        finally:
            self.kill()
        if status != 0:
            raise RuntimeError(f"ssh_forward ended with {status}:\n{self.log()[-4000:]}")
