/* SPDX-License-Identifier: Apache-2.0 */
/* The host port of the segment. A frame of a guest is checked (packet.c), its
 * sender's MAC is noted (egress.c), fragments are collected (reassembly.c), and
 * then it goes to whoever speaks its protocol:
 *
 *   TCP   a first SYN to outbound.c, which lets the host connect, or to our
 *         resolver (dns_tcp.c); the rest to lwIP (lwip/engine.c)
 *   UDP   to our resolver (dns_relay.c), to our DHCP servers (guests.c), to a flow
 *         of a forward (udp.c), or out into the world (slirp.c)
 *   ARP, neighbour discovery, ping: slirp.c */
#include "netstack/stack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/bytes.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/capture.h"
#include "netstack/dhcp6.h"
#include "netstack/dhcp_server.h"
#include "netstack/dns_relay.h"
#include "netstack/dns_tcp.h"
#include "netstack/egress.h"
#include "netstack/guard.h"
#include "netstack/guests.h"
#include "netstack/link.h"
#include "netstack/lwip/engine.h"
#include "netstack/outbound.h"
#include "netstack/packet.h"
#include "netstack/reassembly.h"
#include "netstack/segment.h"
#include "netstack/slirp.h"
#include "netstack/stack_parts.h"
#include "netstack/stream.h"
#include "netstack/udp.h"

#define DNS_PORT 53
#define DNS_MAX_QUERY 4096U
#define DHCP_MAX_MESSAGE 1472U /* of one packet at the usual MTU */
#define MIN_MTU 576U
#define MAX_MTU 65520U
#define LEASE_S 3600U

/* --- who may speak, and to whom ------------------------------------------ */

static bool is_gateway(const struct stack *s, const struct ipaddr *a)
{
	return ipaddr_equal(a, &s->config.gateway4) || ipaddr_equal(a, &s->config.gateway6);
}

static bool is_dns(const struct stack *s, const struct ipaddr *a)
{
	return ipaddr_equal(a, &s->config.dns4) || ipaddr_equal(a, &s->config.dns6);
}

static bool is_guest_address(const struct stack *s, const struct ipaddr *a)
{
	if (is_gateway(s, a) || is_dns(s, a))
		return false;
	if (ipaddr_is_v4(a))
		return ipaddr_in_prefix(a, &s->config.network4, 96 + s->config.prefix4_bits);
	return ipaddr_in_prefix(a, &s->config.prefix6, 64) || ipaddr_is_link_local(a);
}

static bool is_dhcp(const struct stack *s, const struct packet *p)
{
	static const struct ipaddr broadcast = IPADDR_V4(255, 255, 255, 255);

	return p->dst.port == DHCP_SERVER_PORT && (ipaddr_equal(&p->dst.addr, &broadcast) ||
						   ipaddr_equal(&p->dst.addr, &s->config.gateway4));
}

/* RFC 8415, section 7.1; a client that knows the server may ask it alone. */
static bool is_dhcp6(const struct stack *s, const struct packet *p)
{
	static const struct ipaddr servers = { { 0xff, 2, [13] = 1, 0, 2 } };

	return p->dst.port == DHCP6_SERVER_PORT &&
	       (ipaddr_equal(&p->dst.addr, &servers) ||
		ipaddr_equal(&p->dst.addr, &s->config.gateway6));
}

/* DHCP and duplicate address detection come from nobody yet. */
static bool may_be_anonymous(const struct packet *p)
{
	return ipaddr_is_any(&p->src.addr) && (p->kind == PACKET_ARP || p->kind == PACKET_ICMP ||
					       (p->kind == PACKET_UDP && p->dst.port == 67));
}

/* libslirp's scheme, and egress_mac()'s: 52:55 and an IPv4 address, 52:56 and
 * the end of an IPv6 address. */
static bool is_host_mac(void *arg, const struct mac *m)
{
	(void)arg;
	return m->b[0] == 0x52 && (m->b[1] == 0x55 || m->b[1] == 0x56);
}

/* Where the host connects when a guest connects to dst. */
static int translate(void *arg, const struct endpoint *dst, struct endpoint *host)
{
	static const struct ipaddr loopback4 = IPADDR_V4(127, 0, 0, 1);
	static const struct ipaddr loopback6 = { { [15] = 1 } };
	struct stack *s = arg;

	*host = *dst;
	if (is_gateway(s, &dst->addr)) {
		host->addr = ipaddr_is_v4(&dst->addr) ? loopback4 : loopback6;
		return s->config.host_loopback ? 0 : -EACCES;
	}
	if (is_dns(s, &dst->addr))
		return dst->port == DNS_PORT ? 1 : -EACCES; /* on_dns_connection() */
	if (is_guest_address(s, &dst->addr) || !ipaddr_is_dialable(&dst->addr))
		return -EACCES;
	return 0;
}

