#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   host                             guests of one netfwd --shared
#   clients ── 127.0.0.1:P ─┐          ┌─ namespace one
#   clients ── 127.105.0.N ─┴─ netfwd ─┼─ namespace two, with an agent
#                                      ├─ machine vm1, with an agent, by its vsock
#                                      └─ machine vm2, with an SSH server alone
"""Guests of a shared network, each with ports, rules and ways of its own."""
import json
import os
import pathlib
import socket
import subprocess
import unittest
from concurrent.futures import ThreadPoolExecutor

import paths  # noqa: F401
import harness
import peer
from following import Inside, pair_eventually, wait_reachable, wait_refused
from joiner import Joiner
from sshd import make_key

TOKEN = "0123456789abcdef0123456789abcdef"  # as in the machines' image
PATIENCE = 20
MACHINES = ("vm1", "vm2")
NETWORK_PORT, LOOPBACK_PORT = 8081, 8082  # servers on all addresses, and on the loopback alone

RULES = """
shared:
  guests:
  - name: one
    portForwards:
    - {{guestPort: 8100, hostPort: {one}}}
  - name: two
    agent: {{transport: tcp, tokenFile: {token}}}
    portForwards:
    - {{guestPort: 8100, hostPort: 28100}}
    - {{guestPort: 8200, hostPort: 28200, proto: tcp, static: true}}
  - name: far
    mac: 02:00:00:00:00:09
    portForwards:
    - {{guestIP: 0.0.0.0, guestPort: 8100, ignore: true}}
"""


as_user = []  # what runs `netfwd VERB` as the user whose netfwd it is


def netfwd_output(*arguments):
    return subprocess.check_output([*as_user, harness.Netfwd.binary(), *arguments], text=True,
                                   timeout=10)


def status():
    return json.loads(netfwd_output("status", "--json"))


def address_of(name):
    """The guest's IPv4 address, once it has one."""
    def known():
        done = subprocess.run([*as_user, harness.Netfwd.binary(), "ip", name], text=True,
                              timeout=10, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              check=False)
        return done.stdout.split()[:1]

    return harness.until(known, harness.BOOT_TIMEOUT, f"the address of {name}")[0]


def loopback_of(name):
    return "127.105.0." + address_of(name).rpartition(".")[2]


def token_file(owner=None):
    path = pathlib.Path(harness.new_path("token"))
    path.write_text(TOKEN + "\n")
    if owner:
        os.chown(path, owner, owner)
    path.chmod(0o600)
    return path


