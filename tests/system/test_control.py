#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   host, in a network of its own                         guest, another network namespace
#   client ── 127.0.0.1:P ─┐
#                        netfwd ══ TAP ══ eth0 ── *:7000, peer server
#   netfwd VERB ── control socket ─┘
"""A running netfwd is asked and told, by its verbs."""
import concurrent.futures
import json
import pathlib
import socket
import subprocess
import unittest

import paths  # noqa: F401
import harness
import peer

GUEST_PORT = 7000
CONFIG = "portForwardTypes: {any: direct}\n"


class Control(unittest.TestCase):
    def setUp(self):
        self.guest = harness.NamespaceGuest("asked")
        self.addCleanup(self.guest.remove)
        self.guest.start_peer(GUEST_PORT)
        self.control = harness.new_path("sock")
        self.config = pathlib.Path(harness.new_path("yaml"))
        self.config.write_text(CONFIG)
        self.netfwd = harness.Netfwd.start(f"--netns={self.guest.name}", "-v",
                                           f"--config={self.config}",
                                           f"--control={self.control}")
        self.addCleanup(self.netfwd.stop)

    def run_verb(self, verb, *arguments):
        return subprocess.run([harness.Netfwd.binary(), verb, f"--control={self.control}",
                               *arguments],
                              capture_output=True, text=True, timeout=20, check=False)

    def verb(self, verb, *arguments):
        done = self.run_verb(verb, *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def answers(self, port):
        result = peer.run_check("upload", "127.0.0.1", port, 1000)
        return result["answer"] == result.get("expected")

    def status(self):
        return json.loads(self.verb("status", "--json"))

    def test_status_names_the_guest_and_its_forwards(self):
        status = self.status()
        self.assertTrue(status["guests"][0]["connected"], status)
        text = self.verb("status")
        self.assertIn("netns", text)

    def test_expose_and_unexpose(self):
        port = harness.free_port()
        self.verb("expose", f"tcp:127.0.0.1:{port}:{GUEST_PORT}")
        self.assertTrue(self.answers(port))
        self.assertIn(str(port), self.verb("status"))

        self.verb("unexpose", f"tcp:127.0.0.1:{port}:{GUEST_PORT}")

        self.assertEqual(peer.run_check("fate", "127.0.0.1", port)["answer"], "ECONNREFUSED")
        self.assertNotEqual(self.run_verb("unexpose",
                                          f"tcp:127.0.0.1:{port}:{GUEST_PORT}").returncode, 0)

    def test_reported_listeners_are_forwarded_by_the_rules(self):
        before = self.status()
        port = harness.free_port()
        body = {"added": [{"protocol": "tcp", "ip": "0.0.0.0", "port": port}]}
        self.post("/v1/guests/default/listeners", body, 200)
        self.assertEqual(len(self.status()["forwards"]), len(before["forwards"]) + 1)
        self.post("/v1/guests/default/listeners", {"removed": body["added"]}, 200)
        self.assertEqual(len(self.status()["forwards"]), len(before["forwards"]))
        self.post("/v1/guests/nobody/listeners", body, 404)
        self.post("/v1/guests/default/listeners",
                  {"added": [{"protocol": "TCP", "ip": "0.0.0.0", "port": port}]}, 400)

    def post(self, path, body, expected):
        done = subprocess.run(["curl", "--silent", "--max-time", "10", "--unix-socket",
                               self.control, "--output", "/dev/null", "--write-out",
                               "%{http_code}", "--data-binary", "@-",
                               f"http://netfwd{path}"],
                              capture_output=True, text=True, timeout=20, check=True,
                              input=json.dumps(body))
        self.assertEqual(done.stdout, str(expected), f"{path} {str(body)[:200]}")

    def test_reload_changes_the_rules_and_keeps_them_when_it_fails(self):
        port = harness.free_port()
        self.config.write_text(CONFIG + "portForwards:\n"
                               f"- {{guestPort: {GUEST_PORT}, hostPort: {port}, static: true}}\n")
        self.verb("reload")
        self.assertTrue(self.answers(port))

        self.config.write_text("portForwards: nonsense\n")
        self.assertNotEqual(self.run_verb("reload").returncode, 0)

        self.assertTrue(self.answers(port))

    def test_a_reload_under_load_drops_no_connection(self):
        port = harness.free_port()
        rule = f"- {{guestPort: {GUEST_PORT}, hostPort: {port}, static: true}}\n"
        self.config.write_text(CONFIG + "portForwards:\n" + rule)
        self.verb("reload")
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            loads = [pool.submit(peer.run_check, "upload", "127.0.0.1", port, 50_000_000)
                     for _ in range(4)]
            n = 0
            while not all(load.done() for load in loads):
                n += 1
                other = f"- {{guestPort: {GUEST_PORT + n}, static: true, via: direct}}\n"
                self.config.write_text(CONFIG + "portForwards:\n" + other + rule)
                self.verb("reload")
                with socket.create_connection(("127.0.0.1", port), 10):
                    pass  # new ones come in as well
        for load in loads:
            result = load.result()
            self.assertEqual(result["answer"], result["expected"])
        print(f"{n} reloads under load")
        self.assertGreater(n, 1)

    def test_a_reload_changes_the_log_and_names_what_it_cannot_change(self):
        self.config.write_text(CONFIG + "logging: {json: true}\nnetwork: {mtu: 1500}\n")
        self.verb("reload")
        self.assertIn("network.mtu has changed, which takes effect when", self.netfwd.log())
        self.assertIn('"level"', self.netfwd.log().splitlines()[-1])

    def test_what_cannot_be_reloaded_leaves_all_as_it_was(self):
        port = harness.free_port()
        good = CONFIG + ("portForwards:\n"
                         f"- {{guestPort: {GUEST_PORT}, hostPort: {port}, static: true}}\n")
        self.config.write_text(good)
        self.verb("reload")
        for bad in ("portForwards: [{guestPort: 22}]", "colour: red", "\x00", "- a",
                    "x: " + "y" * 10_000_000):
            with self.subTest(bad[:20]):
                self.config.write_text(bad)
                self.assertNotEqual(self.run_verb("reload").returncode, 0)
                self.assertTrue(self.answers(port))
        self.config.unlink()
        self.assertNotEqual(self.run_verb("reload").returncode, 0)
        self.config.mkdir()
        self.assertNotEqual(self.run_verb("reload").returncode, 0)
        self.assertTrue(self.answers(port))

    def test_a_hundred_thousand_reported_ports_are_bounded(self):
        added = [{"protocol": "tcp", "ip": f"10.{i >> 14}.{i >> 7 & 127}.1", "port": i % 65_000 + 1}
                 for i in range(99_000)]  # and a few there are
        before = len(self.status()["forwards"])
        self.post("/v1/guests/default/listeners", {"added": added}, 200)
        self.post("/v1/guests/default/listeners", {"added": added}, 507)
        self.post("/v1/guests/default/listeners", {"removed": added}, 200)
        self.assertEqual(len(self.status()["forwards"]), before)
        self.assertLess(self.netfwd.log().count("not-forwarding"), 200)

    def test_events_tell_what_happened(self):
        port = harness.free_port()
        self.verb("expose", f"tcp:127.0.0.1:{port}:{GUEST_PORT}")
        self.assertIn(str(port), self.verb("events"))

    def test_nobody_there(self):
        done = subprocess.run([harness.Netfwd.binary(), "status", "--control=/nowhere.sock"],
                              capture_output=True, text=True, timeout=20, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("/nowhere.sock", done.stderr)


if __name__ == "__main__":
    harness.main()
