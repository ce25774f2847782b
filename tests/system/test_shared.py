#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   host, in a network of its own ── netfwd0, 192.168.105.1 ─┐
#   namespaces one to four ── TAP ───────────────────────────┤
#   User-Mode Linux uml1 and uml2 ── vhost-user ─────────────┼─ netfwd --shared
#   virtual machines vm1 and vm2, joiners ── UNIX stream ────┘
"""A network of many guests: they reach each other and the host, by address and name."""
import fcntl
import ipaddress
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

import paths  # noqa: F401
import frames
import harness
import peer
from guest_checks import GUEST_PORT, MEGA
from joiner import DgramJoiner, Joiner

HOST, GATEWAY, DNS = "192.168.105.1", "192.168.105.2", "192.168.105.3"
HOST6, PREFIX6 = "fd00:c0a8:69::1", "fd00:c0a8:69:"
JOINERS = 64
STOPPED_SECONDS = 60 if harness.SOAK else 0
# a user without capabilities
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all",
          "--inh-caps=-all")
NAMESPACES = ("one", "two", "three", "four")
MACHINES = ("vm1", "vm2", "uml1", "uml2")
PEERS = ("one", "two", "vm1", "uml1")  # that serve

IFF_TUN, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x0002, 0x1000, 0x4000

# what comes from one of two descriptors goes to the other
CARRY = """
import os, select, sys
ends = list(map(int, sys.argv[1:]))
while True:
    for fd in select.select(ends, [], [])[0]:
        try:
            os.write(ends[fd == ends[0]], os.read(fd, 65536))
        except OSError:
            pass  # that interface is not up yet
"""

# one question of NAME.netfwd.internal on a connection that the next one could use as well
TCP_LOOKUP = """
import socket, struct, sys
server, name, kind = sys.argv[1:]
question = b"".join(bytes([len(l)]) + l for l in (name.encode(), b"netfwd", b"internal"))
query = struct.pack(">6H", 7, 256, 1, 0, 0, 0) + question + struct.pack(">BHH", 0, int(kind), 1)
s = socket.create_connection((server, 53), 10)
s.sendall(struct.pack(">H", len(query)) + query)
reply = s.recv(2, socket.MSG_WAITALL)
reply = s.recv(int.from_bytes(reply, "big"), socket.MSG_WAITALL)
size = 4 if kind == "1" else 16
print(socket.inet_ntop(socket.AF_INET if size == 4 else socket.AF_INET6, reply[-size:]))
"""


def netfwd_output(*arguments):
    return subprocess.check_output([harness.Netfwd.binary(), *arguments], text=True, timeout=10)


def status():
    return json.loads(netfwd_output("status", "--json"))


def addresses(name):
    """(IPv4, IPv6) of a guest, as netfwd knows them; None for one it does not."""
    lines = netfwd_output("ip", name).split()
    four = [line for line in lines if ":" not in line]
    six = [line for line in lines if ":" in line]
    return (four or [None])[0], (six or [None])[0]


def ipv4_hex(address):
    return ":".join(re.findall("....", socket.inet_aton(address).hex()))


def open_tap(name, flags=IFF_TAP | IFF_NO_PI | IFF_VNET_HDR):
    """As whoever may make it opens it, for a netfwd that may not."""
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH", name.encode(), flags))  # TUNSETIFF
    return fd


