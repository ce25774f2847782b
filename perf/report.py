# SPDX-License-Identifier: Apache-2.0
"""A record as text: the environment, one table per path, then the ratios."""

from collections import defaultdict
from statistics import median

from measure import DIRECTIONS, QUIET

GROUPS = {
    "ns-65520": "Namespace guest, MTU 65520",
    "ns-1500": "Namespace guest, MTU 1500",
    "ns-splice": "Namespace guest, past its NIC, loopback to loopback",
    "qemu": "QEMU guest",
    "uml": "User-Mode Linux guest",
    "tunnel-unix-1": "Tunnels over a UNIX socket, one connection",
    "tunnel-unix-8": "Tunnels over a UNIX socket, eight connections",
    "tunnel-veth-1": "Tunnels over TCP by a veth, one connection",
    "tunnel-veth-8": "Tunnels over TCP by a veth, eight connections",
    "tunnel-tcp-1": "Tunnels over TCP by the guest's NIC, one connection",
    "tunnel-tcp-8": "Tunnels over TCP by the guest's NIC, eight connections",
    "ssh-1": "SSH to a server on the host's loopback, one connection",
    "ssh-4": "SSH to a server on the host's loopback, four connections",
    "shared-ip": "Shared network: the host and a namespace guest, by address",
    "shared-guests": "Shared network: two namespace guests",
}
CONNECTIONS = {
    "any": "no guest",
    "out": "the guest connects to the host's loopback",
    "in": "the host connects to a forwarded port",
    "ip": "the host connects to the guest's address",
    "guests": "one guest connects to the other's address",
}
# What netfwd aims at: this many times the peer's rate.
GOALS = {"loopback": 0.4, "slirp4netns": 2.5, "pasta": 1.4,
         "pasta-splice": 1.0, "qemu-user-1500": 2.0, "ssh-L": 2.5, "relay": 0.7,
         "bridge": 0.5}
# By SSH: the mean of both directions, with one connection and with several.
SSH_GOALS = {"ssh-1": 1.0, "ssh-4": 1.2, "tunnel-tcp-1": 1.0, "tunnel-tcp-8": 1.2}
COSTS = ("forwarder_s_per_gb", "qemu_s_per_gb", "machine_s_per_gb")


def by_row(samples):
    """{(group, connection): {contender: {direction: [sample, ...]}}}, in the
    order measured first; failed samples left out, their rows kept. What was
    measured on "any" connection stands beside each of its group."""
    rows = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    of_group = defaultdict(set)
    for s in samples:
        of_group[s["group"]].add(s["connection"])
    for s in samples:
        if s["connection"] == "end":
            continue
        connections = [s["connection"]]
        if connections == ["any"]:
            connections = sorted(of_group[s["group"]] - {"any", "end"},
                                 reverse=True) or ["any"]
        for c in connections:
            row = rows[s["group"], c][s["contender"]]
            if "failed" not in s:
                row[s["direction"]].append(s)
    return rows


def middle(samples, key):
    values = [s[key] for s in samples if s[key] is not None]
    return median(values) if values else None


def number(value, width, digits=2):
    return f"{'-' if value is None else format(value, f'.{digits}f'):>{width}}"


def cells(samples, base):
    """One direction of one row: rate, range, share of loopback, costs."""
    if not samples:
        return f"{'failed':>6}" + " " * 41
    rates = [s["gbps"] for s in samples]
    rate, loopback = median(rates), middle(base, "gbps")
    spread = f"{min(rates):.2f}..{max(rates):.2f}"
    return (number(rate, 6) + f"{spread:>14}" +
            number(loopback and rate / loopback, 6) +
            "".join(number(middle(samples, c), 7) for c in COSTS))


