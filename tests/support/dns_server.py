# SPDX-License-Identifier: Apache-2.0
"""A name server for the tests: knows *.test, and denies every other name (RFC 1035)."""
import socket
import struct
import threading

A, TXT, AAAA = 1, 16, 28
UDP_MAX = 512  # octets in a datagram (RFC 1035, 4.2.1); longer answers are truncated
TTL = 5  # seconds

ADDRESS = "192.0.2.10"
ADDRESS6 = "2001:db8::10"
TEXT = "text of the test zone"
LONG_NAME = "long.test"  # its TXT answer fits no datagram, so a client must come back by TCP
LONG_COUNT = 40


def texts(name):
    if name == LONG_NAME:
        return [f"{number:02} {TEXT}" for number in range(LONG_COUNT)]
    return [TEXT]


def record_data(name, kind):
    """What *.test has of one record type: a list of RDATA."""
    if kind == A:
        return [socket.inet_pton(socket.AF_INET, ADDRESS)]
    if kind == AAAA:
        return [socket.inet_pton(socket.AF_INET6, ADDRESS6)]
    if kind == TXT:
        return [bytes([len(text)]) + text.encode() for text in texts(name)]
    return []


def parse_question(query):
    """(name, type, end of the question section) of a query with one question."""
    labels = []
    at = 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode("ascii", "replace"))
        at += 1 + query[at]
    kind, = struct.unpack_from(">H", query, at + 1)
    return ".".join(labels).lower(), kind, at + 5


def answer(query, size_max):
    name, kind, end = parse_question(query)
    known = name.endswith(".test")
    records = record_data(name, kind) if known else []
    body = query[12:end] + b"".join(
        struct.pack(">HHHIH", 0xc00c, kind, 1, TTL, len(data)) + data for data in records)
    flags = 0x8580 if known else 0x8583  # answer, authoritative, recursion; NXDOMAIN
    if 12 + len(body) > size_max:
        flags |= 0x0200  # truncated
        body, records = query[12:end], []
    return query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + body


def serve_datagrams(sock):
    while True:
        query, sender = sock.recvfrom(4096)
        try:
            sock.sendto(answer(query, UDP_MAX), sender)
        except (IndexError, struct.error, OSError):
            pass  # not a query, or its sender is gone


def serve_streams(listener):
    while True:
        sock, _ = listener.accept()
        with sock:
            try:
                sock.settimeout(10)
                size, = struct.unpack(">H", sock.recv(2, socket.MSG_WAITALL))
                reply = answer(sock.recv(size, socket.MSG_WAITALL), 65535)
                sock.sendall(struct.pack(">H", len(reply)) + reply)
            except (IndexError, struct.error, OSError):
                pass


def start(address="127.0.0.1", port=53):
    """Serves UDP and TCP in threads of their own for the rest of the program's life."""
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((address, port))
    listener = socket.create_server((address, port))
    threading.Thread(target=serve_datagrams, args=(datagrams,), daemon=True).start()
    threading.Thread(target=serve_streams, args=(listener,), daemon=True).start()
