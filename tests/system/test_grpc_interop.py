#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Both ends of the agent's connection against a gRPC that we did not write, Debian's
python3-grpcio: as client of the agent, and as Lima's agent for the host.

Everything is in one network: "the guest" is where the other end dials."""
import contextlib
import errno
import os
import pathlib
import queue
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from concurrent import futures

import grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/support"))

import harness

LINK = os.path.abspath(os.environ.get("AGENT_LINK", ""))
PROTO = ROOT / "forwarder/rpc"
BIG = 5 * 1024 * 1024
SECONDS = 10


def protocols():
    """The two modules that protoc makes of our .proto files."""
    out = tempfile.mkdtemp(dir=harness.work)
    subprocess.run(["protoc", f"--proto_path={PROTO}", f"--python_out={out}",
                    "agent.proto", "guest_service.proto"], check=True, timeout=20)
    sys.path.append(out)
    import agent_pb2
    import guest_service_pb2
    return agent_pb2, guest_service_pb2


class Link:
    """agent_link, and the lines that it prints."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([LINK, *map(str, arguments)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.wait_for("ready")

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())

    def wait_for(self, start):
        while True:
            line = self.lines.get(timeout=SECONDS)
            if line.startswith(start):
                return line

    def stop(self):
        self.process.stdin.close()
        status = self.process.wait(SECONDS)
        self.reader.join(SECONDS)
        self.process.stdout.close()
        if status:
            raise RuntimeError(f"agent_link ended with {status}")


