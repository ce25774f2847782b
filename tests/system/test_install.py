#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   netfwd agent install ══ SSH ══ sshd ── sh, in a root directory of its own
#
#   host                                             guest, another network namespace
#   netfwd agent install ── 127.0.0.1:P ── netfwd ═══ eth0 ── sshd ── sh
#             └───────── control socket ─────┘
"""The agent is brought into a guest for good, by its SSH server."""
import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import unittest

import paths  # noqa: F401
import harness
import sshd

NOBODY = "nobody"  # a user who is not root
AGENT = "usr/local/bin/netfwd-agent"
CONFIG = """
ssh: {{host: 127.0.0.1, port: {port}, user: {user}, identityFile: {key}{more}}}
agent: {agent}
"""
BY_NIC = """
ssh: {{user: root, identityFile: {key}}}
agent: {{transport: vsock}}
"""
# Stands in for a program that tells an init what to do: keeps what it was told.
RECORDER = "#!/bin/sh\necho \"${0##*/} $*\" >>/tmp/told\n"


class Root:
    """A root directory with busybox, for a server that shuts its sessions in there."""

    def __init__(self):
        os.chmod("/run", 0o755)  # the sandbox's own; sshd wants nobody else to write above it
        self.path = pathlib.Path(harness.new_path("root"))
        for name in ("bin", "dev", "etc", "tmp", "run"):
            (self.path / name).mkdir(parents=True)
        busybox = shutil.which("busybox")
        shutil.copy(busybox, self.path / "bin/busybox")
        for applet in subprocess.check_output([busybox, "--list"], text=True).split():
            if applet not in ("busybox", "rc-service"):
                (self.path / "bin" / applet).symlink_to("busybox")
        (self.path / "tmp").chmod(0o1777)
        (self.path / "dev/null").touch()
        (self.path / "dev/null").chmod(0o666)
        for user in ("root", NOBODY):
            shell = self.path / pwd.getpwnam(user).pw_shell.lstrip("/")
            if not shell.is_symlink():
                shell.parent.mkdir(parents=True, exist_ok=True)
                self.program(shell.relative_to(self.path), '#!/bin/sh\nexec /bin/sh "$@"\n')

    def program(self, name, text=RECORDER):
        path = self.path / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def told(self):
        path = self.path / "tmp/told"
        text = path.read_text() if path.exists() else ""
        path.unlink(missing_ok=True)
        return text.splitlines()

    def text(self, name):
        return (self.path / name).read_text()


