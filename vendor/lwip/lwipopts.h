/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* lwIP 2.1.3 as netfwd uses it: a TCP engine, plus UDP and fragments, that is
 * fed IP packets by hand and hands IP packets back. Ethernet, ARP, neighbour
 * discovery, DHCP and DNS are done elsewhere. An option that is not named here
 * keeps the default of lwip/opt.h. Limits that lwIP would otherwise check are
 * checked in assumptions.c. */

/* --- System ------------------------------------------------------------- */
#define NO_SYS 1	       /* no threads: every call comes from the loop thread */
#define SYS_LIGHTWEIGHT_PROT 0 /* hence nothing to lock */
#define LWIP_NETCONN 0	       /* the blocking APIs need threads */
#define LWIP_SOCKET 0	       /* same */
#define LWIP_TIMERS 0	       /* the engine ticks tcp_tmr() and the reassembly timers
				* itself, and only while they have work: idle is idle */

/* --- Memory ------------------------------------------------------------- */
#define MEM_LIBC_MALLOC 1 /* one allocator in the process, seen by ASan */
#define MEMP_MEM_MALLOC 1 /* no fixed pools: netfwd limits connections itself */
#define MEM_ALIGNMENT 8	  /* what malloc guarantees at least, and pointers need */
#define LWIP_SUPPORT_CUSTOM_PBUF 1 /* received frames are lent to lwIP, not copied */
#define LWIP_PBUF_REF_T u16_t /* a datagram cut at a small MTU takes one reference
			       * per fragment, more than the default u8_t counts */
#define PBUF_POOL_BUFSIZE 2048 /* the default follows TCP_MSS: 64 KiB for each use */

/* --- Which protocols ---------------------------------------------------- */
#define LWIP_IPV4 1
#define LWIP_IPV6 1
#define LWIP_TCP 1
#define LWIP_UDP 0	/* datagrams need no engine: netstack/udp.c */
#define LWIP_RAW 0	/* nothing else is spoken to the guest through lwIP */
#define LWIP_ICMP 0	/* never fed to lwIP */
#define LWIP_ICMP6 1	/* the IPv6 files do not compile without it */
#define LWIP_ARP 0	/* the link resolves the guest's MAC address */
#define LWIP_ETHERNET 0 /* and writes the Ethernet header */
#define LWIP_DHCP 0
#define LWIP_IGMP 0

/* --- Interface ---------------------------------------------------------- */
/* Room in front of the IP header, so that our Ethernet header (14) and virtio
 * header (12, 16 reserved) fit without a copy. */
#define PBUF_LINK_HLEN 14
#define PBUF_LINK_ENCAPSULATION_HLEN 16
#define LWIP_NETIF_TX_SINGLE_PBUF 0 /* chains are fine: links send an iovec */
/* During an output netif->hints points into the connection that sends: how
 * the engine finds the segment size to ask the link for. */
#define LWIP_NETIF_HWADDRHINT 1

/* --- IPv4 --------------------------------------------------------------- */
#define IP_FORWARD 0	   /* lwIP is an end point, never a router */
#define IP_DEFAULT_TTL 64  /* RFC 1700's recommendation; lwIP's is 255 */
#define IP_FRAG 0	   /* netstack/udp.c cuts its own datagrams */
#define IP_REASSEMBLY 0	   /* netstack/reassembly.c, for both families: lwIP's IPv6
			    * one does 16-bit sums of lengths that the guest chooses */

/* --- IPv6 --------------------------------------------------------------- */
#define LWIP_IPV6_FRAG 0  /* as for IPv4 */
#define LWIP_IPV6_REASS 0
#define LWIP_IPV6_FORWARD 0	/* as for IPv4 */
#define LWIP_IPV6_SCOPES 0	/* connections are bound to their interface, so a
				 * link-local address needs no zone as well */
#define LWIP_IPV6_AUTOCONFIG 0	/* the interface's addresses are set by us */
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 0 /* we are the router */
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 0 /* nobody else has our addresses */
#define LWIP_IPV6_MLD 0			/* no multicast through lwIP */
#define LWIP_ND6_TCP_REACHABILITY_HINTS 0 /* neighbours are the link's business: */
#define LWIP_ND6_QUEUEING 0		  /* lwIP's tables stay empty, and small */
#define LWIP_ND6_ALLOW_RA_UPDATES 0
#define LWIP_ND6_NUM_NEIGHBORS 1
#define LWIP_ND6_NUM_DESTINATIONS 1
#define LWIP_ND6_NUM_PREFIXES 1
#define LWIP_ND6_NUM_ROUTERS 1