def table(title, contenders):
    head = "Gbit/s       (range)    lo    fwd     vm    all"
    yield title
    yield " " * 20 + "".join(f"| {d:<48}" for d in DIRECTIONS).rstrip()
    yield " " * 20 + f"| {head} | {head}"
    base = contenders.get("loopback", {})
    for name, row in contenders.items():
        yield f"{name:<20}" + " ".join(
            "| " + cells(row.get(d, []), base.get(d, []))
            for d in DIRECTIONS).rstrip()
    yield ""


def pairs(rows):
    """(group, connection, netfwd row, peer group, peer row, peer)."""
    for (group, connection), contenders in rows.items():
        for name in contenders:
            if not name.startswith("netfwd"):
                continue
            against = [(group, p) for p in contenders if p in GOALS and
                       not (p == "loopback" and
                            group.startswith(("qemu", "tunnel", "uml", "ssh")))]
            if group == "ns-1500":
                against += [("ns-65520", p) for p in ("slirp4netns", "pasta")]
            for peer_group, peer in against:
                theirs = rows.get((peer_group, connection), {}).get(peer, {})
                yield group, connection, name, peer_group, peer, theirs


def goal(group, name, peer):
    return SSH_GOALS.get(group, 1.0) if (name, peer) == ("netfwd-ssh", "ssh-L") else GOALS[peer]


def ratios(rows):
    """How many times each peer's rate netfwd has, and how many it aims at."""
    lines = []
    for group, connection, name, peer_group, peer, theirs in pairs(rows):
        ours = rows[group, connection][name]
        text = f"{group + ' ' + connection + ' ' + name:<34}"
        where = "" if peer_group == group else f" ({peer_group})"
        text += f"{peer + where:<26}"
        for d in DIRECTIONS:
            a, b = middle(ours[d], "gbps"), middle(theirs[d], "gbps")
            ratio = a / b if a and b else None
            below = ratio is not None and ratio < goal(group, name, peer)
            text += number(ratio, 14) + ("!" if below else " ")
        lines.append(text + number(goal(group, name, peer), 8, 1))
    if lines:
        yield (f"{'netfwd as a multiple of':<60}" +
               "".join(f"{d:>14} " for d in DIRECTIONS) + "     aim")
        yield from lines
        yield "! below the aim"
        yield ""


def failures(record):
    for label, programs in record["absent"].items():
        yield f"not measured: {label}: missing {', '.join(programs)}"
    whys = defaultdict(list)
    for s in record["samples"]:
        if "failed" in s:
            what = (s["group"], s["contender"], s["connection"],
                    s["direction"])
            whys[what].append(s["failed"].strip())
    for (group, contender, connection, direction), why in whys.items():
        yield (f"failed {len(why)} times: {group}/{contender} {connection} "
               f"{direction}: {why[0]}")


def environment(record):
    env = record["environment"]
    yield (f"{env['cpus']} x {env['cpu']}, Linux {env['kernel']}, "
           f"QEMU by {env['qemu_accelerator']}, "
           f"commit {env['commit']}")
    yield ", ".join(f"{p} {v or 'absent'}"
                    for p, v in env["packages"].items())
    busy = [s["busy_before"] for s in record["samples"] if "failed" not in s]
    noisy = sum(b > QUIET for b in busy)
    yield (f"{record['rounds']} rounds of {record['seconds']} s; medians; "
           f"{noisy} of {len(busy)} measurements began on a machine more than "
           f"{QUIET:.0%} busy with other work")
    yield ""


def text(record):
    rows = by_row(record["samples"])
    lines = list(environment(record))
    for (group, connection), contenders in rows.items():
        lines += table(f"{GROUPS[group]}: {CONNECTIONS[connection]}",
                       contenders)
    lines += ["lo: share of kernel loopback's rate. CPU seconds per 1e9 bytes:"
              " fwd the forwarder,", "vm QEMU (with its guest), all the whole "
              "machine, iperf3 included.", ""]
    lines += ratios(rows)
    lines += failures(record)
    return "\n".join(lines)
