/* SPDX-License-Identifier: Apache-2.0 */
/* What netfwd assumes about lwIP, checked when it is compiled. No code.
 *
 * First the checks that LWIP_DISABLE_TCP_SANITY_CHECKS takes away with the one
 * that is wrong for us, then the internals that netstack/lwip/ relies on: they
 * are the same in 2.1.2, 2.1.3 and 2.2.1, but no interface promises them. */
#include <assert.h>
#include <stddef.h>

#include <lwip/opt.h>

#include <lwip/ip.h>
#include <lwip/pbuf.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/tcp.h>

static_assert(TCP_SND_BUF >= 2 * TCP_MSS,
	      "less than two segments of send buffer stalls on every ACK");
static_assert(TCP_SND_QUEUELEN >= 2 * (TCP_SND_BUF / TCP_MSS),
	      "a full send buffer needs two pbufs for each large segment");
static_assert(TCP_SND_QUEUELEN >= 2 * (TCP_SND_BUF / 536),
	      "and for each segment of the smallest usual size");
static_assert(TCP_WND >= 2 * TCP_MSS, "a window below two segments stalls");
static_assert(TCP_MSS + 40 + 20 <= 65535 - PBUF_LINK_HLEN,
	      "IPv6 and TCP headers and a segment fit in one frame's u16 length");
static_assert(sizeof(tcpwnd_size_t) == 4, "windows above 64 KiB are u32");

static_assert(_Generic(((struct tcp_pcb *)0)->mss, u16_t : 1, default : 0),
	      "the segment size may be raised to 64 KiB by a store");
static_assert(_Generic(((struct tcp_pcb *)0)->cwnd, tcpwnd_size_t : 1, default : 0),
	      "the congestion window may be opened by a store");
static_assert(_Generic(((struct tcp_pcb_listen *)0)->local_port, u16_t : 1, default : 0),
	      "the one listener may be pointed at any port by a store");
static_assert(_Generic(ip_data.current_netif, struct netif * : 1, default : 0),
	      "packet context is a global that we may fill");
static_assert(_Generic(&ip_data.current_iphdr_dest, ip_addr_t * : 1, default : 0),
	      "and so are the addresses in it");
static_assert(_Generic(((struct pbuf *)0)->tot_len, u16_t : 1, default : 0),
	      "lengths are u16: conversions are checked at our side");
