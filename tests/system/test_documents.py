#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every netfwd command and every configuration that the README, the manuals and --help show is
run as it is written there. Process 4711 and disk.qcow2 are made for it; so is the network."""
import contextlib
import os
import pathlib
import re
import shlex
import signal
import subprocess
import unittest

import paths  # noqa: F401
import harness

ROOT = harness.ROOT
MANUAL, FORMAT = ROOT / "forwarder/netfwd.1", ROOT / "forwarder/netfwd.yaml.5"
VERBS = ("check", "explain", "status", "expose", "unexpose", "events", "reload", "agent", "ip")
BOXES = ("box1", "box2")  # names of namespaces
PATIENCE = 20
# What a command on its own needs of the netfwd that it asks, in place of the examples' names.
STAND_INS = {"netfwd.yaml": "configs/user.yaml", "/run/vm1/control.sock": "control.sock"}


def commands(text):
    """The commands of a text: indented, or after a prompt; a backslash continues a line."""
    text = re.sub(r"\\e?\n\s*", " ", text)
    for line in text.split("\n"):
        match = re.fullmatch(r"(?:\.Dl |\s+)?(?:\$ )?(netfwd(?: .*)?)", line)
        indented = line.startswith(("    ", "  netfwd", ".Dl", "$ "))
        if match and indented and "[OPTION]" not in line:
            yield match[1]


def displays(manual):
    """The literal displays of a manual."""
    return re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", manual, re.MULTILINE | re.DOTALL)


def helps():
    yield run("netfwd --help")
    for verb in VERBS:
        yield run(f"netfwd {verb} --help")


def shown():
    """Every command that is shown anywhere, once."""
    texts = [(ROOT / "README.md").read_text(), (ROOT / "forwarder/README.md").read_text(),
             MANUAL.read_text(), *helps()]
    return list(dict.fromkeys(command for text in texts for command in commands(text)))


def words(command):
    return [STAND_INS.get(word, word) for word in shlex.split(command)]


def run(command):
    done = subprocess.run([harness.Netfwd.binary(), *words(command)[1:]], capture_output=True,
                          text=True, timeout=PATIENCE, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command}: {done.returncode}\n{done.stderr}")
    return done.stdout


def is_verb(command):
    return words(command)[1:2] and words(command)[1] in VERBS


class Documents(unittest.TestCase):
    def setUp(self):
        directory = harness.new_path("d")
        directory.mkdir()
        (directory / "configs").symlink_to(ROOT / "configs")
        (directory / "disk.qcow2").write_bytes(bytes(1 << 20))
        before = os.getcwd()
        os.chdir(directory)
        self.addCleanup(os.chdir, before)

    def process_4711(self):
        """The id of a process with a network namespace of its own."""
        process = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        mine = os.readlink("/proc/self/ns/net")

        def has_its_own():
            with contextlib.suppress(FileNotFoundError):
                return os.readlink(f"/proc/{process.pid}/ns/net") != mine
            return False

        harness.until(has_its_own, PATIENCE, "a namespace")
        return str(process.pid)

    def make_namespaces(self, names):
        for name in names:
            self.addCleanup(harness.NamespaceGuest(name).remove)

    def test_commands_are_found_everywhere(self):
        everything = shown()
        self.assertGreater(len(everything), 15, everything)
        for text in ((ROOT / "README.md").read_text(), MANUAL.read_text(), *helps()):
            if "netfwd check" not in text[:40]:  # whose help has no example
                self.assertTrue(list(commands(text)), text[:60])

    def test_every_netfwd_that_serves_starts_and_ends(self):
        serving = [command for command in shown() if not is_verb(command)]
        self.assertGreater(len(serving), 4)
        for command in serving:
            with self.subTest(command):
                arguments = [self.process_4711() if word == "4711" else word
                             for word in words(command)[1:]]
                self.make_namespaces(word for word in arguments if word in BOXES)
                verb = arguments[:1] if arguments[:1] == ["qemu"] else []
                netfwd = harness.Netfwd.start(*arguments[len(verb):], verb=verb)
                netfwd.stop()

    def start_netfwd(self):
        pathlib.Path("running.yaml").write_text("{}")
        netfwd = harness.Netfwd.start("--config=running.yaml", "--control=control.sock")
        self.addCleanup(netfwd.stop)
        default = harness.Netfwd.start("--config=running.yaml", "--stream=vm.sock")
        self.addCleanup(default.stop)

    def test_every_verb_does_what_it_says(self):
        verbs = [command for command in shown() if is_verb(command)]
        self.assertGreater(len(verbs), 8)
        self.start_netfwd()
        for command in verbs:
            with self.subTest(command):
                if "--follow" in command:
                    self.follow(command)
                else:
                    run(command)

    def follow(self, command):
        with subprocess.Popen([harness.Netfwd.binary(), *words(command)[1:]],
                              stdout=subprocess.PIPE) as process:
            self.assertIn(b'"event"', process.stdout.readline())
            process.send_signal(signal.SIGTERM)

    def test_every_configuration_of_the_manual_is_valid(self):
        examples = [text for text in displays(FORMAT.read_text()) if ":" in text]
        self.assertGreater(len(examples), 1)
        for text in examples:
            with self.subTest(text):
                pathlib.Path("example.yaml").write_text(text)
                self.assertIn("builtin:", run("netfwd check --config example.yaml"))

    def test_the_first_example_of_the_readme_answers(self):
        """With a namespace in place of the machine: curl gets what the guest serves."""
        text = (ROOT / "README.md").read_text()
        self.assertIn("curl http://localhost:8080/", text)
        command = next(c for c in commands(text) if "--netns" in c)
        pid = self.process_4711()
        netfwd = harness.Netfwd.start(*[pid if w == "4711" else w for w in words(command)[1:]])
        self.addCleanup(netfwd.stop)
        pathlib.Path("index.html").write_text("served")
        server = subprocess.Popen(["nsenter", f"--net=/proc/{pid}/ns/net", "busybox", "httpd",
                                   "-f", "-p", "80", "-h", "."])
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)

        def answer():
            return subprocess.run(["curl", "--silent", "--max-time", "10",
                                   "http://localhost:8080/index.html"],
                                  capture_output=True, check=False, timeout=PATIENCE).stdout

        self.assertEqual(harness.until(answer, PATIENCE, "an answer"), b"served")


if __name__ == "__main__":
    harness.main()