/* --- frames of guests ---------------------------------------------------- */

static void receive_tcp(struct stack *s, const struct frame *frame, const struct packet *p)
{
	bool is_first_syn =
		(p->tcp_flags & (TCP_FLAG_SYN | TCP_FLAG_ACK | TCP_FLAG_RST)) == TCP_FLAG_SYN;

	if (!ipaddr_is_dialable(&p->dst.addr)) { /* not even by a reset (RFC 1122, 3.2.1.3) */
		s->bad_destination++;
		return;
	}
	if (is_first_syn && !engine_knows(s->engine, p))
		outbound_syn(s->outbound, frame, p);
	else
		engine_input(s->engine, frame, p);
}

static void receive_query(struct stack *s, const struct frame *frame, const struct packet *p)
{
	uint8_t query[DNS_MAX_QUERY];
	size_t offset = (size_t)(p->l4 + 8 - (uint8_t *)frame->refs[0].iov_base);
	size_t len = get_be16(p->l4 + 4) - 8U;

	if (len <= sizeof(query)) {
		frame_copy(frame, offset, query, len);
		dns_relay_query(s->dns, &p->src, &p->dst, query, len);
	}
}

static void receive_dhcp(struct stack *s, const struct frame *frame, const struct packet *p)
{
	uint8_t message[DHCP_MAX_MESSAGE];
	size_t offset = (size_t)(p->l4 + 8 - (uint8_t *)frame->refs[0].iov_base);
	size_t len = get_be16(p->l4 + 4) - 8U;

	if (len <= sizeof(message)) {
		frame_copy(frame, offset, message, len);
		if (p->is_v4)
			guests_receive_dhcp(s->guests, &p->mac_src, message, len);
		else
			guests_receive_dhcp6(s->guests, &p->mac_src, &p->src.addr, message, len);
	}
}

static void receive_packet(struct stack *s, struct frame *frame, const struct packet *p)
{
	switch (p->kind) {
	case PACKET_TCP:
		receive_tcp(s, frame, p);
		return;
	case PACKET_UDP:
		if (is_dns(s, &p->dst.addr) && p->dst.port == DNS_PORT) {
			receive_query(s, frame, p);
			return;
		}
		if (is_dhcp(s, p) || is_dhcp6(s, p)) {
			receive_dhcp(s, frame, p);
			return;
		}
		if (is_gateway(s, &p->dst.addr) && udp_table_receive(s->udp, frame, p))
			return;
		break;
	case PACKET_ICMP:
		if (udp_table_error(s->udp, frame, p))
			return;
		break;
	case PACKET_ARP:
		guests_saw(s->guests, &p->src.addr, &p->mac_src);
		break;
	case PACKET_OTHER:    /* has not come so far */
	case PACKET_FRAGMENT: /* inside a reassembled packet */
		s->refused[PACKET_BAD_FRAGMENT]++;
		return;
	}
	slirp_gateway_input(s->slirp, frame, p);
}

static bool check(struct stack *s, struct frame *frame, struct packet *p)
{
	enum packet_error error = packet_parse(frame, p);

	if (error != PACKET_OK) {
		s->refused[error]++;
		log_limited(LOG_LEVEL_DEBUG, "a guest's frame was refused: %s",
			    packet_error_name(error));
		return false;
	}
	if (is_guest_address(s, &p->src.addr)) {
		egress_learn(s->egress, &p->src.addr, &p->mac_src);
		return true;
	}
	if (may_be_anonymous(p))
		return true;
	s->foreign_source++;
	return false;
}

static void on_receive(void *arg, struct frame *frame)
{
	struct stack *s = arg;
	struct frame whole;
	struct packet p;

	if (!mac_is_group(frame->refs[0].iov_base) && !is_host_mac(s, frame->refs[0].iov_base)) {
		s->other_mac++;
		return;
	}
	if (!check(s, frame, &p))
		return;
	if (p.kind == PACKET_FRAGMENT) {
		if (!reassembly_add(&s->reassembly, frame, &p, loop_now_ms(s->loop), &whole) ||
		    !check(s, &whole, &p))
			return;
		frame = &whole;
	}
	receive_packet(s, frame, &p);
}

static void on_batch_done(void *arg)
{
	struct stack *s = arg;

	engine_serve(s->engine);
}

static void on_writable(void *arg)
{
	struct stack *s = arg;

	engine_writable(s->engine);
}

static void on_round_end(void *arg)
{
	struct stack *s = arg;

	segment_flush(s->segment);
}

static const struct segment_host segment_host = {
	.receive = on_receive,
	.batch_done = on_batch_done,
	.writable = on_writable,
	.owns = is_host_mac,
};

/* --- packets for guests -------------------------------------------------- */

