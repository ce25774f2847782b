#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Frames made by hand, right and wrong, and a guest that speaks them to netfwd --stream.

As a program, floods an interface of this network namespace with connection requests:
    frames.py flood INTERFACE GATEWAY_MAC COUNT ADDRESS PORT
"""
import random
import socket
import struct
import sys
import time

MAC = bytes.fromhex("525400123456")
BROADCAST = b"\xff" * 6
GUEST, GATEWAY, DNS = "192.168.5.15", "192.168.5.2", "192.168.5.3"
IP6_GUEST, IP6_GATEWAY = "fd00:c0a8:5::15", "fd00:c0a8:5::2"
ARP, IPV4, IPV6, VLAN = 0x0806, 0x0800, 0x86dd, 0x8100
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
SYN, RST, ACK = 0x02, 0x04, 0x10


def checksum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


def address(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def ethernet(kind, payload, dst=BROADCAST, src=MAC):
    return dst + src + struct.pack(">H", kind) + payload


def arp(target=GATEWAY, operation=1, source=GUEST):
    return struct.pack(">HHBBH", 1, IPV4, 6, 4, operation) + MAC + address(source) + bytes(6) + \
        address(target)


def ipv4(protocol, payload, src=GUEST, dst=GATEWAY, **lies):
    """An IPv4 packet; `lies` replace what a header field should say."""
    size = lies.get("size", 20 + len(payload))
    first = lies.get("first", 0x45)
    fragment = lies.get("fragment", 0)
    head = struct.pack(">BBHHHBBH4s4s", first, 0, size, lies.get("id", 7), fragment,
                       lies.get("ttl", 64), protocol, 0, address(src), address(dst))
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def ipv6(protocol, payload, src=IP6_GUEST, dst=IP6_GATEWAY, size=None):
    size = len(payload) if size is None else size
    return struct.pack(">IHBB", 6 << 28, size, protocol, 255) + address(src) + address(dst) + \
        payload


def with_sum(protocol, payload, src, dst, offset):
    """The payload with its TCP, UDP or ICMPv6 checksum filled in at `offset`."""
    pseudo = address(src) + address(dst) + struct.pack(">II", len(payload), protocol)
    total = struct.pack(">H", checksum(pseudo + payload))
    return payload[:offset] + total + payload[offset + 2:]


def tcp(port, source_port=4000, flags=SYN, src=GUEST, dst=GATEWAY, **more):
    options = more.get("options", b"")
    offset = more.get("offset", 5 + len(options) // 4)
    payload = struct.pack(">HHIIBBHHH", source_port, port, more.get("sequence", 1000),
                          more.get("acknowledge", 0), offset << 4, flags, 64240, 0, 0)
    return with_sum(TCP, payload + options + more.get("data", b""), src, dst, 16)


def udp(port, data, source_port=4000, src=GUEST, dst=GATEWAY, size=None):
    size = 8 + len(data) if size is None else size
    payload = struct.pack(">HHHH", source_port, port, size, 0) + data
    return with_sum(UDP, payload, src, dst, 6)


def icmp(kind, data=b"", code=0):
    payload = struct.pack(">BBHHH", kind, code, 0, 1, 1) + data
    return payload[:2] + struct.pack(">H", checksum(payload)) + payload[4:]


def icmp6(kind, data, src=IP6_GUEST, dst="ff02::2"):
    return ipv6(ICMP6, with_sum(ICMP6, bytes([kind, 0, 0, 0]) + data, src, dst, 2), src, dst)


def dhcp(options, size=None):
    payload = struct.pack(">BBBBIHH", 1, 1, 6, 0, 0x1234, 0, 0) + bytes(16) + MAC + bytes(10) + \
        bytes(192) + bytes.fromhex("63825363") + options
    payload = payload[:size]
    return ipv4(UDP, udp(67, payload, 68, "0.0.0.0", "255.255.255.255"), "0.0.0.0",
                "255.255.255.255")


def malformed():
    """(what is wrong, frame) of every kind of lie a header can tell."""
    def v4(name, packet, **more):
        return name, ethernet(IPV4, packet, **more)

    def v6(name, packet):
        return name, ethernet(IPV6, packet)

    yield from ((f"{size} bytes of Ethernet", (MAC + MAC)[:size]) for size in (1, 6, 12))
    yield "no payload", ethernet(IPV4, b"")
    yield "unknown protocol", ethernet(0x1234, bytes(60))
    yield "VLAN tag cut short", ethernet(VLAN, b"\0")
    yield "source is broadcast", ethernet(ARP, arp(), src=BROADCAST)
    yield "ARP cut short", ethernet(ARP, arp()[:12])
    yield "ARP with long addresses", ethernet(ARP, arp()[:4] + b"\xff\xff" + arp()[6:])

    ping = icmp(8, b"x" * 32)
    for size in (1, 10, 19):
        yield v4(f"IPv4 header of {size}", ipv4(ICMP, ping)[:size])
    yield v4("IPv4 says version 6", ipv4(ICMP, ping, first=0x65))
    yield v4("IPv4 header length 0", ipv4(ICMP, ping, first=0x40))
    yield v4("IPv4 header length past the end", ipv4(ICMP, ping[:8], first=0x4f))
    yield v4("IPv4 total length 0", ipv4(ICMP, ping, size=0))
    yield v4("IPv4 total length below the header", ipv4(ICMP, ping, size=19))
    yield v4("IPv4 total length past the end", ipv4(ICMP, ping, size=65535))
    yield v4("IPv4 from itself", ipv4(ICMP, ping, src=GATEWAY))
    yield v4("IPv4 from loopback", ipv4(TCP, tcp(80, src="127.0.0.1"), src="127.0.0.1"))
    yield v4("IPv4 from multicast", ipv4(ICMP, ping, src="224.0.0.1"))
    yield v4("IPv4 unknown protocol", ipv4(200, bytes(64)))
    yield v4("fragment past 65535", ipv4(ICMP, bytes(1400), fragment=0x1fff))
    yield v4("first fragment of 8", ipv4(TCP, tcp(80)[:8], fragment=0x2000, id=9))
    yield v4("fragment over the TCP flags", ipv4(TCP, bytes(64), fragment=1, id=9))
    yield v4("middle fragment not of eights", ipv4(UDP, bytes(13), fragment=0x2001, id=10))
    yield v4("last fragment of a packet without first", ipv4(UDP, bytes(8), fragment=200, id=11))

    for size in (1, 8, 19):
        yield v4(f"TCP header of {size}", ipv4(TCP, tcp(80)[:size]))
    yield v4("TCP header length 0", ipv4(TCP, tcp(80, offset=0)))
    yield v4("TCP header length past the end", ipv4(TCP, tcp(80, offset=15)))
    yield v4("TCP option of length 0", ipv4(TCP, tcp(80, options=b"\x02\0\x05\xb4")))
    yield v4("TCP option past the end", ipv4(TCP, tcp(80, options=b"\x01\x01\x02\xff")))
    yield v4("TCP with every flag", ipv4(TCP, tcp(80, flags=0xff)))
    yield v4("TCP with no flag", ipv4(TCP, tcp(80, flags=0)))
    yield v4("TCP data of no connection", ipv4(TCP, tcp(80, flags=ACK, data=b"x" * 500)))
    yield v4("TCP reset of no connection", ipv4(TCP, tcp(80, flags=RST)))
    yield v4("TCP to itself", ipv4(TCP, tcp(80, 80, src=GATEWAY), src=GATEWAY))
    yield v4("TCP to broadcast", ipv4(TCP, tcp(80, dst="255.255.255.255"), dst="255.255.255.255"))
    yield v4("TCP to port 0", ipv4(TCP, tcp(0)))
    yield v4("TCP with a wrong checksum", ipv4(TCP, tcp(80)[:-1] + b"\x55"))

    for size in (1, 7):
        yield v4(f"UDP header of {size}", ipv4(UDP, udp(53, b"")[:size]))
    for size in (0, 7, 65535):
        yield v4(f"UDP says length {size}", ipv4(UDP, udp(53, b"x" * 40, size=size)))
    for size in (0, 1, 20, 200, 239):
        yield v4(f"DHCP of {size}", dhcp(b"", size))
    yield v4("DHCP without end of options", dhcp(b"\x35\x01\x01"))
    yield v4("DHCP option past the end", dhcp(b"\x35\x01\x01\x0c\xff"))
    yield v4("DHCP option of length 0", dhcp(b"\x35\0\x32\0\xff"))
    yield v4("TFTP request", ipv4(UDP, udp(69, b"\0\x01/etc/passwd\0octet\0")))
    yield v4("TFTP cut short", ipv4(UDP, udp(69, b"\0")))
    for size in (0, 1, 11, 12):
        yield v4(f"DNS of {size}", ipv4(UDP, udp(53, bytes(size), dst=DNS), dst=DNS))
    yield v4("DNS name that points to itself",
             ipv4(UDP, udp(53, bytes(5) + b"\1" + bytes(6) + b"\xc0\x0c\0\1\0\1", dst=DNS), dst=DNS))
    yield v4("ICMP of 1", ipv4(ICMP, b"\x08"))
    yield v4("ICMP error about nothing", ipv4(ICMP, icmp(3)))
    yield v4("ICMP error about half a header", ipv4(ICMP, icmp(3, ipv4(TCP, b"")[:10])))

    solicit = address(IP6_GATEWAY)
    for size in (1, 39):
        yield v6(f"IPv6 header of {size}", ipv6(ICMP6, bytes(8))[:size])
    yield v6("IPv6 says version 4", b"\x40" + ipv6(UDP, udp(53, b""))[1:])
    yield v6("IPv6 length past the end", ipv6(UDP, udp(53, b""), size=65535))
    yield v6("IPv6 length 0", ipv6(UDP, udp(53, b""), size=0))
    yield v6("IPv6 from multicast", ipv6(ICMP6, bytes(8), src="ff02::1"))
    yield v6("IPv6 from loopback", ipv6(TCP, bytes(20), src="::1"))
    for kind, name in ((0, "hop-by-hop"), (43, "routing"), (60, "destination"), (44, "fragment")):
        yield v6(f"IPv6 {name} header cut short", ipv6(kind, b"\x3a"))
        yield v6(f"IPv6 {name} header past the end", ipv6(kind, b"\x3a\xff" + bytes(6)))
    yield v6("IPv6 many extension headers", ipv6(60, (b"\x3c\0" + bytes(6)) * 180))
    yield v6("IPv6 fragment past 65535", ipv6(44, b"\x11\0\xff\xf9" + bytes(1200)))
    yield v6("IPv6 fragment of itself", ipv6(44, b"\x2c\0\0\0\0\0\0\1" * 2))
    for size in (0, 1, 3):
        yield v6(f"ICMPv6 of {size}", ipv6(ICMP6, bytes(size)))
    yield v6("router solicitation, option of length 0", icmp6(133, bytes(4) + b"\1\0" + bytes(6)))
    yield v6("router solicitation, option past the end", icmp6(133, bytes(4) + b"\1\x20"))
    yield v6("neighbour solicitation cut short", icmp6(135, bytes(4) + solicit[:5]))
    yield v6("neighbour solicitation, option of length 0",
             icmp6(135, bytes(4) + solicit + b"\1\0", dst="ff02::1:ff00:2"))
    yield v6("neighbour advertisement of multicast", icmp6(136, bytes(4) + address("ff02::1")))
    for size in (1, 7):
        yield v6(f"UDP over IPv6 of {size}", ipv6(UDP, bytes(size)))
    yield v6("TFTP over IPv6", ipv6(UDP, udp(69, b"\0", src=IP6_GUEST, dst=IP6_GATEWAY)))
    yield v6("DHCPv6 cut short",
             ipv6(UDP, udp(547, b"\1", 546, IP6_GUEST, "ff02::1:2"), dst="ff02::1:2"))


def mutations(count, seed):
    """Good frames with some bytes changed or cut off; the same for the same seed."""
    rng = random.Random(seed)
    good = [ethernet(ARP, arp()), ethernet(IPV4, ipv4(TCP, tcp(80, options=b"\2\4\5\xb4"))),
            ethernet(IPV4, ipv4(UDP, udp(7, b"x" * 60))), ethernet(IPV4, ipv4(ICMP, icmp(8))),
            ethernet(IPV4, dhcp(b"\x35\1\1\xff")),
            ethernet(IPV6, ipv6(TCP, tcp(80, src=IP6_GUEST, dst=IP6_GATEWAY))),
            ethernet(IPV6, icmp6(133, bytes(4))),
            ethernet(IPV6, icmp6(135, bytes(4) + address(IP6_GATEWAY)))]
    for _ in range(count):
        frame = bytearray(rng.choice(good))
        for _ in range(rng.randint(1, 4)):
            frame[rng.randrange(12, len(frame))] = rng.randrange(256)
        if rng.random() < 0.3:
            del frame[rng.randrange(14, len(frame)):]
        yield bytes(frame)


class StreamGuest:
    """The guest end of netfwd --stream: each frame behind its length (u32, big endian)."""

    def __init__(self, path=None, sock=None):
        """Connects to the socket at `path`, or takes one end of a pair."""
        self.sock = sock or socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(10)
        if path:
            self.sock.connect(str(path))

    def close(self):
        self.sock.close()

    def send_bytes(self, data):
        self.sock.sendall(data)

    def send(self, frame):
        self.send_bytes(struct.pack(">I", len(frame)) + frame)

    def read(self, size):
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                raise ConnectionError("netfwd closed the link")
            data += piece
        return data

    def wait_closed(self):
        """Until netfwd gives up the link; an error if it does not."""
        while self.sock.recv(65536):
            pass

    def receive(self):
        """The next frame; None when there is none for two seconds."""
        self.sock.settimeout(2)
        try:
            size = self.read(4)
        except TimeoutError:
            return None
        finally:
            self.sock.settimeout(10)
        return self.read(struct.unpack(">I", size)[0])

    def wait_for(self, wanted, timeout=20):
        """The first frame for which wanted(frame) is true; None if none comes in time."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            frame = self.receive()
            if frame and wanted(frame):
                return frame
        return None

    def find_gateway(self):
        """The gateway's hardware address, by ARP; None when it does not answer."""
        self.send(ethernet(ARP, arp()))
        reply = self.wait_for(lambda f: f[12:14] == b"\x08\x06" and f[20:22] == b"\0\2" and
                              f[28:32] == address(GATEWAY))
        return reply and reply[22:28]

    def ping(self, gateway, mark):
        """Whether the gateway answers an echo request that carries `mark`."""
        self.send(ethernet(IPV4, ipv4(ICMP, icmp(8, mark)), gateway))
        return self.wait_for(lambda f: f[23:24] == bytes([ICMP]) and f[34:35] == b"\0" and
                             mark in f) is not None

    def answer_arp(self, frame):
        """Answers the gateway's own question for the guest, as a guest must to be reached."""
        if frame[12:14] == b"\x08\x06" and frame[38:42] == address(GUEST):
            self.send(ethernet(ARP, arp(socket.inet_ntoa(frame[28:32]), 2), frame[6:12]))

    def open_tcp(self, gateway, port, source_port):
        """The flags of the answer to a connection request; None if none comes."""
        def is_answer(frame):
            self.answer_arp(frame)
            return frame[23:24] == bytes([TCP]) and frame[36:38] == struct.pack(">H", source_port)

        self.send(ethernet(IPV4, ipv4(TCP, tcp(port, source_port)), gateway))
        reply = self.wait_for(is_answer)
        return reply and reply[47]


def hardware_address(text):
    return bytes.fromhex(text.strip().replace(":", ""))


def flood(interface, gateway, count, target, port):
    """Connection requests from addresses that never answer, as fast as they go."""
    with open(f"/sys/class/net/{interface}/address", encoding="ascii") as file:
        own = hardware_address(file.read())
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((interface, 0))
        for number in range(count):
            source = f"192.168.5.{16 + number % 200}"
            packet = ipv4(TCP, tcp(port, 1024 + number % 60000, src=source, dst=target),
                          source, target)
            sock.send(ethernet(IPV4, packet, hardware_address(gateway), own))


if __name__ == "__main__" and sys.argv[1:2] == ["flood"]:
    flood(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5], int(sys.argv[6]))
