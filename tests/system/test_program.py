#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
#   netfwd alone, its errors and its events; where a guest is needed, a namespace:
#   peer client ── 127.0.0.1:P ── netfwd ══ TAP ══ eth0 ── peer server
"""What netfwd says: errors, events, the capture file, and QEMU started by netfwd."""
import json
import os
import pathlib
import socket
import stat
import struct
import unittest

import paths  # noqa: F401
import frames
import harness
import peer
from guest_checks import GUEST_PORT

PCAP_MAGICS = {0xa1b2c3d4: "microseconds", 0xa1b23c4d: "nanoseconds"}
LINKTYPE_ETHERNET = 1


def read_pcap(path):
    """The frames of a capture file in the classic format."""
    data = pathlib.Path(path).read_bytes()
    magic, _, _, _, _, _, linktype = struct.unpack_from("=IHHiIII", data)
    if magic not in PCAP_MAGICS or linktype != LINKTYPE_ETHERNET:
        raise ValueError(f"not an Ethernet capture: magic {magic:#x}, link type {linktype}")
    found = []
    at = 24
    while at < len(data):
        _, _, size, _ = struct.unpack_from("=IIII", data, at)
        found.append(data[at + 16:at + 16 + size])
        at += 16 + size
    return found


class Errors(unittest.TestCase):
    def stream(self):
        return f"--stream={harness.new_path('sock')}"

    def refuse(self, *arguments, prefix=()):
        status, log = harness.Netfwd.refuse(self.stream(), *arguments, prefix=prefix)
        self.assertNotEqual(status, 0, log)
        self.assertGreater(status, 0, f"ended by a signal:\n{log}")
        return log

    def test_port_in_use_is_named_with_its_owner(self):
        for proto, kind in (("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)):
            with self.subTest(proto), socket.socket(socket.AF_INET, kind) as taken:
                taken.bind(("127.0.0.1", 0))
                if proto == "tcp":
                    taken.listen()
                port = taken.getsockname()[1]
                log = self.refuse(f"--forward={proto}:127.0.0.1:{port}:80")
                self.assertIn(str(port), log)
                self.assertIn("in use", log)
                self.assertIn(pathlib.Path("/proc/self/comm").read_text().strip(), log)

    def test_privileged_port_says_what_to_do(self):
        log = self.refuse("--forward=tcp:127.0.0.1:80:80",
                          prefix=["setpriv", "--bounding-set=-net_bind_service",
                                  "--inh-caps=-net_bind_service"])
        self.assertIn("80", log)
        self.assertIn("net.ipv4.ip_unprivileged_port_start", log)

    def test_nonsense_is_refused(self):
        for argument in ("--forward=tcp:127.0.0.1:80", "--forward=sctp:127.0.0.1:8000:80",
                         "--forward=tcp:127.0.0.1:70000:80", "--forward=tcp:127.0.0.1:0x10:80",
                         "--forward=tcp:127.0.0.1:9000-9010:9000-9009",
                         "--forward=tcp:127.0.0.1:9010-9000:9010-9000",
                         "--forward=tcp:nowhere:8000:80", "--forward=", "--mtu=5", "--mtu=70000",
                         "--mtu=1500x", "--no-such-option", "stray"):
            with self.subTest(argument):
                self.assertTrue(self.refuse(argument).strip(), "refused without a word")

    def test_missing_namespace_is_named(self):
        status, log = harness.Netfwd.refuse("--netns=nowhere")
        self.assertGreater(status, 0)
        self.assertIn("nowhere", log)


class Events(unittest.TestCase):
    def events(self, netfwd):
        return [json.loads(line) for line in netfwd.log().splitlines() if line.startswith("{")]

    def test_json_log_tells_what_happened(self):
        port = harness.free_port()
        netfwd = harness.Netfwd.start("-v", "--log-json", f"--stream={harness.new_path('sock')}",
                                      f"--forward=tcp:127.0.0.1:{port}:80")
        self.addCleanup(netfwd.kill)
        self.assertIn("forwarding", [e.get("event") for e in self.events(netfwd)])
        self.assertIn(str(port), netfwd.log())

        netfwd.stop()

        for line in netfwd.log().splitlines():
            json.loads(line)  # every line, not only the events
        names = [e.get("event") for e in self.events(netfwd)]
        self.assertLess(names.index("forwarding"), names.index("stopping"))

    def test_failed_event(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            netfwd = harness.Netfwd("-v", "--log-json", f"--stream={harness.new_path('sock')}",
                                    f"--forward=tcp:127.0.0.1:{port}:80")
            self.addCleanup(netfwd.kill)
            self.assertGreater(netfwd.process.wait(harness.START_TIMEOUT), 0)
        events = self.events(netfwd)
        self.assertIn("failed", [e.get("event") for e in events])
        self.assertNotIn("forwarding", [e.get("event") for e in events])

    def test_quiet_by_default(self):
        netfwd = harness.Netfwd.start(f"--stream={harness.new_path('sock')}")
        netfwd.stop()
        self.assertEqual(netfwd.log(), "")

    def test_without_arguments_prints_what_to_give_qemu(self):
        netfwd = harness.Netfwd.start()
        self.addCleanup(netfwd.kill)
        path = pathlib.Path(os.environ["XDG_RUNTIME_DIR"]) / "netfwd/netfwd.sock"
        self.assertTrue(stat.S_ISSOCK(path.stat().st_mode))
        self.assertEqual(stat.S_IMODE(path.parent.stat().st_mode), 0o700)
        self.assertIn(f"addr.path={path}", netfwd.log())
        self.assertIn("-netdev stream", netfwd.log())
        guest = frames.StreamGuest(path)
        self.addCleanup(guest.close)
        self.assertIsNotNone(guest.find_gateway())
        netfwd.stop()
        self.assertFalse(path.exists(), "the socket was left behind")

    def test_inherited_descriptor(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            guest = frames.StreamGuest(sock=ours)
            netfwd = harness.Netfwd.start(f"--fd={theirs.fileno()}", pass_fds=[theirs.fileno()])
            self.addCleanup(netfwd.kill)
            self.assertIsNotNone(guest.find_gateway())
            netfwd.stop()


class Ranges(unittest.TestCase):
    def setUp(self):
        self.guest = harness.NamespaceGuest("ranges")
        self.addCleanup(self.guest.remove)

    def start(self, *arguments):
        netfwd = harness.Netfwd.start(f"--netns={self.guest.name}", *arguments)
        self.addCleanup(netfwd.stop)
        return netfwd

    def test_every_port_of_a_range(self):
        self.start("--forward=tcp:127.0.0.1:9000-9004:7000-7004",
                   "--forward=udp:127.0.0.1:9000-9004:7000-7004")
        for number in range(5):
            self.guest.start_peer(7000 + number)
        for number in range(5):
            for check in ("both_ways", "datagrams"):
                with self.subTest(check, port=9000 + number):
                    result = peer.run_check(check, "127.0.0.1", 9000 + number, 1000)
                    self.assertEqual(result["answer"], result.get("expected"))

    def test_capture_holds_the_guest_frames(self):
        path = harness.new_path("pcap")
        port = harness.free_port()
        netfwd = harness.Netfwd.start(f"--netns={self.guest.name}", f"--pcap={path}",
                                      f"--forward=tcp:127.0.0.1:{port}:{GUEST_PORT}")
        self.addCleanup(netfwd.kill)
        self.guest.start_peer(GUEST_PORT)
        result = peer.run_check("upload", "127.0.0.1", port, 200_000)
        self.assertEqual(result["answer"], result["expected"])
        netfwd.stop()

        captured = read_pcap(path)

        segments = [f for f in captured if f[12:14] == b"\x08\x00" and f[23] == frames.TCP]
        to_guest = [f for f in segments if f[30:34] == frames.address(harness.GUEST)]
        from_guest = [f for f in segments if f[26:30] == frames.address(harness.GUEST)]
        self.assertTrue(to_guest and from_guest)
        self.assertTrue(any(f[47] & frames.SYN and f[36:38] == struct.pack(">H", GUEST_PORT)
                            for f in to_guest))
        payload = sum(struct.unpack(">H", f[16:18])[0] - 20 - (f[46] >> 4) * 4 for f in to_guest)
        self.assertGreaterEqual(payload, 200_000)


if __name__ == "__main__":
    harness.main()