static int on_engine_output(void *arg, const struct ipaddr *dst, struct frame *frame)
{
	struct stack *s = arg;

	return egress_send(s->egress, dst, frame);
}

static bool on_can_segment(void *arg, const struct ipaddr *dst)
{
	struct stack *s = arg;

	return egress_caps(s->egress, dst).tso;
}

static void on_accepted(void *arg, const struct endpoint *guest, const struct endpoint *dst,
			struct stream *stream)
{
	struct stack *s = arg;

	outbound_accepted(s->outbound, guest, dst, stream);
}

static const struct engine_owner engine_owner = {
	.output = on_engine_output,
	.can_segment = on_can_segment,
	.accepted = on_accepted,
};

static void on_resolved(void *arg)
{
	struct stack *s = arg;

	engine_writable(s->engine);
}

static void on_unreachable(void *arg, const struct ipaddr *ip)
{
	struct stack *s = arg;

	engine_unreachable(s->engine, ip, -EHOSTUNREACH);
}

static const struct egress_owner egress_owner = {
	.resolved = on_resolved,
	.unreachable = on_unreachable,
};

static void on_slirp_output(void *arg, struct frame *frame)
{
	struct stack *s = arg;

	(void)egress_send_whole(s->egress, frame); /* counted there */
}

static const struct mac *on_slirp_resolve(void *arg, const struct ipaddr *ip)
{
	struct stack *s = arg;

	return egress_find(s->egress, ip);
}

static const struct slirp_owner slirp_owner = {
	.output = on_slirp_output,
	.resolve = on_slirp_resolve,
};

static bool on_dns_question(void *arg, const struct dns_question *q, struct dns_answer *answer)
{
	struct stack *s = arg;

	return guests_know(s->guests, q, answer);
}

static bool on_dns_resolver(void *arg, struct endpoint *out)
{
	struct stack *s = arg;

	return dns_relay_resolver(s->dns, out);
}

static void on_dns_connection(void *arg, const struct endpoint *dst, struct stream *guest)
{
	struct stack *s = arg;

	(void)dst; /* there is but one service */
	dns_tcp_serve(s->dns_tcp, guest);
}

static void on_dns_reply(void *arg, const struct endpoint *server, const struct endpoint *guest,
			 const void *message, size_t len)
{
	struct stack *s = arg;
	struct iovec iov = { (void *)(uintptr_t)message, len };

	(void)egress_send_udp(s->egress, server, guest, &iov, 1); /* counted there */
}

/* --- facade -------------------------------------------------------------- */

int stack_attach(struct stack *s, struct link *link)
{
	return segment_add(s->segment, link, SEGMENT_GUEST);
}

int stack_attach_host(struct stack *s, struct link *link)
{
	return segment_add(s->segment, link, SEGMENT_HOST);
}

int stack_attach_uplink(struct stack *s, struct link *link)
{
	return segment_add(s->segment, link, SEGMENT_UPLINK);
}

int stack_assign(struct stack *s, const struct mac *mac, const char *name, struct ipaddr *addr4,
		 struct ipaddr *addr6)
{
	int r = guests_assign(s->guests, mac, name, addr4);

	if (r < 0)
		return r;
	*addr6 = guests_address6(s->guests, addr4);
	return 0;
}

void stack_on_guests(struct stack *s, void (*changed)(void *arg), void *arg)
{
	guests_on_change(s->guests, changed, arg);
}

struct guest_visit {
	const struct stack *stack;
	stack_guest_fn *fn;
	void *arg;
};

static void visit_guest(void *arg, const struct guest_entry *entry)
{
	const struct guest_visit *visit = arg;

	visit->fn(visit->arg, entry, segment_find(visit->stack->segment, &entry->mac));
}

void stack_guests(const struct stack *s, stack_guest_fn *fn, void *arg)
{
	struct guest_visit visit = { s, fn, arg };

	guests_for_each(s->guests, visit_guest, &visit);
}

int stack_capture(struct stack *s, const char *path)
{
	struct capture *capture;
	int r = capture_new(path, &capture);

	if (r == 0)
		segment_set_capture(s->segment, capture);
	return r;
}

int stack_dial_tcp(struct stack *s, const struct endpoint *guest, struct stream **out)
{
	const struct ipaddr *gateway = egress_gateway(s->egress, ipaddr_is_v4(&guest->addr));

	if (!segment_is_up(s->segment) || ipaddr_is_any(&guest->addr))
		return -ENETDOWN;
	return engine_connect(s->engine, gateway, guest, out);
}

int stack_udp_open(struct stack *s, const struct endpoint *guest,
		   const struct udp_flow_owner *owner, void *arg, struct udp_flow **out)
{
	if (ipaddr_is_any(&guest->addr))
		return -ENETDOWN;
	return udp_table_open(s->udp, guest, owner, arg, out);
}