class Server:
    """A TCP server of "the guest": one function for each connection."""

    def __init__(self, serve):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.serve = serve
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection = self.socket.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def stop(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def read_all(connection):
    received = bytearray()
    while data := connection.recv(1 << 16):
        received += data
    return bytes(received)


def upper_after_end(connection):
    """Answers when the client has said all it has to say."""
    with connection:
        connection.sendall(read_all(connection).upper())


def greet(connection):
    with connection:
        connection.sendall(b"220 hello\r\n")
        read_all(connection)


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def udp_echo(test):
    """A UDP server that sends everything back, and its port."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 0))
    test.addCleanup(s.close)

    def run():
        while True:
            try:
                data, address = s.recvfrom(1 << 16)
                s.sendto(data, address)
            except OSError:
                return
    threading.Thread(target=run, daemon=True).start()
    return s.getsockname()[1]


class Requests:
    """The client's half of a stream: put() what to send, end() it."""

    def __init__(self, *messages):
        self.queue = queue.Queue()
        for message in messages:
            self.put(message)

    def put(self, message):
        self.queue.put(message)

    def end(self):
        self.queue.put(None)

    def __iter__(self):
        return self

    def __next__(self):
        message = self.queue.get()
        if message is None:
            raise StopIteration
        return message


class ClientOfTheAgent(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.own, cls.lima = protocols()
        path = harness.new_path("sock")
        cls.link = Link("guest", path, "tcp=127.0.0.1:80", "udp=[::]:53")
        # Channels share connections unless they differ; large messages are for flows.
        cls.channel = grpc.insecure_channel(f"unix:{path}")

    @classmethod
    def tearDownClass(cls):
        cls.channel.close()
        cls.link.stop()

    def call(self, kind, path, request, answer, argument):
        method = getattr(self.channel, kind)(path, request_serializer=request.SerializeToString,
                                             response_deserializer=answer.FromString)
        return method(argument, timeout=SECONDS)

    def tunnel(self, requests):
        m = self.lima.TunnelMessage
        return self.call("stream_stream", "/GuestService/Tunnel", m, m, requests)

    def open_tunnel(self, address, protocol="tcp"):
        return Requests(self.lima.TunnelMessage(id="1", protocol=protocol, guest_addr=address))

    def data(self, data):
        return self.lima.TunnelMessage(id="1", data=data)

    def serve(self, function):
        server = Server(function)
        self.addCleanup(server.stop)
        return server

    def test_get_info(self):
        info = self.call("unary_unary", "/GuestService/GetInfo", self.lima.Empty, self.lima.Info,
                         self.lima.Empty())
        self.assertEqual([(p.protocol, p.ip, p.port) for p in info.local_ports],
                         [("tcp", "127.0.0.1", 80), ("udp", "::", 53)])

    def test_get_events(self):
        events = self.call("unary_stream", "/GuestService/GetEvents", self.lima.Empty,
                           self.lima.Event, self.lima.Empty())
        first = next(events)
        events.cancel()
        self.assertEqual(len(first.added_local_ports), 2)
        self.assertAlmostEqual(first.time.seconds, time.time(), delta=60)

    def test_sync_time(self):
        request = self.lima.TimeSyncRequest()
        request.host_time.seconds = int(time.time()) - 100
        answer = self.call("unary_unary", "/GuestService/SyncTime", self.lima.TimeSyncRequest,
                           self.lima.TimeSyncResponse, request)
        self.assertFalse(answer.adjusted)
        self.assertAlmostEqual(answer.drift_ms, 100000, delta=60000)

    def test_what_there_is_not(self):
        for path in ("/GuestService/PostInotify", "/GuestService/None", "/x"):
            with self.assertRaises(grpc.RpcError) as caught:
                self.call("unary_unary", path, self.lima.Empty, self.lima.Empty,
                          self.lima.Empty())
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_tunnel_with_half_close(self):
        requests = self.open_tunnel(self.serve(upper_after_end).address)
        answers = self.tunnel(requests)
        requests.put(self.data(b"hello "))
        requests.put(self.data(b"there"))
        requests.end()
        self.assertEqual(b"".join(a.data for a in answers), b"HELLO THERE")
        self.assertEqual(answers.code(), grpc.StatusCode.OK)

    def test_tunnel_with_a_server_that_speaks_first(self):
        requests = self.open_tunnel(self.serve(greet).address)
        answers = self.tunnel(requests)
        self.assertEqual(next(answers).data, b"220 hello\r\n")
        requests.end()
        self.assertEqual(list(answers), [])

    def test_tunnel_with_data_in_its_first_message(self):
        message = self.lima.TunnelMessage(
            id="1", protocol="tcp", guest_addr=self.serve(upper_after_end).address, data=b"abc")
        requests = Requests(message)
        requests.end()
        self.assertEqual(b"".join(a.data for a in self.tunnel(requests)), b"ABC")

    def test_tunnel_with_many_bytes(self):
        requests = self.open_tunnel(self.serve(upper_after_end).address)
        answers = self.tunnel(requests)
        sent = os.urandom(BIG)
        for at in range(0, BIG, 1 << 20):
            requests.put(self.data(sent[at:at + (1 << 20)]))
        requests.end()
        self.assertEqual(b"".join(a.data for a in answers), sent.upper())

    def test_tunnel_that_is_refused_or_reset(self):
        unused = Server(reset)
        unused.stop()
        for address, text in ((unused.address, "connection refused"),
                              (self.serve(reset).address, ""), ("nowhere", "")):
            requests = self.open_tunnel(address)
            with self.assertRaises(grpc.RpcError) as caught:
                list(self.tunnel(requests))
            requests.end()
            self.assertIn(text, caught.exception.details())

    def test_tunnel_with_datagrams(self):
        requests = self.open_tunnel(f"127.0.0.1:{udp_echo(self)}", "udp")
        answers = self.tunnel(requests)
        for size in (1, 1473, 32769, 65507):
            data = os.urandom(size)
            requests.put(self.data(data))
            self.assertEqual(next(answers).data, data)
        requests.end()
        self.assertEqual(list(answers), [])

    def test_our_own_service(self):
        hello = self.call("unary_unary", "/netfwd.v1.Agent/Hello", self.own.HelloMessage,
                          self.own.HelloMessage, self.own.HelloMessage(protocol=1, version="x"))
        self.assertEqual((hello.protocol, hello.features), (1, 23))
        events = self.call("unary_stream", "/netfwd.v1.Agent/Events", self.own.EventsRequest,
                           self.own.Event, self.own.EventsRequest())
        first = next(events)
        events.cancel()
        self.assertTrue(first.is_all)
        self.assertEqual(first.added[0].address, socket.inet_aton("127.0.0.1"))

    def flow(self, port):
        place = self.own.Place(address=socket.inet_aton("127.0.0.1"), port=port)
        return self.open_flow(place=place)

    def open_flow(self, **opening):
        m = self.own.FlowMessage
        requests = Requests(m(open=self.own.Open(**opening)))
        return requests, self.call("stream_stream", "/netfwd.v1.Agent/Flow", m, m, requests)

    def test_flow_of_our_own_service(self):
        m = self.own.FlowMessage
        requests, answers = self.flow(self.serve(upper_after_end).port)
        self.assertEqual(next(answers).opened.error, 0)
        requests.put(m(data=b"hello"))
        requests.put(m(fin=self.own.Fin()))
        requests.end()
        kinds = [(a.WhichOneof("kind"), a.data) for a in answers]
        self.assertEqual(kinds, [("data", b"HELLO"), ("fin", b"")])

    def test_datagrams_of_a_client_in_the_guest(self):
        m = self.own.FlowMessage
        port = harness.free_port()
        place = self.own.Place(address=socket.inet_aton("127.0.0.1"), port=port, is_udp=True)
        listen = self.call("unary_stream", "/netfwd.v1.Agent/Listen", self.own.Place,
                           self.own.ListenMessage, place)
        self.assertEqual(next(listen).listening.error, 0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(SECONDS)
            client.connect(("127.0.0.1", port))
            for data in (b"first", b"second"):
                client.send(data)
            requests, answers = self.open_flow(is_udp=True, accepted=next(listen).accepted.id)
            self.assertEqual([next(answers).data for _ in range(2)], [b"first", b"second"])
            requests.put(m(data=b"answer"))
            self.assertEqual(client.recv(16), b"answer")
            requests.put(m(refused=self.own.Refused()))
            with self.assertRaises(ConnectionRefusedError):
                client.recv(16)
        requests.end()
        listen.cancel()

    def test_flow_that_is_refused_says_why(self):
        unused = Server(reset)
        unused.stop()
        requests, answers = self.flow(unused.port)
        self.assertEqual(next(answers).opened.error, errno.ECONNREFUSED)
        requests.end()


class Lima:
    """As much of Lima's agent as the host needs, with its way to lose half-closes: each end of
    the guest's stream ends the call."""

    def __init__(self, lima):
        self.lima = lima
        self.ports = [("tcp", "127.0.0.1", 8080)]
        self.events = queue.Queue()
        self.more = []  # handlers of other services

    def get_info(self, _request, _context):
        return self.lima.Info(local_ports=[self.port(p) for p in self.ports])

    def port(self, p):
        return self.lima.IPPort(protocol=p[0], ip=p[1], port=p[2])

    def get_events(self, _request, context):
        context.add_callback(lambda: self.events.put(None))
        for added, removed in iter(self.events.get, None):
            yield self.lima.Event(added_local_ports=[self.port(p) for p in added],
                                  removed_local_ports=[self.port(p) for p in removed])

    def tunnel(self, requests, context):
        first = next(requests)
        host, port = first.guest_addr.rsplit(":", 1)
        kind = socket.SOCK_STREAM if first.protocol == "tcp" else socket.SOCK_DGRAM
        s = socket.socket(socket.AF_INET, kind)
        try:
            s.connect((host, int(port)))
        except OSError:
            s.close()
            context.abort(grpc.StatusCode.UNKNOWN,
                          f"dial tcp {first.guest_addr}: connect: connection refused")

        def shut(how=socket.SHUT_RDWR):
            with contextlib.suppress(OSError):
                s.shutdown(how)

        def upload():
            with contextlib.suppress(grpc.RpcError, OSError):
                for request in requests:
                    s.sendall(request.data)
            shut(socket.SHUT_WR if kind == socket.SOCK_STREAM else socket.SHUT_RDWR)
        threading.Thread(target=upload, daemon=True).start()
        context.add_callback(shut)
        with s:
            while True:
                try:
                    data = s.recv(32768 if kind == socket.SOCK_STREAM else 65536)
                except OSError:
                    return
                if not data:
                    return
                yield self.lima.TunnelMessage(id=first.id, data=data)

    def serve(self, path):
        m = self.lima
        handlers = {
            "GetInfo": grpc.unary_unary_rpc_method_handler(
                self.get_info, m.Empty.FromString, m.Info.SerializeToString),
            "GetEvents": grpc.unary_stream_rpc_method_handler(
                self.get_events, m.Empty.FromString, m.Event.SerializeToString),
            "Tunnel": grpc.stream_stream_rpc_method_handler(
                self.tunnel, m.TunnelMessage.FromString, m.TunnelMessage.SerializeToString),
        }
        self.server = grpc.server(futures.ThreadPoolExecutor(32))
        self.server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("GuestService", handlers), *self.more])
        self.server.add_insecure_port(f"unix:{path}")
        self.server.start()

    def stop(self):
        self.events.put(None)
        self.server.stop(0).wait(SECONDS)


class HostOfLima(unittest.TestCase):
    def setUp(self):
        self.lima = Lima(protocols()[1])
        self.path = harness.new_path("sock")
        self.lima.serve(self.path)
        self.addCleanup(lambda: self.lima.stop())

    def forward(self, guest_port):
        port = harness.free_port()
        link = Link("host", self.path, f"{port}={guest_port}")
        self.addCleanup(link.stop)
        link.wait_for("tunnel up")
        return link, port

    def connect(self, port):
        s = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.addCleanup(s.close)
        return s

    def server(self, function):
        server = Server(function)
        self.addCleanup(server.stop)
        return server

    def test_listeners_follow_its_events(self):
        link, _ = self.forward(1)
        self.assertEqual(link.wait_for("listeners"), "listeners tcp=127.0.0.1:8080")
        self.lima.events.put(([("udp", "::", 53), ("tcp", "not-an-ip", 1), ("tcp", "::1", 0)],
                              [("tcp", "127.0.0.1", 8080)]))
        self.assertEqual(link.wait_for("listeners"), "listeners udp=[::]:53")

    def test_connections(self):
        _, port = self.forward(self.server(upper_after_end).port)
        sent = os.urandom(BIG)
        s = self.connect(port)
        threading.Thread(target=lambda: (s.sendall(sent), s.shutdown(socket.SHUT_WR)),
                         daemon=True).start()
        self.assertEqual(read_all(s), sent.upper())

    def test_server_that_speaks_first(self):
        _, port = self.forward(self.server(greet).port)
        self.assertEqual(self.connect(port).recv(100), b"220 hello\r\n")

    def test_refused_port_resets_the_client(self):
        unused = Server(reset)
        unused.stop()
        _, port = self.forward(unused.port)
        with self.assertRaises(ConnectionResetError):
            self.connect(port).recv(1)

    def test_datagrams(self):
        _, port = self.forward(udp_echo(self))
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(s.close)
        s.settimeout(SECONDS)
        s.connect(("127.0.0.1", port))
        for size in (1, 1473, 32769, 65507):
            data = os.urandom(size)
            s.send(data)
            self.assertEqual(s.recv(1 << 16), data)

    def test_a_graceful_stop_lets_connections_finish(self):
        def serve(connection):
            connection.sendall(b"hello")
            upper_after_end(connection)

        link, port = self.forward(self.server(serve).port)
        link.wait_for("listeners")
        before = self.connect(port)
        self.assertEqual(before.recv(5, socket.MSG_WAITALL), b"hello")
        old, self.lima = self.lima, Lima(self.lima.lima)
        old.events.put(None)
        stopped = old.server.stop(60)
        link.wait_for("tunnel connecting")
        self.path.unlink(missing_ok=True)
        self.lima.serve(self.path)
        link.wait_for("tunnel up")
        after = self.connect(port)
        for s, heard in ((after, b"helloAFTER"), (before, b"AFTER")):
            self.assertFalse(stopped.is_set())
            s.sendall(b"after")
            s.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(s), heard)
        self.assertTrue(stopped.wait(SECONDS))

    def test_restart_of_the_agent(self):
        link, port = self.forward(self.server(greet).port)
        link.wait_for("listeners")
        self.lima.stop()
        link.wait_for("tunnel connecting")
        pathlib.Path(self.path).unlink(missing_ok=True)
        ports = self.lima.ports + [("tcp", "0.0.0.0", 9090)]
        self.lima = Lima(self.lima.lima)
        self.lima.ports = ports
        self.lima.serve(self.path)
        link.wait_for("tunnel up")
        self.assertEqual(link.wait_for("listeners"),
                         "listeners tcp=0.0.0.0:9090 tcp=127.0.0.1:8080")
        self.assertEqual(self.connect(port).recv(100), b"220 hello\r\n")


if __name__ == "__main__":
    harness.main()