class OwnRules(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.path, cls.token = harness.new_path("sock"), token_file()
        cls.config = pathlib.Path(harness.new_path("yaml"))
        cls.write_rules(18100)
        cls.inside, guests = {}, {}
        for name in ("one", "two"):
            guests[name] = harness.NamespaceGuest(name)
            cls.addClassCleanup(guests[name].remove)
            cls.inside[name] = Inside(guests[name])
            cls.addClassCleanup(cls.inside[name].close)
        cls.netfwd = harness.Netfwd.start(
            "--shared", "-v", f"--config={cls.config}", f"--stream={cls.path}", "--netns=one",
            "--netns=two", "--loopback=127.105.0.0", f"--leases={harness.new_path('leases')}")
        cls.addClassCleanup(cls.netfwd.stop)
        agent = harness.Agent(guests["two"], "--tcp=0.0.0.0:2222", f"--token-file={cls.token}")
        cls.addClassCleanup(agent.stop)
        cls.netfwd.wait_log("tunnel name=grpc state=up", PATIENCE)

    @classmethod
    def write_rules(cls, one):
        cls.config.write_text(RULES.format(one=one, token=cls.token))

    def listen(self, name, port, address="127.0.0.1"):
        listener = self.inside[name].listen(address, port)
        self.addCleanup(listener.close)
        return listener

    def pair(self, listener, port, host="127.0.0.1"):
        pair = pair_eventually(listener, port, host)
        self.addCleanup(pair.close)
        pair.check()
        return pair

    def forwards(self, **what):
        return [f for f in status()["forwards"] if what.items() <= f.items()]

    def test_each_goes_by_its_own_rules(self):
        one, two = self.listen("one", 8100), self.listen("two", 8100)
        self.pair(one, 18100)
        self.pair(two, 28100)
        self.assertEqual(self.forwards(host="127.0.0.1:18100")[0]["guest_name"], "one")
        self.assertEqual(self.forwards(host="127.0.0.1:28100")[0]["guest_name"], "two")
        self.netfwd.wait_log("forwarding protocol=tcp host=127.0.0.1:28100 "
                             "guest=127.0.0.1:8100 guest_name=two")
        ways = {(way["guest_name"], way["name"]) for way in status()["ways"]}
        self.assertLessEqual({("one", "netns"), ("two", "grpc"), ("far", "direct")}, ways)

    def test_a_static_forward_waits_for_its_guest(self):
        pair_at = self.listen("two", 8200)
        self.pair(pair_at, 28200)

    def test_the_first_of_two_that_want_a_port_has_it_while_it_listens(self):
        first = self.listen("one", 8300)
        self.pair(first, 8300)
        second = self.listen("two", 8300)
        harness.until(lambda: self.forwards(host="127.0.0.1:8300", guest_name="two",
                                            state="waiting"), PATIENCE, "the second to wait")
        self.pair(first, 8300)
        first.close()
        self.pair(second, 8300)

    def test_all_ports_are_on_the_loopback_address(self):
        for name in ("one", "two"):
            host = loopback_of(name)
            for port, address in ((8401, "0.0.0.0"), (8402, "127.0.0.1"), (8403, "::1")):
                with self.subTest(name, address=address):
                    listener = self.listen(name, port, address)
                    self.pair(listener, port, host)
                    listener.close()
                    wait_refused(port, host)

    def test_reports_go_by_the_rules_of_their_guest(self):
        far = Joiner(self.path, 9)
        self.addCleanup(far.close)
        far.ask()
        far.take()
        self.assertEqual(address_of("far"), far.address)  # it told no name: the file's
        control = pathlib.Path(os.environ["XDG_RUNTIME_DIR"]) / "netfwd/control.sock"
        report = {"added": [{"protocol": "tcp", "ip": "0.0.0.0", "port": port}
                            for port in (8100, 8500)]}
        subprocess.run(["curl", "--fail", "--silent", "--show-error", "--max-time", "10",
                        "--unix-socket", control, "--json", json.dumps(report),
                        "http://netfwd/v1/guests/far/listeners"], check=True, timeout=20,
                       stdout=subprocess.DEVNULL)
        self.netfwd.wait_log("not-forwarding protocol=tcp guest=0.0.0.0:8100 guest_name=far")
        self.assertTrue(self.forwards(host=f"{loopback_of('far')}:8500", guest_name="far"))

    def test_a_reload_changes_the_rules_of_each(self):
        listener = self.listen("one", 8100)
        self.pair(listener, 18100)
        self.write_rules(18101)
        netfwd_output("reload")
        self.pair(listener, 18101)
        self.write_rules(18100)
        netfwd_output("reload")
        self.pair(listener, 18100)

    def test_rules_are_explained_by_guest(self):
        config = f"--config={self.config}"
        for guest, host in (("one", "127.0.0.1:18100"), ("two", "127.0.0.1:28100")):
            told = json.loads(netfwd_output("explain", config, f"--guest={guest}", "tcp",
                                            "127.0.0.1:8100"))
            self.assertEqual(told["host"], host)
        self.assertIn("28200", netfwd_output("check", config, "--guest=two"))
        done = subprocess.run([harness.Netfwd.binary(), "check", config, "--guest=three"],
                              capture_output=True, text=True, timeout=10, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("none of that name", done.stderr)


class Rootless(unittest.TestCase):
    """netfwd as an ordinary user without capabilities; machines of either kind."""
    user = 65534

    @classmethod
    def setUpClass(cls):
        if harness.Agent.is_sanitized() and not harness.SOAK:
            raise unittest.SkipTest("no address sanitizer in User-Mode Linux")
        cls.place = pathlib.Path(harness.work) / "user"
        cls.place.mkdir()
        os.chown(cls.place, cls.user, cls.user)
        os.chmod(harness.work, 0o755)
        config, key = pathlib.Path(harness.new_path("yaml")), make_key()
        os.chown(key, cls.user, cls.user)
        agent = f"agent: {{transport: vsock}}, vsock: {cls.place}/vsock"
        if harness.SOAK:
            agent = f"agent: {{transport: tcp, tokenFile: {token_file(cls.user)}}}"
        config.write_text(f"shared:\n  guests:\n  - {{name: vm1, {agent}}}\n"
                          f"  - {{name: vm2, ssh: {{user: root, identityFile: {key}}},"
                          " agent: {transport: ssh}}\n")
        user = ["setpriv", f"--reuid={cls.user}", f"--regid={cls.user}", "--clear-groups",
                "--bounding-set=-all", "--inh-caps=-all", "env",
                f"XDG_RUNTIME_DIR={cls.place}", f"HOME={cls.place}"]
        cls.netfwd = harness.Netfwd.start("--shared", "-v", f"--config={config}",
                                          "--loopback=127.105.0.0", *cls.links(), prefix=user)
        cls.addClassCleanup(lambda: cls.netfwd.stop())
        as_user[:] = user
        cls.addClassCleanup(as_user.clear)
        with ThreadPoolExecutor() as pool:
            machines = list(pool.map(cls.boot, MACHINES))
        cls.guests = dict(zip(MACHINES, machines))
        for machine in machines:
            cls.addClassCleanup(machine.kill)
        cls.guests["vm2"].output(f"ssh-server '{key.with_suffix('.key.pub').read_text().strip()}'")
        for machine in machines:
            machine.start_peer(NETWORK_PORT)
            machine.output(f"socat TCP4-LISTEN:{LOOPBACK_PORT},bind=127.0.0.1,reuseaddr,fork "
                           f"SYSTEM:hostname </dev/null >/dev/null 2>&1 &")

    @classmethod
    def links(cls):
        if harness.SOAK:
            return [f"--stream={cls.place}/vms"]
        return [f"--vhost-user={cls.place}/{name}" for name in MACHINES]

    @classmethod
    def boot(cls, name):
        boot, devices = f"netfwd.name={name}", [(cls.place / name, harness.UmlGuest.NET)]
        if name == "vm2":
            boot += " netfwd.agent=off"
        else:
            devices.append((cls.place / "vsock", harness.UmlGuest.VSOCK))
        if harness.SOAK:
            return harness.QemuGuest(f"stream {cls.place}/vms", boot=boot,
                                     mac=f"52:54:00:00:00:0{name[-1]}")
        return harness.UmlGuest(*devices, boot=boot)

    def test_all_ports_of_each_are_on_its_loopback_address(self):
        for name in self.guests:
            host = loopback_of(name)
            for port in (NETWORK_PORT, LOOPBACK_PORT, 5201):  # the last, of iperf3
                with self.subTest(name, port=port):
                    wait_reachable(port, host)
            result = peer.run_check("download", host, NETWORK_PORT, 1 << 20)
            self.assertEqual(result["answer"], result["expected"])
            with socket.create_connection((host, LOOPBACK_PORT), PATIENCE) as client:
                self.assertEqual(client.makefile().read(), f"{name}\n")

    def test_each_goes_by_the_ways_that_it_has(self):
        vm1 = {"grpc"} if harness.SOAK else {"vsock", "grpc"}
        wanted = {"vm1": vm1, "vm2": {"ssh", "grpc"}}

        def up():
            found = {name: set() for name in MACHINES}
            for way in status()["ways"]:
                if way["state"] == "up" and way["name"] != "direct":
                    found[way["guest_name"]].add(way["name"])
            return found

        harness.until(lambda: up() == wanted, harness.BOOT_TIMEOUT, f"{wanted}")
        for name, ways in wanted.items():
            host = f"{loopback_of(name)}:{LOOPBACK_PORT}"
            forward = harness.until(lambda h=host: [f for f in status()["forwards"]
                                                    if f["host"] == h], PATIENCE, host)[0]
            self.assertIn(forward["via"], ways)

    def test_they_reach_each_other(self):
        self.guests["vm1"].output(f"ping -c 1 -W 10 {address_of('vm2')}", 60)


if __name__ == "__main__":
    harness.main()