struct stack_traffic stack_traffic(const struct stack *s)
{
	const struct link_counters sum = segment_link_counters(s->segment);

	return (struct stack_traffic){
		.is_connected = segment_is_up(s->segment),
		.to_guest_bytes = sum.tx_bytes,
		.to_host_bytes = sum.rx_bytes,
	};
}

struct stack_config stack_config_default(void)
{
	return (struct stack_config){
		.network4 = IPADDR_V4(192, 168, 5, 0),
		.prefix4_bits = 24,
		.gateway4 = IPADDR_V4(192, 168, 5, 2),
		.dns4 = IPADDR_V4(192, 168, 5, 3),
		.guest4 = IPADDR_V4(192, 168, 5, 15),
		.prefix6 = { { 0xfd, 0, 0xc0, 0xa8, 0, 5 } },
		.gateway6 = { { 0xfd, 0, 0xc0, 0xa8, 0, 5, [15] = 2 } },
		.dns6 = { { 0xfd, 0, 0xc0, 0xa8, 0, 5, [15] = 3 } },
		.mtu = MAX_MTU,
		.lease_s = LEASE_S,
		.host_loopback = true,
		.resolv_conf = "/etc/resolv.conf",
	};
}

static bool is_consistent(const struct stack_config *c)
{
	const struct ipaddr *const inside4[] = { &c->gateway4, &c->dns4, &c->guest4 };
	const struct ipaddr *const inside6[] = { &c->gateway6, &c->dns6 };

	if (c->mtu < MIN_MTU || c->mtu > MAX_MTU || c->prefix4_bits < 8 || c->prefix4_bits > 29)
		return false;
	for (unsigned int i = 0; i < 3; i++) {
		if (!ipaddr_in_prefix(inside4[i], &c->network4, 96 + c->prefix4_bits))
			return false;
	}
	for (unsigned int i = 0; i < 2; i++) {
		if (!ipaddr_in_prefix(inside6[i], &c->prefix6, 64))
			return false;
	}
	return true;
}

static int build(struct stack *s)
{
	const struct egress_config egress = {
		.gateway4 = s->config.gateway4,
		.gateway6 = s->config.gateway6,
		.owner = &egress_owner,
		.arg = s,
	};
	const struct outbound_config outbound = { .translate = translate,
						  .serve = on_dns_connection,
						  .arg = s };
	const struct dns_tcp_config dns_tcp = { .know = on_dns_question,
						.resolver = on_dns_resolver,
						.arg = s };
	const struct dns_relay_config dns = {
		.resolv_conf = s->config.resolv_conf,
		.know = on_dns_question,
		.reply = on_dns_reply,
		.arg = s,
	};
	int r = segment_new(s->loop, &segment_host, s, &s->segment);

	if (r == 0)
		r = egress_new(s->loop, s->segment, &egress, &s->egress);
	if (r == 0)
		r = guests_new(s->loop, s->egress, &s->config, &s->guests);
	if (r == 0)
		segment_set_guard(s->segment, guests_guard(s->guests));
	if (r == 0 && s->config.is_shared && s->config.shared.isolate)
		segment_isolate(s->segment);
	if (r == 0)
		r = engine_new(s->loop, &engine_owner, s, &s->engine);
	if (r == 0)
		r = outbound_new(s->loop, s->engine, &outbound, &s->outbound);
	if (r == 0)
		r = udp_table_new(s->egress, &s->udp);
	if (r == 0)
		r = dns_relay_new(s->loop, &dns, &s->dns);
	if (r == 0)
		r = dns_tcp_new(s->loop, &dns_tcp, &s->dns_tcp);
	if (r == 0)
		r = slirp_gateway_new(s->loop, &s->config, &slirp_owner, s, &s->slirp);
	s->flush = (struct loop_hook){ .fn = on_round_end, .arg = s };
	list_init(&s->flush.node);
	if (r == 0)
		loop_add_hook(s->loop, &s->flush);
	return r;
}

int stack_new(struct loop *loop, const struct stack_config *config, struct stack **out)
{
	struct stack *s;
	int r;

	if (!is_consistent(config))
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->config = *config;
	r = build(s);
	if (r < 0) {
		stack_free(s);
		return r;
	}
	*out = s;
	return 0;
}

void stack_free(struct stack *s)
{
	if (!s)
		return;
	outbound_free(s->outbound);
	dns_tcp_free(s->dns_tcp);
	engine_free(s->engine); /* its resets still go out */
	if (s->segment)
		segment_flush(s->segment);
	loop_remove_hook(&s->flush);
	slirp_gateway_free(s->slirp);
	dns_relay_free(s->dns);
	udp_table_free(s->udp);
	segment_free(s->segment);
	guests_free(s->guests); /* the segment had its guard */
	egress_free(s->egress);
	reassembly_deinit(&s->reassembly);
	free(s);
}
