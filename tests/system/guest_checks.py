# SPDX-License-Identifier: Apache-2.0
"""What must work for every kind of guest.

A test file mixes GuestChecks with unittest.TestCase and provides, in setUpClass:
    cls.netfwd   netfwd, started with forward_arguments()
    cls.guest    the guest behind it, with its addresses
"""
import errno

import dns_server
import harness
import peer

GUEST_PORT = 7000  # of the peer in the guest
CLOSED_PORT = 7999  # nobody's
MEGA = 1_000_000
UDP_SIZES = (0, 1, 512, 1472, 1473, 8192, 32768, 32769, 65507)
# A guest's datagrams to the world go through libslirp, which takes no IPv6 packet above 65521
# bytes; forwards have no such limit.
LIBSLIRP_UDP6_MAX = 65521 - 48

# A sender whose reader stopped can fill the socket buffers of both kernels (about 4 MiB sent and
# 6 MiB received on each side) and netfwd's own; without back-pressure it would reach the limit.
STALL_LIMIT = 200 * MEGA
STALL_SENT_MAX = 60 * MEGA
STALL_MEMORY_MAX = 16 * 1024  # KiB, of which one connection may take its windows


class GuestChecks:
    bulk = 100 * MEGA
    sequence = 10_000
    crowd = 1_000

    @classmethod
    def start_server(cls):
        """The server on the host's loopback, and the host ports of the forwards."""
        cls.server = peer.Server()
        cls.port = harness.free_port()
        cls.closed = harness.free_port()

    @classmethod
    def forward_arguments(cls):
        return [
            *harness.forward_both("127.0.0.1", cls.port, GUEST_PORT),
            *harness.forward_both("[::1]", cls.port, GUEST_PORT),
            f"--forward=tcp:127.0.0.1:{cls.closed}:{CLOSED_PORT}",
        ]

    def routes(self):
        """(name, run, host, port) of every way a connection to a peer can take."""
        def inbound(name, host, port, *numbers):
            return peer.run_check(name, host, port, *numbers)

        return [
            ("host to guest", inbound, "127.0.0.1", self.port),
            ("host to guest, IPv6 host", inbound, "::1", self.port),
            ("guest to host", self.guest.check, harness.GATEWAY, self.server.port),
            ("guest to host, IPv6", self.guest.check, harness.GATEWAY6, self.server.port),
        ]

    def check_routes(self, name, *numbers, routes=None):
        for title, run, host, port in routes or self.routes():
            with self.subTest(title):
                result = run(name, host, port, *numbers)
                self.assertEqual(result["answer"], result.get("expected"), result)

    def check_answer(self, expected, name, *numbers):
        for title, run, host, port in self.routes():
            with self.subTest(title):
                self.assertEqual(run(name, host, port, *numbers)["answer"], expected)

    def tearDown(self):
        self.assertTrue(self.netfwd.alive(), "netfwd has ended")

    # names and addresses

    def lookup(self, name, server, kind="a"):
        return self.guest.run(f"nslookup -type={kind} {name} {server}")

    def test_names_of_the_host_resolve(self):
        for server in (harness.DNS, harness.DNS6):
            with self.subTest(server):
                self.assertIn(dns_server.ADDRESS, self.lookup("web.test", server)[1])
                self.assertIn(dns_server.ADDRESS6,
                              self.lookup("web.test", server, "aaaa")[1])
                self.assertIn(dns_server.TEXT, self.lookup("web.test", server, "txt")[1])

    def test_unknown_names_are_denied(self):
        status, output = self.lookup("no.such.name.example", harness.DNS)
        self.assertNotEqual(status, 0)
        self.assertIn("NXDOMAIN", output)

    def test_the_host_has_names(self):
        for name in ("host.netfwd.internal", "host.lima.internal"):
            with self.subTest(name):
                self.assertIn(harness.GATEWAY, self.guest.check("resolve", name, 0)["answer"])

    def test_gateway_answers_ping(self):
        for address in (harness.GATEWAY, harness.GATEWAY6):
            with self.subTest(address):
                self.guest.output(f"ping -c 3 -W 5 {address}")

    # connections

    def test_wget_from_the_host(self):
        for host in (harness.GATEWAY, f"[{harness.GATEWAY6}]"):
            with self.subTest(host):
                page = self.guest.output(f"wget -qO- http://{host}:{self.server.port}/")
                self.assertEqual(page, peer.PAGE.decode())

    def test_half_closed_upload_arrives_and_is_answered(self):
        self.check_routes("upload", self.bulk)

    def test_download_arrives(self):
        self.check_routes("download", self.bulk)

    def test_both_ways_at_once(self):
        self.check_routes("both_ways", self.bulk // 10)

    def test_small_half_closed_request_is_answered(self):
        self.check_routes("upload", 1)
        self.check_routes("upload", 0)

    def test_closed_guest_port_gives_the_client_a_reset(self):
        self.assertEqual(peer.run_check("fate", "127.0.0.1", self.closed)["answer"], "ECONNRESET")

    def test_closed_host_port_refuses_the_guest(self):
        unused = harness.free_port()
        for host in (harness.GATEWAY, harness.GATEWAY6):
            with self.subTest(host):
                self.assertEqual(self.guest.check("fate", host, unused)["answer"], "ECONNREFUSED")

    def test_reset_by_the_server_reaches_the_client(self):
        self.check_answer("ECONNRESET", "reset_by_server")

    def test_reset_by_the_client_reaches_the_server(self):
        self.check_answer("ECONNRESET", "ending_seen", 1)

    def test_close_by_the_client_is_no_reset(self):
        self.check_answer("EOF", "ending_seen", 0)

    def test_stopped_reader_stops_the_sender(self):
        for title, run, host, port in self.routes():
            with self.subTest(title):
                self.netfwd.forget_peak()
                before = self.netfwd.memory()
                result = run("stalled", host, port, STALL_LIMIT)
                grown = self.netfwd.memory("VmHWM") - before
                self.assertEqual(result["answer"], result.get("expected"))
                self.assertLess(result["sent"], STALL_SENT_MAX)
                self.assertLess(grown, STALL_MEMORY_MAX)

    def test_stopped_reader_leaves_others_alone(self):
        """While one client's server reads nothing, another moves data both ways."""
        held = peer.connect("127.0.0.1", self.port)
        with held:
            held.sendall(b"stall never\n")
            held.settimeout(2)
            try:
                while True:
                    held.sendall(bytes(peer.PIECE))
            except TimeoutError:
                pass  # full: the server does not read
            self.check_routes("both_ways", MEGA)

    def test_concurrent_connections(self):
        self.check_routes("concurrent", self.crowd)

    def test_sequential_connections_leave_nothing_behind(self):
        for title, run, host, port in (self.routes()[0], self.routes()[2]):
            with self.subTest(title):
                run("sequential", host, port, 500)  # first use takes memory it keeps
                before = self.netfwd.descriptors()
                memory = self.netfwd.memory()
                result = run("sequential", host, port, self.sequence)
                self.assertEqual(result["answer"], result.get("expected"), result)
                harness.until(lambda limit=before: self.netfwd.descriptors() <= limit, 30,
                              "the descriptors to be closed")
                self.assertLess(self.netfwd.memory() - memory, 4 * 1024)

    # datagrams

    def test_datagrams_of_every_size(self):
        *others, guest_to_host_v6 = self.routes()
        self.check_routes("datagrams", *UDP_SIZES, routes=others)
        self.check_routes("datagrams", *UDP_SIZES[:-1], LIBSLIRP_UDP6_MAX,
                          routes=[guest_to_host_v6])

    def test_many_clients_of_one_udp_forward(self):
        """Each of the clients is answered, and with its own datagram."""
        family, kind = peer.socket.AF_INET, peer.socket.SOCK_DGRAM
        socks = [peer.socket.socket(family, kind) for _ in range(100)]
        try:
            for number, sock in enumerate(socks):
                sock.settimeout(10)
                sock.connect(("127.0.0.1", self.port))
                sock.send(b"client %d" % number)
            for number, sock in enumerate(socks):
                self.assertEqual(sock.recv(64), b"client %d" % number)
        finally:
            for sock in socks:
                sock.close()

    def test_closed_udp_port_refuses_the_guest(self):
        unused = harness.free_port()
        for host in (harness.GATEWAY, harness.GATEWAY6):
            with self.subTest(host):
                self.assertEqual(self.guest.check("datagram_fate", host, unused)["answer"],
                                 errno.errorcode[errno.ECONNREFUSED])