@unittest.skipIf(harness.Agent.is_sanitized(), "an agent with a sanitizer is no static program")
class Install(unittest.TestCase):
    def setUp(self):
        self.root = Root()
        os.environ["XDG_STATE_HOME"] = str(harness.new_path("state"))
        self.addCleanup(os.environ.pop, "XDG_STATE_HOME")
        self.sshd = sshd.Sshd(f"ChrootDirectory {self.root.path}",
                              env={"PATH": "/bin", "HOME": "/"})
        self.addCleanup(self.sshd.kill)

    def install(self, agent, *arguments, more="", key=None, user="root"):
        """(exit status, what was said)."""
        config = pathlib.Path(harness.new_path("yaml"))
        config.write_text(CONFIG.format(port=self.sshd.port, key=key or self.sshd.key, agent=agent,
                                        more=more, user=user))
        done = subprocess.run(
            ["timeout", "60", harness.Netfwd.binary(), "agent", "install", f"--config={config}",
             *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False)
        return done.returncode, done.stdout

    def test_with_systemd_it_is_started_and_once_more_changes_nothing(self):
        (self.root.path / "run/systemd/system").mkdir(parents=True)
        self.root.program("bin/systemctl")
        status, text = self.install("{transport: serial}", more=", overVsock: true")
        self.assertEqual(status, 0, text)
        self.assertIn("started by systemd", text)
        agent = self.root.path / AGENT
        self.assertEqual(agent.read_bytes(), pathlib.Path(harness.Agent.binary()).read_bytes())
        self.assertEqual(agent.stat().st_mode & 0o777, 0o755)
        self.assertIn(f"ExecStart=/{AGENT} --serial io.netfwd.agent.0 --vsock-ssh\n",
                      self.root.text("etc/systemd/system/netfwd-agent.service"))
        self.assertEqual(self.root.told(), ["systemctl daemon-reload",
                                            "systemctl -q enable netfwd-agent",
                                            "systemctl restart netfwd-agent"])
        before = agent.stat()
        status, text = self.install("{transport: serial}", more=", overVsock: true")
        self.assertEqual(status, 0, text)
        self.assertIn(f"/{AGENT} is there already", text)
        self.assertEqual(agent.stat().st_ino, before.st_ino)
        self.assertEqual(self.root.told()[-1], "systemctl start netfwd-agent")
        self.assertEqual(list((self.root.path / "tmp").iterdir()), [])

    def test_with_openrc_and_a_token(self):
        for name in ("bin/rc-service", "bin/rc-update"):
            self.root.program(name)
        token = pathlib.Path(harness.new_path("token"))
        token.write_text("0123456789abcdef0123456789abcdef\n")
        token.chmod(0o600)
        status, text = self.install(f"{{transport: tcp, tokenFile: {token}}}")
        self.assertEqual(status, 0, text)
        self.assertIn("--tcp 0.0.0.0:2222 --token-file /etc/netfwd-token",
                      self.root.text("etc/init.d/netfwd-agent"))
        self.assertEqual(self.root.text("etc/netfwd-token"), token.read_text())
        self.assertEqual((self.root.path / "etc/netfwd-token").stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.root.told(), ["rc-update -q add netfwd-agent default",
                                            "rc-service -q netfwd-agent restart"])

    def test_a_guest_of_another_init_is_told_what_to_start(self):
        status, text = self.install("{transport: vsock}")
        self.assertEqual(status, 1)
        self.assertIn(f"neither systemd nor OpenRC is here: have this started at boot: "
                      f"/{AGENT} --vsock=2222\n", text)

    def test_who_is_not_root_becomes_it_or_is_told(self):
        status, text = self.install("{transport: vsock}", user=NOBODY)
        self.assertEqual(status, 1)
        self.assertIn("takes root, or sudo, and the guest has no sudo", text)
        self.assertFalse((self.root.path / AGENT).exists())
        self.assertEqual(list((self.root.path / "tmp").iterdir()), [])

        (self.root.path / "run/systemd/system").mkdir(parents=True)
        self.root.program("bin/systemctl")
        self.root.program("bin/sudo", '#!/bin/sh\n[ "$1" = -n ] && shift && exec "$@"\n')
        for name in ("usr/local/bin", "etc/systemd/system"):  # no real one, and so not root
            (self.root.path / name).mkdir(parents=True)
            (self.root.path / name).chmod(0o777)
        status, text = self.install("{transport: vsock}", user=NOBODY)
        self.assertEqual(status, 0, text)
        self.assertTrue((self.root.path / AGENT).exists())

    def test_a_processor_that_there_is_no_agent_for_is_told(self):
        self.sshd.kill()
        self.sshd.options = (*self.sshd.options, "ForceCommand echo s390x")
        self.sshd.start()
        status, text = self.install("{transport: vsock}")
        self.assertEqual(status, 1)
        self.assertIn("netfwd-agent-s390x: No such file", text)

    def test_a_server_that_does_not_let_us_in_is_told(self):
        status, text = self.install("{transport: vsock}", key=sshd.make_key())
        self.assertEqual(status, 1)
        self.assertIn("does not let us in as root", text)

    def test_steps_are_printed_when_asked_for(self):
        status, text = self.install("{transport: vsock}", "--print")
        self.assertEqual(status, 0, text)
        self.assertIn("1. Copy the agent", text)
        self.assertFalse((self.root.path / AGENT).exists())


@unittest.skipIf(harness.Agent.is_sanitized(), "an agent with a sanitizer is no static program")
class ByNic(unittest.TestCase):
    """No port of the host leads to the guest, and nobody has said where it is."""

    def setUp(self):
        self.root = Root()
        os.environ["XDG_STATE_HOME"] = str(harness.new_path("state"))
        self.addCleanup(os.environ.pop, "XDG_STATE_HOME")
        self.guest = harness.NamespaceGuest("install")
        self.addCleanup(self.guest.remove)
        self.sshd = sshd.Sshd(f"ChrootDirectory {self.root.path}", guest=self.guest,
                              address="0.0.0.0", port=22, env={"PATH": "/bin", "HOME": "/"})
        self.addCleanup(self.sshd.kill)
        self.control = harness.new_path("sock")
        self.config = pathlib.Path(harness.new_path("yaml"))
        self.config.write_text(BY_NIC.format(key=self.sshd.key))

    def start_netfwd(self):
        netfwd = harness.Netfwd.start(f"--netns={self.guest.name}", f"--control={self.control}",
                                      "-v")
        self.addCleanup(netfwd.stop)

    def command(self, *arguments):
        return [harness.Netfwd.binary(), "agent", "install", f"--config={self.config}",
                f"--control={self.control}", *arguments]

    def install(self, *arguments):
        done = subprocess.run(["timeout", "60", *self.command(*arguments)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        return done.returncode, done.stdout

    def forwards(self):
        return json.loads(subprocess.check_output(
            [harness.Netfwd.binary(), "status", "--json", f"--control={self.control}"],
            timeout=sshd.PATIENCE))["forwards"]

    def test_the_netfwd_that_has_the_guest_lends_a_port_and_closes_it_after_all_ends(self):
        self.start_netfwd()
        status, text = self.install()
        self.assertEqual(status, 1)  # it has got there
        self.assertIn("neither systemd nor OpenRC is here", text)
        self.assertEqual(self.forwards(), [])

        (self.root.path / "run/systemd/system").mkdir(parents=True)
        self.root.program("bin/systemctl")
        status, text = self.install()
        self.assertEqual(status, 0, text)
        self.assertEqual((self.root.path / AGENT).read_bytes(),
                         pathlib.Path(harness.Agent.binary()).read_bytes())
        self.assertEqual(self.forwards(), [])

        known, = (pathlib.Path(os.environ["XDG_STATE_HOME"]) / "netfwd").iterdir()
        self.assertEqual(len(known.read_text().splitlines()), 1)  # not a key for each port
        self.assertTrue(known.read_text().startswith("guest "))

    def test_it_is_closed_when_the_user_interrupts(self):
        self.start_netfwd()
        (self.root.path / "run/systemd/system").mkdir(parents=True)
        self.root.program("bin/systemctl", "#!/bin/sh\necho it is waited for\nexec sleep 60\n")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number.name):
                install = harness.Program("install", self.command())
                install.wait_log("it is waited for", sshd.PATIENCE)
                self.assertEqual([f["connections"] > 0 for f in self.forwards()], [True])
                os.kill(install.pid, number)
                self.assertEqual(install.process.wait(sshd.PATIENCE), 1)
                self.assertIn("was not installed: Interrupted", install.log())
                self.assertEqual(self.forwards(), [])

    def test_without_a_netfwd_it_is_said_what_to_do(self):
        status, text = self.install()
        self.assertEqual(status, 1)
        self.assertIn(f"ssh.host is not set, so that the netfwd that has the guest is asked for a "
                      f"way to it: no netfwd serves {self.control}; start one", text)

    def test_a_control_socket_of_no_use_is_refused(self):
        status, text = self.install("--print")
        self.assertEqual(status, 1)
        self.assertIn("leave --control out", text)
        for config, why in (("ssh: {host: 127.0.0.1}\nagent: {transport: vsock}\n",
                             "ssh.host is set"),
                            ("agent: {transport: unix, path: /run/a.sock}\n",
                             "the guest is a namespace")):
            with self.subTest(why):
                self.config.write_text(config)
                status, text = self.install()
                self.assertEqual(status, 1)
                self.assertIn(why, text)
                self.assertIn("leave --control out", text)


if __name__ == "__main__":
    harness.main()
