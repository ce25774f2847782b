/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* lwIP 2.2.1 as netfwd uses it: a TCP engine that is fed IP packets by hand and
 * hands IP packets back. Fragments, datagrams, Ethernet, ARP, neighbour
 * discovery, DHCP and DNS are done elsewhere. An option that is not named here
 * keeps the default of lwip/opt.h. Limits that lwIP would otherwise check are
 * checked in assumptions.c. */

/* --- System: every call comes from the one loop thread, nothing to lock. ---
 */
#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
/* The blocking interfaces need threads. */
#define LWIP_NETCONN 0
#define LWIP_SOCKET 0
/* The engine ticks tcp_tmr() itself, and only while it has work: idle is idle.
 */
#define LWIP_TIMERS 0

/* --- Memory --- */
/* One allocator in the process, and one that ASan sees. */
#define MEM_LIBC_MALLOC 1
/* No fixed pools: netfwd limits connections before lwIP sees them. */
#define MEMP_MEM_MALLOC 1
/* Pointers need it, malloc gives it. */
#define MEM_ALIGNMENT 8
/* Received frames are lent to lwIP, not copied. */
#define LWIP_SUPPORT_CUSTOM_PBUF 1
/* A datagram cut at a small MTU takes one reference per fragment, more than
 * the default u8_t counts. */
#define LWIP_PBUF_REF_T u16_t
/* The default follows TCP_MSS: 64 KiB each. */
#define PBUF_POOL_BUFSIZE 2048

/* --- Protocols --- */
#define LWIP_IPV4 1
#define LWIP_IPV6 1
#define LWIP_TCP 1
/* Datagrams need no engine: netstack/udp.c. */
#define LWIP_UDP 0
/* Never fed to lwIP; but the IPv6 files do not compile without theirs. */
#define LWIP_ICMP 0
#define LWIP_ICMP6 1
/* The link resolves the guest's MAC address and writes the Ethernet header. */
#define LWIP_ARP 0
#define LWIP_ETHERNET 0
/* Nothing else is spoken to the guest through lwIP. */
#define LWIP_RAW 0
#define LWIP_DHCP 0
#define LWIP_IGMP 0

/* --- Interface --- */
/* Room in front of the IP header for our Ethernet header (14) and virtio header
 * (12, 16 reserved). */
#define PBUF_LINK_HLEN 14
#define PBUF_LINK_ENCAPSULATION_HLEN 16
/* Links send an iovec, so a packet may be a chain. */
#define LWIP_NETIF_TX_SINGLE_PBUF 0
/* During an output netif->hints points into the connection that sends: how the
 * engine finds the segment size to ask the link for. */
#define LWIP_NETIF_HWADDRHINT 1

/* --- IPv4 --- */
/* lwIP is an end point, never a router. */
#define IP_FORWARD 0
/* The recommended value (RFC 1700); lwIP's is 255. */
#define IP_DEFAULT_TTL 64
/* netstack/udp.c cuts its own datagrams, and TCP is never cut. */
#define IP_FRAG 0
/* netstack/reassembly.c, for both families: lwIP's IPv6 one does 16-bit sums of
 * lengths that the guest chooses. */
#define IP_REASSEMBLY 0

/* --- IPv6 --- */
/* As for IPv4. */
#define LWIP_IPV6_FRAG 0
#define LWIP_IPV6_REASS 0
#define LWIP_IPV6_FORWARD 0
/* Connections are bound to their interface; a link-local address needs no zone
 * on top of that. */
#define LWIP_IPV6_SCOPES 0
/* The addresses are set by us, nobody else has them, and we are the router. */
#define LWIP_IPV6_AUTOCONFIG 0
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 0
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 0
/* No multicast through lwIP. */
#define LWIP_IPV6_MLD 0
/* Neighbours are the link's business: lwIP's tables stay empty, so small. */
#define LWIP_ND6_TCP_REACHABILITY_HINTS 0
#define LWIP_ND6_QUEUEING 0
#define LWIP_ND6_ALLOW_RA_UPDATES 0
#define LWIP_ND6_NUM_NEIGHBORS 1
#define LWIP_ND6_NUM_DESTINATIONS 1
#define LWIP_ND6_NUM_PREFIXES 1
#define LWIP_ND6_NUM_ROUTERS 1