class Host(harness.Guest):
    """The host itself, where the tests of a guest may run, too."""

    def run(self, script, timeout=30):
        done = subprocess.run(["timeout", "-s", "KILL", str(timeout), "sh", "-c", script],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        return done.returncode, done.stdout


class Shared(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.path = harness.new_path("sock")
        cls.nics = {name: harness.new_path("nic") for name in MACHINES if name.startswith("uml")}
        cls.leases = harness.new_path("leases")
        cls.guests = {}
        for name in NAMESPACES:
            cls.guests[name] = harness.NamespaceGuest(name, dns=(DNS,))
            cls.addClassCleanup(cls.guests[name].remove)
        cls.start_netfwd()
        cls.addClassCleanup(lambda: cls.netfwd.stop())
        with ThreadPoolExecutor() as pool:  # they boot at once
            machines = list(pool.map(cls.boot, MACHINES))
        for name, machine in zip(MACHINES, machines):
            cls.guests[name] = machine
            cls.addClassCleanup(machine.kill)
            machine.wait_network()
        for name in PEERS:
            cls.guests[name].start_peer(GUEST_PORT)

    @classmethod
    def start_netfwd(cls):
        cls.netfwd = harness.Netfwd.start(
            "--shared", "-v", f"--stream={cls.path}", *(f"--netns={n}" for n in NAMESPACES),
            *(f"--vhost-user={nic}" for nic in cls.nics.values()), "--host-interface=netfwd0",
            "--loopback=127.105.0.0", f"--leases={cls.leases}")

    @classmethod
    def boot(cls, name):
        boot = f"netfwd.name={name}"
        if name in cls.nics:
            return harness.UmlGuest((cls.nics[name], harness.UmlGuest.NET), boot=boot)
        kind = "stream" if name == "vm1" else "socket"  # as socket_vmnet's clients
        return harness.QemuGuest(f"{kind} {cls.path}", boot=boot,
                                 mac=f"52:54:00:00:00:0{name[-1]}")

    def counter(self, name):
        return status()["counters"].get(name, 0)

    def join(self, number):
        joiner = Joiner(self.path, number)
        self.addCleanup(joiner.close)
        joiner.ask()
        joiner.take()
        return joiner

    def ping_all(self, targets):
        """Of every guest those that targets(guest) lists; all guests at once."""
        with ThreadPoolExecutor() as pool:
            for done in [pool.submit(self.ping, name, *targets(name)) for name in self.guests]:
                done.result()

    def ping(self, name, *targets):
        """From a guest to each of the targets, "-6 NAME" by IPv6; one script, as a virtual machine
        needs long to start one."""
        script = "".join(f"ping -c 1 -W 10 {target} >/dev/null || echo 'no answer: {target}'\n"
                         for target in targets)
        self.assertEqual(self.guests[name].output(script, 60), "", name)

    def test_all_reach_each_other_and_the_host(self):
        known = {name: harness.until(lambda n=name: all(addresses(n)) and addresses(n), 20,
                                     f"the addresses of {name}") for name in self.guests}
        everywhere = [HOST, GATEWAY, f"-6 {HOST6}"]
        for four, six in known.values():
            everywhere += [four, f"-6 {six}"]
        self.ping_all(lambda name: everywhere)
        with self.subTest("the host takes no router of ours"):
            self.assertEqual(Host().output("ip -6 route show default"), "")
        for target in self.guests:
            with self.subTest(source="host", target=target):
                Host().output(f"busybox ping -c 1 -W 10 {known[target][0]}")
                Host().output(f"busybox ping -6 -c 1 -W 10 {known[target][1]}")

    def test_all_know_each_others_names(self):
        names = [f"{name}.netfwd.internal" for name in (*self.guests, "host")]
        self.ping_all(lambda name: [*names, *(f"-6 {other}" for other in names)])
        with self.subTest("over TCP"):
            for kind, address in ((1, addresses("vm1")[0]), (28, addresses("vm1")[1])):
                self.assertEqual(self.guests["one"].output(
                    f"/usr/bin/python3 -c '{TCP_LOOKUP}' {DNS} vm1 {kind}").strip(), address)
        with self.subTest("by the search list that DHCP told"):
            self.ping("vm1", "one")
        with self.subTest("and back"):
            address = addresses("vm1")[0]
            self.assertIn("vm1.netfwd.internal",
                          self.guests["one"].output(f"nslookup {address} {DNS}"))
        with self.subTest("nobody's"):
            code, output = self.guests["one"].run(f"nslookup nobody.netfwd.internal {DNS}")
            self.assertNotEqual(code, 0)
            self.assertIn("NXDOMAIN", output)

    def test_data_arrives_between_guests_and_the_host(self):
        server = peer.Server()
        for client, target, size in (("one", "two", 64 * MEGA), ("vm1", "one", 4 * MEGA),
                                     ("two", "vm1", 4 * MEGA), ("uml1", "two", 64 * MEGA),
                                     ("one", "uml1", 64 * MEGA), ("uml1", "vm1", 4 * MEGA)):
            with self.subTest(client=client, target=target):
                result = self.guests[client].check("both_ways", addresses(target)[0], GUEST_PORT,
                                                   size)
                self.assertEqual(result["answer"], result["expected"])
        for host in (HOST, GATEWAY):
            with self.subTest(client="vm2", target=host):
                result = self.guests["vm2"].check("upload", host, server.port, 4 * MEGA)
                self.assertEqual(result["answer"], result["expected"])
        with self.subTest(client="host", target="one"):
            result = peer.run_check("download", addresses("one")[0], GUEST_PORT, 64 * MEGA)
            self.assertEqual(result["answer"], result["expected"])

    def test_each_guest_has_its_ports_on_a_loopback_address(self):
        def loopback(name):
            return "127.105.0." + addresses(name)[0].rpartition(".")[2]

        control = pathlib.Path(os.environ["XDG_RUNTIME_DIR"]) / "netfwd/control.sock"
        report = {"added": [{"protocol": "tcp", "ip": "0.0.0.0", "port": GUEST_PORT}]}
        for name in ("vm1", "uml1"):
            subprocess.run(["curl", "--fail", "--silent", "--show-error", "--max-time", "10",
                            "--unix-socket", control, "--json", json.dumps(report),
                            f"http://netfwd/v1/guests/{name}/listeners"], check=True, timeout=20,
                           stdout=subprocess.DEVNULL)
        for name in PEERS:
            with self.subTest(name):
                harness.until(lambda n=name: peer.run_check("upload", loopback(n), GUEST_PORT, 1)
                              ["answer"] != "ECONNREFUSED", 10, "the port")
                result = peer.run_check("download", loopback(name), GUEST_PORT, MEGA)
                self.assertEqual(result["answer"], result["expected"])

    def test_multicast_reaches_all(self):
        """As mDNS has it: each says its name to the group, and hears the names of all others."""
        everybody = {f"{name}/{family}" for name in (*self.guests, "host") for family in (4, 6)}
        host = harness.work / "heard-host"
        peer.Announcer("host", str(host), "netfwd0")
        with ThreadPoolExecutor() as pool:  # an emulated processor takes its time for Python
            list(pool.map(lambda name: self.guests[name].output(
                f"peer announce {name} /tmp/heard-{name}", harness.BOOT_TIMEOUT), self.guests))

        def missing(name):
            heard = self.guests[name].run(f"cat /tmp/heard-{name}")[1].split()
            return everybody - set(heard) - {f"{name}/4", f"{name}/6"}

        for name in self.guests:
            harness.until(lambda n=name: not missing(n), harness.BOOT_TIMEOUT,
                          f"all that {name} is to hear")
        harness.until(lambda: host.exists() and
                      everybody - {"host/4", "host/6"} <= set(host.read_text().split()),
                      harness.BOOT_TIMEOUT, "all that the host is to hear")

    def test_many_join_at_once(self):
        joiners = []
        for number in range(JOINERS):
            joiners.append(Joiner(self.path, 0x100 + number))
            self.addCleanup(joiners[-1].close)
        for joiner in joiners:
            joiner.ask()
        given = [joiner.take() for joiner in joiners]
        self.assertEqual(len(set(given)), JOINERS)
        self.assertTrue(joiners[-1].echo(addresses("one")[0]))

    def test_restarted_machines_have_their_addresses_and_names(self):
        before = {name: addresses(name) for name in self.guests}
        restarted = ("vm2", "uml2")
        if harness.SOAK:  # and so is netfwd
            restarted = MACHINES
            self.netfwd.stop()
            type(self).start_netfwd()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda name: self.guests[name].restart(), restarted))
        for name in restarted:
            self.guests[name].wait_network()
            if name in PEERS:
                self.guests[name].start_peer(GUEST_PORT)
        for name in self.guests:
            harness.until(lambda n=name: addresses(n) == before[n], harness.BOOT_TIMEOUT,
                          f"{name} to have what it had")
        self.ping("one", *(f"{name}.netfwd.internal" for name in restarted))

    def test_stopped_neighbor_changes_nothing_for_others(self):
        stopped = self.guests["vm2"].program.pid
        target = addresses("vm2")[0]
        self.ping("one", target)  # and so knows its MAC
        os.kill(stopped, signal.SIGSTOP)
        try:
            flood = subprocess.Popen(
                self.guests["one"].command(f"socat -u -b 1400 OPEN:/dev/zero "
                                           f"UDP4-SENDTO:{target}:9"),
                stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            harness.until(lambda: self.counter("segment.congested") > 0, 20, "a full queue")
            end = time.monotonic() + STOPPED_SECONDS
            while True:
                result = self.guests["two"].check("both_ways", addresses("vm1")[0], GUEST_PORT,
                                                  MEGA)
                self.assertEqual(result["answer"], result["expected"])
                self.ping("two", addresses("one")[0])
                if time.monotonic() > end:
                    break
            os.killpg(flood.pid, signal.SIGKILL)
            flood.wait(10)
        finally:
            os.kill(stopped, signal.SIGCONT)
        harness.until(lambda: Host().run(f"busybox ping -c 1 -W 2 {target}")[0] == 0, 20,
                      "the guest that was stopped")

    def test_lies_are_refused_and_counted(self):
        liar = self.join(9)
        one, two = addresses("one")[0], addresses("two")[0]
        lie = Joiner(self.path, 10)
        self.addCleanup(lie.close)
        lie.mac = liar.mac  # a MAC that is another's
        said = {
            "arp-poison": lambda: liar.say_arp(one, two, 2),
            "spoofed-address": lambda: liar.say_udp(one, two, 9, 9),
            "rogue-dhcp": lambda: liar.say_udp(liar.address, "255.255.255.255", 68, 67),
            "rogue-router": lambda: liar.say_icmp6(134, bytes(12), "fe80::9"),
            "nd-poison": lambda: liar.say_icmp6(
                136, b"\x60\0\0\0" + frames.address(HOST6) + b"\2\1" + liar.mac, "fe80::9"),
            "spoofed-mac": lambda: lie.say_arp(liar.address, one),
        }
        for counter, say in said.items():
            with self.subTest(counter):
                before = self.counter(f"guard.{counter}")
                say()
                harness.until(lambda c=counter, b=before: self.counter(f"guard.{c}") > b, 5,
                              f"guard.{counter} to count")
        own = self.guests["one"].output("ip link show eth0").split("link/ether ")[1].split()[0]
        self.ping("two", one)
        self.assertIn(own, self.guests["two"].output(f"ip neigh show {one}"))
        self.assertTrue(liar.echo(one))  # it is not punished

    def test_frames_of_odd_sizes_and_a_flood_of_macs_disturb_nobody(self):
        odd, neighbor = self.join(11), self.join(12)
        small, jumbo = (
            frames.ipv4(frames.UDP, frames.udp(9, bytes(size), 9, odd.address, neighbor.address),
                        odd.address, neighbor.address) for size in (8, 8000))

        def flood():
            for number in range(1000):
                other = b"\2\1" + number.to_bytes(4, "big")
                odd.send(frames.ethernet(frames.IPV4, small, neighbor.mac, other))

        for counter, times, say in (
                ("link.rx-runt", 1, lambda: odd.send(b"short")),
                ("segment.not-segmented", 1, lambda: odd.send(
                    frames.ethernet(frames.IPV4, jumbo, neighbor.mac, odd.mac))),
                ("guard.spoofed-mac", 1000, flood)):
            with self.subTest(counter):
                before = self.counter(counter)
                say()
                harness.until(lambda c=counter, b=before + times: self.counter(c) >= b, 10,
                              f"{counter} to count")
        self.assertTrue(odd.echo(GATEWAY))
        self.assertTrue(neighbor.echo(addresses("one")[0]))

    def test_status_and_ip_show_the_guests(self):
        guests = {guest["name"]: guest for guest in status()["guests"]}
        for name in self.guests:
            self.assertTrue(guests[name]["connected"], name)
            self.assertGreater(guests[name]["lease_until"], time.time())
        self.assertEqual(guests["vm1"]["mac"], "52:54:00:00:00:01")
        self.assertIn(f"one {addresses('one')[0]}", netfwd_output("ip"))
        self.assertEqual(netfwd_output("ip", "52:54:00:00:00:01"), netfwd_output("ip", "vm1"))


class Kinds(unittest.TestCase):
    """What is chosen when the network is started."""

    def start(self, *arguments, **how):
        place = harness.new_path("shared")
        place.mkdir(mode=0o777)
        place.chmod(0o777)
        self.path = place / "sock"
        self.netfwd = harness.Netfwd.start("--shared", f"--stream={self.path}",
                                           f"--leases={place}/leases",
                                           f"--control={place}/control", *arguments, **how)
        self.addCleanup(self.netfwd.stop)

    join = Shared.join

    def test_leases_survive_netfwd(self):
        namespace = harness.NamespaceGuest("kept", dns=(DNS,))
        self.addCleanup(namespace.remove)
        path, leases = harness.new_path("sock"), harness.new_path("leases")
        given = []
        for numbers in ((3, 1, 2), (1, 2, 3)):  # in another order
            self.path = path
            netfwd = harness.Netfwd.start("--shared", "--netns=kept", f"--stream={path}",
                                          f"--leases={leases}")
            self.addCleanup(netfwd.kill)
            joiners = [self.join(number) for number in numbers]
            given.append({joiner.mac: joiner.address for joiner in joiners})
            given[-1]["kept"] = addresses("kept")[0]
            given[-1].update({joiner.mac + b"6": joiner.ask6() for joiner in joiners})
            netfwd.stop()
        self.assertEqual(given[0], given[1])

    def test_a_guest_of_a_datagram_socket_reaches_one_of_a_stream(self):
        path = harness.new_path("sock")
        self.start(f"--dgram={path}")
        stream, dgram = self.join(1), DgramJoiner(path, 2, harness.new_path("sock"))
        self.addCleanup(dgram.close)
        dgram.ask()
        dgram.take()
        self.assertTrue(dgram.echo("192.168.105.1"))
        for one, other in ((stream, dgram), (dgram, stream)):
            one.say_udp(one.address, other.address, 9, 9, b"hello, neighbor")
            self.assertIsNotNone(other.wait_for(lambda f: b"hello, neighbor" in f))

    def test_dhcp6_gives_a_guest_its_number_in_the_prefix(self):
        self.start()
        joiner, alone = self.join(1), Joiner(self.path, 2)  # this one has no IPv4
        self.addCleanup(alone.close)
        for guest, number in ((joiner, joiner.address), (alone, "192.168.105.17")):
            self.assertEqual(ipaddress.ip_address(guest.ask6()),
                             ipaddress.ip_address(PREFIX6 + ":" + ipv4_hex(number)))

    def test_the_hosts_interface_comes_by_descriptor(self):
        subprocess.run("ip tuntap add tap7 mode tap; ip addr add 192.168.105.1/24 dev tap7;"
                       "ip link set tap7 up", shell=True, check=True, timeout=10)
        self.addCleanup(subprocess.run, ["ip", "tuntap", "del", "tap7", "mode", "tap"], check=True,
                        timeout=10)
        fd = open_tap("tap7")
        self.addCleanup(os.close, fd)
        self.start(f"--host-interface-fd={fd}", prefix=NOBODY, pass_fds=(fd,))
        guest = self.join(1)
        self.assertTrue(guest.echo(HOST))
        self.assertTrue(guest.echo(GATEWAY))

    def test_an_exhausted_range_is_an_event(self):
        config = pathlib.Path(harness.new_path("yaml"))
        config.write_text("shared: {range: 192.168.105.16-192.168.105.17}\n")
        self.start(f"--config={config}", "-v")
        self.join(1)
        self.join(2)
        late = Joiner(self.path, 3)
        self.addCleanup(late.close)
        late.ask()
        self.netfwd.wait_log("addresses-exhausted guest=02:00:00:00:00:03 "
                             "first=192.168.105.16 last=192.168.105.17")

    def test_isolated_guests_reach_the_gateway_alone(self):
        self.start("--isolate")
        one, two = self.join(1), self.join(2)
        one.say_arp(one.address, two.address)
        self.assertTrue(one.echo("192.168.105.1"))
        self.assertTrue(two.echo("192.168.105.1"))
        two.say_udp(two.address, one.address, 9, 9, b"hello")
        two.echo("192.168.105.1", b"again")
        one.sock.setblocking(False)
        with self.assertRaises(BlockingIOError):
            one.sock.recv(1)

    def test_uplink_joins_an_interface_of_the_host(self):
        for command in ("ip link add up0 type veth peer name far0", "ip link set up0 up",
                        "ip netns add far", "ip link set far0 netns far",
                        "ip -n far addr add 192.168.105.200/24 dev far0",
                        "ip -n far link set far0 up"):
            subprocess.run(command.split(), check=True, timeout=10)
        self.addCleanup(subprocess.run, ["ip", "netns", "del", "far"], check=True, timeout=10)
        self.start("--uplink=up0")
        guest = self.join(1)
        self.assertTrue(guest.echo("192.168.105.200"))
        self.assertTrue(guest.echo("192.168.105.1"))
        # the gateway is the guests' alone
        code, _ = Host().run("ip netns exec far busybox ping -c 1 -W 1 192.168.105.1")
        self.assertNotEqual(code, 0)

    def test_networks_of_two_hosts_are_one_by_vxlan(self):
        """Over a tunnel of packets, as WireGuard makes one; the other host is a namespace."""
        subprocess.run(["ip", "netns", "add", "other"], check=True, timeout=10)
        self.addCleanup(subprocess.run, ["ip", "netns", "del", "other"], check=True, timeout=10)
        ends = [open_tap(name, IFF_TUN | IFF_NO_PI) for name in ("wg1", "wg2")]
        for fd in ends:
            self.addCleanup(os.close, fd)
        tunnel = subprocess.Popen([sys.executable, "-c", CARRY, *map(str, ends)], pass_fds=ends)
        self.addCleanup(tunnel.wait)
        self.addCleanup(tunnel.kill)
        subprocess.run("ip link set wg2 netns other", shell=True, check=True, timeout=10)
        self.addCleanup(subprocess.run, ["ip", "link", "del", "vx1"], check=True, timeout=10)
        guests = []
        for ip, own, peer_host, enter in (
                ("ip", 1, 2, ()), ("ip -n other", 2, 1, ("nsenter", "--net=/run/netns/other"))):
            subprocess.run(
                f"{ip} addr add 10.9.0.{own} peer 10.9.0.{peer_host} dev wg{own} &&"
                f"{ip} link set wg{own} mtu 1420 up && {ip} link add vx{own} type vxlan id 7 "
                f"dstport 4789 local 10.9.0.{own} remote 10.9.0.{peer_host} &&"
                f"{ip} link set vx{own} up", shell=True, check=True, timeout=10)
            config = pathlib.Path(harness.new_path("yaml"))
            config.write_text(f"shared: {{range: 192.168.105.{own}0-192.168.105.{own}9}}\n")
            self.start(f"--uplink=vx{own}", f"--config={config}", prefix=enter)
            guests.append(self.join(own))
        self.assertEqual([g.address for g in guests], ["192.168.105.10", "192.168.105.20"])
        one, two = guests
        two.sock.settimeout(10)
        one.say_udp(one.address, two.address, 9, 9, b"hello, other host")
        self.assertIsNotNone(two.wait_for(lambda f: b"hello, other host" in f))
        for guest in guests:  # each has a gateway, its own
            self.assertTrue(guest.echo("192.168.105.1"))

    def test_an_ordinary_user_serves_guests(self):
        place = pathlib.Path(harness.work) / "user"
        place.mkdir()
        os.chown(place, 65534, 65534)
        user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                "--bounding-set=-all", "--inh-caps=-all", "env", f"XDG_RUNTIME_DIR={place}",
                f"HOME={place}"]
        os.chmod(harness.work, 0o755)
        netfwd = harness.Netfwd.start("--shared", prefix=user)
        self.addCleanup(netfwd.stop)
        self.path = place / "netfwd/shared.sock"
        one, two = self.join(1), self.join(2)
        self.assertIsNotNone(one.find("192.168.105.1"))
        two.sock.settimeout(10)
        one.say_udp(one.address, two.address, 9, 9, b"hello, neighbor")
        self.assertIsNotNone(two.wait_for(lambda f: b"hello, neighbor" in f))

    def test_bad_input_is_told(self):
        subprocess.run("ip tuntap add wg7 mode tun", shell=True, check=True, timeout=10)
        self.addCleanup(subprocess.run, ["ip", "tuntap", "del", "wg7", "mode", "tun"], check=True,
                        timeout=10)
        for arguments, message in (
                (("--shared", "--forward=tcp:8080:80"), "which guest? Name its address"),
                (("--shared", "--uplink=nothere0"), "there is no such interface"),
                (("--shared", "--uplink=wg7"),  # as WireGuard's it carries no Ethernet
                 "not an Ethernet interface; put a bridge or VXLAN on top of it"),
                (("--shared", "--host-interface-fd=77"), "no such descriptor was inherited"),
                (("--shared", "--host-interface-fd=77", "--host-interface=a0"), "give one"),
                (("--shared", f"--leases={harness.work}"), "the leases cannot be read"),
                (("--isolate",), "add --shared")):
            with self.subTest(arguments):
                code, log = harness.Netfwd.refuse(*arguments)
                self.assertEqual(code, 1)
                self.assertIn(message, log)


if __name__ == "__main__":
    harness.main()
