/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "netstack/dhcp6_server.h"
#include "netstack/dhcp_server.h"
#include "netstack/dns_relay.h"
#include "netstack/dns_tcp.h"
#include "netstack/egress.h"
#include "netstack/guard.h"
#include "netstack/guests.h"
#include "netstack/link.h"
#include "netstack/lwip/engine.h"
#include "netstack/outbound.h"
#include "netstack/segment.h"
#include "netstack/slirp.h"
#include "netstack/stack.h"
#include "netstack/stack_parts.h"

struct counter_sink {
	stack_counter_fn *fn;
	void *arg;
};

static void count(const struct counter_sink *sink, const char *name, uint64_t value)
{
	if (value)
		sink->fn(sink->arg, name, value);
}

static void count_links(const struct counter_sink *sink, const struct link_counters *c)
{
	count(sink, "link.rx-frames", c->rx_frames);
	count(sink, "link.rx-bytes", c->rx_bytes);
	count(sink, "link.tx-frames", c->tx_frames);
	count(sink, "link.tx-bytes", c->tx_bytes);
	count(sink, "link.rx-runt", c->rx_runt);
	count(sink, "link.rx-oversized", c->rx_oversized);
	count(sink, "link.rx-bad-vnet", c->rx_bad_vnet);
	count(sink, "link.rx-no-memory", c->rx_no_memory);
	count(sink, "link.rx-refused", c->rx_refused);
	count(sink, "link.tx-blocked", c->tx_blocked);
	count(sink, "link.tx-dropped", c->tx_dropped);
}

static void count_segment(const struct counter_sink *sink, const struct segment *segment)
{
	const struct segment_counters *c = segment_counters(segment);

	count(sink, "segment.not-segmented", c->not_segmented);
	count(sink, "segment.no-link", c->no_link);
	count(sink, "segment.congested", c->congested);
	count(sink, "segment.flood-limited", c->flood_limited);
	count(sink, "segment.isolated", c->isolated);
	count(sink, "segment.malformed", c->malformed);
	count(sink, "segment.own-mac", c->own_mac);
	count(sink, "segment.stations-evicted", segment_evicted(segment));
}

static void count_dhcp(const struct counter_sink *sink, const struct dhcp_server_counters *c)
{
	count(sink, "dhcp.malformed", c->malformed);
	count(sink, "dhcp.forged", c->forged);
	count(sink, "dhcp.exhausted", c->exhausted);
	count(sink, "dhcp.refused", c->refused);
	count(sink, "dhcp.conflicts", c->conflicts);
	count(sink, "dhcp.busy", c->busy);
}

static void count_dhcp6(const struct counter_sink *sink, const struct dhcp6_server_counters *c)
{
	count(sink, "dhcp6.malformed", c->malformed);
	count(sink, "dhcp6.foreign", c->foreign);
	count(sink, "dhcp6.exhausted", c->exhausted);
	count(sink, "dhcp6.declined", c->declined);
}

static void count_guard(const struct counter_sink *sink, const struct guard *guard)
{
	char name[48] = "guard.";

	for (int i = 0; guard && i < GUARD_N_VERDICTS; i++) {
		strncpy(name + 6, guard_verdict_name((enum guard_verdict)i), sizeof(name) - 7);
		count(sink, name, guard->refused[i]);
	}
}

static void count_tcp(const struct counter_sink *sink, const struct stack *s)
{
	count(sink, "tcp.connections", engine_counters(s->engine)->connections);
	count(sink, "tcp.out-of-memory", engine_counters(s->engine)->out_of_memory);
	count(sink, "tcp.orphans-dropped", engine_counters(s->engine)->orphans_dropped);
	count(sink, "tcp.out.open", outbound_counters(s->outbound)->open);
	count(sink, "tcp.out.half-open", outbound_counters(s->outbound)->half_open);
	count(sink, "tcp.out.refused", outbound_counters(s->outbound)->refused);
	count(sink, "tcp.out.evicted", outbound_counters(s->outbound)->evicted);
	count(sink, "tcp.out.expired", outbound_counters(s->outbound)->expired);
}

void stack_counters(struct stack *s, stack_counter_fn *fn, void *arg)
{
	const struct counter_sink sink = { fn, arg };
	const struct link_counters links = segment_link_counters(s->segment);
	char name[48] = "refused.";

	count_links(&sink, &links);
	for (int i = 0; i < PACKET_N_ERRORS; i++) {
		strncpy(name + 8, packet_error_name((enum packet_error)i), sizeof(name) - 9);
		count(&sink, name, s->refused[i]);
	}
	count(&sink, "refused.other-mac", s->other_mac);
	count(&sink, "refused.foreign-source", s->foreign_source);
	count(&sink, "refused.bad-destination", s->bad_destination);
	count(&sink, "refused.fragments", s->reassembly.dropped);
	count_segment(&sink, s->segment);
	count_guard(&sink, guests_guard(s->guests));
	count_dhcp(&sink, guests_dhcp_counters(s->guests));
	count_dhcp6(&sink, guests_dhcp6_counters(s->guests));
	count_tcp(&sink, s);
	count(&sink, "egress.unresolved", egress_counters(s->egress)->unresolved);
	count(&sink, "egress.blocked", egress_counters(s->egress)->blocked);
	count(&sink, "gateway.flows", slirp_gateway_counters(s->slirp)->flows);
	count(&sink, "gateway.refused", slirp_gateway_counters(s->slirp)->refused);
	count(&sink, "gateway.too-many", slirp_gateway_counters(s->slirp)->too_many);
	count(&sink, "dns.bad-queries", dns_relay_counters(s->dns)->bad_queries);
	count(&sink, "dns.no-resolver", dns_relay_counters(s->dns)->no_resolver);
	count(&sink, "dns.timed-out", dns_relay_counters(s->dns)->timed_out);
	count(&sink, "dns.tcp.bad-queries", dns_tcp_counters(s->dns_tcp)->bad_queries);
	count(&sink, "dns.tcp.no-resolver", dns_tcp_counters(s->dns_tcp)->no_resolver);
	count(&sink, "dns.tcp.timed-out", dns_tcp_counters(s->dns_tcp)->timed_out);
	count(&sink, "dns.tcp.evicted", dns_tcp_counters(s->dns_tcp)->evicted);
	count(&sink, "dns.evicted", dns_relay_counters(s->dns)->evicted);
}