/* --- TCP --- */
/* Largest segment: one 64 KiB frame with offload, or MTU 65520 without. */
#define TCP_MSS 65440
/* lwIP's checks assume segments below 16 KiB; ours are in assumptions.c. */
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1
/* Without scaling, 64 KiB in flight would be the limit (RFC 7323). 65535 << 7
 * covers TCP_WND with room. */
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 7
/* Bytes that a guest may have in flight to us. */
#define TCP_WND (4 * 1024 * 1024)
/* Bytes in flight to a guest, upper bound: the relay's ring decides. */
#define TCP_SND_BUF TCP_WND
/* In pbufs (u16): TCP_SND_BUF in segments of 536 bytes, two each. */
#define TCP_SND_QUEUELEN 16384
/* Writes refer to the relay's ring, so there is nothing to append to. */
#define TCP_OVERSIZE 0
/* A lossy link costs one segment and not a window, and the guest is told which
 * (RFC 2018). */
#define TCP_QUEUE_OOSEQ 1
#define LWIP_TCP_SACK_OUT 1
/* Memory for one connection's out-of-order data stays bounded even if a guest
 * sends single bytes. */
#define TCP_OOSEQ_MAX_PBUFS 1024
/* 12 bytes in every segment, for a round-trip time we know to be tiny. */
#define LWIP_TCP_TIMESTAMPS 0
/* The limit is on flows, before lwIP sees the SYN. */
#define TCP_LISTEN_BACKLOG 0
/* In ms: TIME_WAIT lasts 1 s. All data is acknowledged by both sides then; a
 * late FIN gets a harmless reset. */
#define TCP_MSL 500
/* In ms: delayed ACKs after 50 instead of 250, retransmission timers in steps
 * of 100 instead of 500. */
#define TCP_TMR_INTERVAL 50
/* In ms, before the first SYN is sent again (RFC 6298; lwIP's is 3000). */
#define LWIP_TCP_RTO_TIME 1000
/* A guest whose MAC address is known and that does not answer for a minute is not
 * there; before that it may be busy, or paused. lwIP repeats a SYN every second:
 * of SYNs alone, it does not stretch the time between them. An enum: see
 * TCP_MAXRTX. */
#define TCP_SYNMAXRTX LWIP_PORT_SYNMAXRTX
/* A guest that was killed leaves no trace behind in the end; but one that is
 * only paused for ten minutes keeps its connections. */
#define LWIP_TCP_KEEPALIVE 1
#define TCP_KEEPIDLE_DEFAULT 60000U
#define TCP_KEEPINTVL_DEFAULT 30000U
#define TCP_KEEPCNT_DEFAULT 20U
/* Same, with data in flight: 40 s between the later resends. lwIP's own check
 * wants 12 at most for the sake of a table whose index it clamps anyway; it takes
 * the name for 0. */
#define TCP_MAXRTX LWIP_PORT_MAXRTX

/* --- Checksums --- */
/* IPv4 headers are finished by lwIP, and verified when the frame is parsed. */
#define CHECKSUM_GEN_IP 1
#define CHECKSUM_CHECK_IP 0
/* TCP and UDP are finished and verified at the link, which alone knows whether
 * the other side takes a partial checksum, and is several times faster at it.
 */
#define CHECKSUM_GEN_TCP 0
#define CHECKSUM_CHECK_TCP 0
#define CHECKSUM_GEN_UDP 0
#define CHECKSUM_CHECK_UDP 0
#define LWIP_CHECKSUM_ON_COPY 0

/* --- Counters: only what lwIP drops, so that each loss has a name. --- */
#define LWIP_STATS 1
/* 32 bits; 16 wrap in a moment. */
#define LWIP_STATS_LARGE 1
#define LINK_STATS 0
#define MEM_STATS 0
#define MEMP_STATS 0
#define SYS_STATS 0

/* --- Hooks --- */
#define LWIP_HOOK_FILENAME "lwip_hooks.h"
/* lwIP's own initial sequence number is a counter, so guessable. */
#define LWIP_HOOK_TCP_ISN(local_ip, local_port, remote_ip, remote_port) \
	lwip_port_isn((local_ip), (local_port), (remote_ip), (remote_port))
