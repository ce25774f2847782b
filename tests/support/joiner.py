# SPDX-License-Identifier: Apache-2.0
"""A guest of a shared network in a few lines of Python: a client of the stream socket that gets
an address by DHCP and says what it is told to, true or not."""
import socket
import struct

import frames
from frames import ARP, BROADCAST, ICMP, ICMP6, IPV4, IPV6, UDP, address, ethernet, ipv4, ipv6

DISCOVER, OFFER, REQUEST, ACK = 1, 2, 3, 5
NOBODY, EVERYBODY = "0.0.0.0", "255.255.255.255"


def option(number, value):
    return bytes([number, len(value)]) + value


def option6(number, value):
    return struct.pack(">HH", number, len(value)) + value


class Joiner(frames.StreamGuest):
    def __init__(self, path, number, sock=None):
        super().__init__(path, sock)
        self.mac = bytes([2, 0, 0, 0, number >> 8, number & 255])
        self.address = None

    def say_dhcp(self, kind, *options):
        head = struct.pack(">4BI", 1, 1, 6, 0, 7) + bytes(20) + self.mac
        message = head.ljust(236, b"\0") + b"\x63\x82\x53\x63" + option(53, bytes([kind])) + \
            b"".join(options) + b"\xff"
        datagram = frames.udp(67, message, 68, NOBODY, EVERYBODY)
        self.send(ethernet(IPV4, ipv4(UDP, datagram, NOBODY, EVERYBODY), BROADCAST, self.mac))

    def wait_dhcp(self, kind):
        """The address that a reply of this kind gives."""
        reply = self.wait_for(lambda f: f[:6] == self.mac and f[34:36] == b"\0\x43" and
                              f[282:285] == bytes([53, 1, kind]))
        if reply is None:
            raise TimeoutError(f"no DHCP message of type {kind}")
        return socket.inet_ntoa(reply[58:62])

    def ask(self):
        self.say_dhcp(DISCOVER)

    def take(self):
        """What follows ask(): takes what is offered."""
        offered = self.wait_dhcp(OFFER)
        self.say_dhcp(REQUEST, option(50, address(offered)))
        self.address = self.wait_dhcp(ACK)
        return self.address

    def ask6(self):
        """The address that DHCPv6 gives, in one exchange (rapid commit)."""
        source, servers = "fe80::a:" + self.mac[4:].hex(), "ff02::1:2"
        message = b"\1\0\0\7" + option6(1, b"\0\3\0\1" + self.mac) + \
            option6(3, b"\0\0\0\1" + bytes(8)) + option6(14, b"")
        datagram = frames.udp(547, message, 546, source, servers)
        self.send(ethernet(IPV6, ipv6(UDP, datagram, source, servers),
                           bytes.fromhex("333300010002"), self.mac))
        reply = self.wait_for(lambda f: f[:6] == self.mac and f[54:56] == b"\x02\x23" and
                              f[62:66] == b"\7\0\0\7")
        if reply is None:
            raise TimeoutError("no DHCPv6 reply")
        at = reply.index(struct.pack(">HH", 5, 24))  # IAADDR
        return socket.inet_ntop(socket.AF_INET6, reply[at + 4:at + 20])

    def say_arp(self, source, target, operation=1, sender_mac=None):
        payload = struct.pack(">HHBBH", 1, IPV4, 6, 4, operation) + (sender_mac or self.mac) + \
            address(source) + bytes(6) + address(target)
        self.send(ethernet(ARP, payload, BROADCAST, self.mac))

    def find(self, target):
        """The hardware address of a station, by ARP; None when there is none."""
        self.say_arp(self.address, target)
        reply = self.wait_for(lambda f: f[12:14] == b"\x08\x06" and f[20:22] == b"\0\2" and
                              f[28:32] == address(target))
        return reply and reply[22:28]

    def echo(self, target, mark=b"joiner"):
        """Whether a station answers an echo request."""
        mac = self.find(target)
        if mac is None:
            return False
        request = ipv4(ICMP, frames.icmp(8, mark), self.address, target)
        self.send(ethernet(IPV4, request, mac, self.mac))
        return self.wait_for(lambda f: f[23:24] == bytes([ICMP]) and f[34:35] == b"\0" and
                             mark in f) is not None

    def udp_frame(self, mac, target, port=9, data=b"x"):
        """From itself to another guest."""
        datagram = frames.udp(port, data, 9, self.address, target)
        return ethernet(IPV4, ipv4(UDP, datagram, self.address, target), mac, self.mac)

    def say_udp(self, source, target, port, source_port, data=b"x"):
        datagram = frames.udp(port, data, source_port, source, target)
        self.send(ethernet(IPV4, ipv4(UDP, datagram, source, target), BROADCAST, self.mac))

    def say_icmp6(self, kind, data, source, target="ff02::1"):
        message = struct.pack(">BBH", kind, 0, 0) + data
        message = frames.with_sum(ICMP6, message, source, target, 2)
        self.send(ethernet(IPV6, ipv6(ICMP6, message, source, target),
                           bytes.fromhex("333300000001"), self.mac))


class DgramJoiner(Joiner):
    """A guest of netfwd --dgram: a frame is a datagram."""

    def __init__(self, path, number, own_path):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(str(own_path))
        super().__init__(path, number, sock)

    def send(self, frame):
        self.sock.send(frame)

    def receive(self):
        self.sock.settimeout(2)
        try:
            return self.sock.recv(65536)
        except TimeoutError:
            return None
