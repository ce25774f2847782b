#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""netfwd check and netfwd explain: what they print, and what forwarder/README.md
says that they do. No guest, no network."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

NETFWD = os.path.abspath(os.environ["NETFWD"])
ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(*arguments, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("LIMA_")}
    return subprocess.run([NETFWD, *arguments], env={**clean, **environment}, cwd=ROOT,
                          text=True, capture_output=True, timeout=20, check=False)


class Explain(unittest.TestCase):
    def setUp(self):
        self.file = tempfile.NamedTemporaryFile("w", suffix=".yaml")
        self.addCleanup(self.file.close)

    def config(self, text):
        self.file.write(text)
        self.file.flush()
        return self.file.name

    def explain(self, *arguments, **environment):
        done = run("explain", *arguments, **environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("\n"), 1)
        return json.loads(done.stdout)

    def test_a_forward(self):
        config = self.config("portForwards:\n- {guestPort: 3000, hostPort: 2000}\n")
        self.assertEqual(self.explain("--config", config, "tcp", "127.0.0.1:3000"), {
            "proto": "tcp", "guest": "127.0.0.1:3000", "forward": True,
            "host": "127.0.0.1:2000", "also": "[::1]:2000", "rule": 0, "via": "ssh"})

    def test_a_socket_and_an_ignore(self):
        config = self.config("portForwards:\n"
                             "- {guestPort: 80, hostSocket: /run/a.sock, via: auto}\n"
                             "- {guestPort: 81, ignore: true}\n")
        self.assertEqual(self.explain("--config", config, "udp", "[::]:80"), {
            "proto": "udp", "guest": "[::]:80", "forward": True,
            "host": "/run/a.sock", "rule": 0, "via": "auto"})
        self.assertEqual(self.explain("--config", config, "tcp", "127.0.0.1:81"), {
            "proto": "tcp", "guest": "127.0.0.1:81", "forward": False, "rule": 1})

    def test_ssh_and_what_no_rule_matches(self):
        self.assertEqual(self.explain("tcp", "10.0.0.1:22")["rule"], "builtin")
        self.assertEqual(self.explain("--ssh-port", "60022", "tcp", "[::1]:60022"), {
            "proto": "tcp", "guest": "[::1]:60022", "forward": False, "rule": "builtin"})
        self.assertIsNone(self.explain("tcp", "10.0.0.1:80")["rule"])

    def test_the_environment(self):
        done = run("explain", "udp", "127.0.0.1:53", LIMA_SSH_PORT_FORWARDER="true")
        self.assertFalse(json.loads(done.stdout)["forward"])
        self.assertIn("deprecated", done.stderr)

    def test_bad_arguments(self):
        for arguments in (["tcp"], ["TCP", "127.0.0.1:80"], ["tcp", "127.0.0.1:70000"],
                          ["tcp", "nowhere:80"], ["--ssh-port", "0", "tcp", "127.0.0.1:80"],
                          ["--colour", "tcp", "127.0.0.1:80"], ["--config"]):
            with self.subTest(arguments):
                done = run("explain", *arguments)
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertTrue(done.stderr)


class Check(unittest.TestCase):
    def test_every_example_prints_its_rules(self):
        for path in sorted((ROOT / "configs").glob("*.yaml")):
            with self.subTest(path.name):
                done = run("check", "--config", str(path))
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertIn("builtin: any guest *:22 ignored", done.stdout)

    def test_faults_have_file_line_and_column(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write("plain: maybe\nportForwards:\n- guestport: 80\n  hostPort: 22\n")
            file.flush()
            done = run("check", "--config", file.name)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn(f"{file.name}:1:8: field `plain` must be true or false", done.stderr)
        self.assertIn(f"{file.name}:3:3: field `portForwards[0].guestport` is unknown; "
                      "did you mean `guestPort`?", done.stderr)
        self.assertIn(f"{file.name}:4:13: field `portForwards[0].hostPort` must not be 22",
                      done.stderr)

    def test_the_program_does_not_start_with_a_bad_file(self):
        done = run("--config", "/")
        self.assertEqual(done.returncode, 1)
        self.assertIn("is a directory", done.stderr)


class Documents(unittest.TestCase):
    def test_the_readme_shows_what_is_printed(self):
        lines = (ROOT / "forwarder/README.md").read_text().split("\n")
        shown = [(line.split(), lines[i + 1].strip()) for i, line in enumerate(lines)
                 if line.startswith("    $ netfwd explain")]
        self.assertGreater(len(shown), 0)
        for words, expected in shown:
            self.assertEqual(run(*words[2:]).stdout.strip(), expected)

    def test_every_key_is_applied_by_a_reload_or_named_by_it(self):
        applied = {"level", "json", "localPort", "tcp", "udp", "any", "plain", "autoCorrect",
                   "portForwards", "name", "mac", "address"}  # the last, of shared.guests
        schema = (ROOT / "forwarder/config_parse.c").read_text()
        named = set(re.findall(r'"[a-z]+\.(?:keepalive\.)?(\w+)"',
                               (ROOT / "forwarder/config_changes.c").read_text()))
        rules = schema.index("rule_fields[]")
        keys = re.findall(r'^\t(?!SECTION)(?:[A-Z_]+)\("(\w+)"', schema[:rules], re.MULTILINE)
        self.assertGreater(len(keys), 20)
        self.assertEqual(set(keys) - named - applied, set())

    def test_the_manual_names_every_key(self):
        manual = (ROOT / "forwarder/netfwd.yaml.5").read_text()
        schema = (ROOT / "forwarder/config_parse.c").read_text()
        for line in schema.split("\n"):
            words = line.strip().split('"')
            if words[0] in ("INT(", "ENUM(", "SWITCH(", "STRING(", "SECTION(", "LIST("):
                self.assertIn(words[1], manual)


if __name__ == "__main__":
    unittest.main()