/* --- TCP ---------------------------------------------------------------- */
/* Largest segment: one 64 KiB frame with offload, or MTU 65520 without. */
#define TCP_MSS 65440
/* lwIP's checks assume segments below 16 KiB; ours are in assumptions.c. */
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1
#define LWIP_WND_SCALE 1 /* 64 KiB in flight would be the limit (RFC 7323) */
#define TCP_RCV_SCALE 7	 /* 65535 << 7 covers TCP_WND with room */
#define TCP_WND (4 * 1024 * 1024) /* bytes a guest may have in flight to us; what is
				   * not read stays unacknowledged there */
#define TCP_SND_BUF TCP_WND	  /* upper bound; the relay's ring decides */
#define TCP_SND_QUEUELEN 16384 /* pbufs (u16): TCP_SND_BUF in segments of 536, twice */
#define TCP_OVERSIZE 0	       /* writes refer to the relay's ring, nothing to append to */
#define TCP_QUEUE_OOSEQ 1      /* a lossy link costs one segment, not a window */
#define TCP_OOSEQ_MAX_PBUFS 1024 /* memory for one connection's out-of-order data stays
				  * bounded even if a guest sends single bytes */
#define LWIP_TCP_SACK_OUT 1    /* tell the guest what to resend (RFC 2018) */
#define LWIP_TCP_TIMESTAMPS 0  /* 12 bytes a segment for an RTT we know to be tiny */
#define TCP_LISTEN_BACKLOG 0   /* the limit is on flows, before lwIP sees the SYN */
#define TCP_MSL 500	       /* ms: TIME_WAIT of 1 s. All data is acknowledged by both
				* sides then; a late FIN gets a harmless reset */
#define TCP_TMR_INTERVAL 50    /* ms: delayed ACK 50 instead of 250, RTO grain 100
				* instead of 500 */
#define LWIP_TCP_RTO_TIME 1000 /* ms before the first resend of a SYN (RFC 6298) */
#define TCP_SYNMAXRTX 4	       /* a guest that does not answer for 15 s is not there */
#define LWIP_TCP_KEEPALIVE 1   /* a guest that was killed leaves no trace behind */
#define TCP_KEEPIDLE_DEFAULT 60000U /* in the end; but one that is only paused for
				     * ten minutes keeps its connections */
#define TCP_KEEPINTVL_DEFAULT 30000U
#define TCP_KEEPCNT_DEFAULT 20U
#define TCP_MAXRTX 30 /* same, with data in flight: 40 s between the later resends */

/* --- Checksums ---------------------------------------------------------- */
/* IP headers are lwIP's. TCP and UDP are finished or verified at the link,
 * which alone knows whether the other side takes a partial checksum, and does
 * it several times faster where it has to. */
#define CHECKSUM_GEN_IP 1
#define CHECKSUM_CHECK_IP 0 /* verified when the frame was parsed */
#define CHECKSUM_GEN_TCP 0
#define CHECKSUM_CHECK_TCP 0
#define CHECKSUM_GEN_UDP 0
#define CHECKSUM_CHECK_UDP 0
#define LWIP_CHECKSUM_ON_COPY 0 /* nothing is copied */

/* --- Counters ----------------------------------------------------------- */
/* Only what lwIP drops, so that each loss has a name; 32-bit, as 16 wrap. */
#define LWIP_STATS 1
#define LWIP_STATS_LARGE 1
#define LINK_STATS 0
#define MEM_STATS 0
#define MEMP_STATS 0
#define SYS_STATS 0

/* --- Hooks -------------------------------------------------------------- */
#define LWIP_HOOK_FILENAME "lwip_hooks.h"
/* lwIP's own initial sequence number is a counter: guessable. */
#define LWIP_HOOK_TCP_ISN(local_ip, local_port, remote_ip, remote_port) \
	lwip_port_isn((local_ip), (local_port), (remote_ip), (remote_port))
