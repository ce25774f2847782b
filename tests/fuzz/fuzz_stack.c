/* SPDX-License-Identifier: Apache-2.0 */
/* A whole stack with a guest that does whatever the input says: frames of any kind,
 * TCP with numbers near the right ones, time, a link that is full or away; and
 * with servers and dialling clients on the host that read, write and end.
 *
 * Nothing may crash, leak, spin, or break what tests/support/guest.c holds the
 * host to. Sockets are in a network namespace of the target's own. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netstack/base/log.h"
#include "tests/fuzz/cursor.h"
#include "tests/support/caller.h"
#include "tests/support/guest.h"
#include "tests/support/host_socket.h"
#include "tests/support/own_network.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define N_OUT 2 /* connections of the guest: by IPv4 and by IPv6 */
#define N_IN 2	/* connections of the host, the same */
#define N_PEERS (N_OUT + N_IN)
#define MAX_STEPS 300
#define MAX_TIME_MS 600000U

static int listeners[N_OUT];
static uint16_t ports[N_OUT];
static uint8_t pattern[65536];

struct world {
	struct guest guest;
	struct tcp_peer peers[N_PEERS];
	struct caller callers[N_IN]; /* of peers[N_OUT] and on */
	int servers[N_OUT];
	uint64_t time_ms;
	uint16_t next_port; /* of the guest */
};

static const struct udp_flow_owner *flow_owner(void);

/* --- the guest --------------------------------------------------------------- */

static void any_frame(struct world *w, struct cursor *c)
{
	static const struct mac *const macs[] = { &wire_gateway_mac, &wire_gateway6_mac,
						  &wire_broadcast_mac, &wire_guest_mac };
	uint8_t how = take8(c), frame[2048];
	const uint8_t *bytes;
	size_t len = take_bytes(c, take16(c) % (sizeof(frame) - 14), &bytes);

	memcpy(frame, macs[how & 3], 6);
	memcpy(frame + 6, wire_guest_mac.b, 6);
	frame[12] = how & 4 ? 0x86 : 0x08;
	frame[13] = how & 4 ? 0xdd : how & 8 ? 0x06 : 0x00;
	memcpy(frame + 14, bytes, len);
	guest_send(&w->guest, frame, 14 + len);
}

/* An IP packet with right headers around any message. */
static void any_packet(struct world *w, struct cursor *c)
{
	static const struct ipaddr *const hosts[] = { &wire_gateway4, &wire_dns4, &wire_gateway6,
						      &wire_dns6 };
	static const uint16_t services[] = { 53, 67, 547, 69, 9, 0 };
	uint8_t how = take8(c), bytes[2048];
	struct wire wire = wire_to(hosts[how & 3], 5000 + (how >> 6), services[take8(c) % 6]);
	const uint8_t *message;
	size_t len = take_bytes(c, take16(c) % 1400, &message);

	if (wire.dst.port == 0)
		wire.dst.port = ports[0];
	if (how & 4)
		len = wire_udp(bytes, &wire, message, len);
	else if (len >= 8)
		len = wire_icmp(bytes, &wire, message, len);
	else
		len = wire_ip(bytes, &wire, take8(c), message, len);
	guest_send(&w->guest, bytes, len);
}

static void any_fragment(struct world *w, struct cursor *c)
{
	static uint8_t bytes[FRAME_MAX_SIZE];
	uint8_t how = take8(c);
	struct wire wire = wire_to(how & 1 ? &wire_gateway6 : &wire_gateway4, 0, 0);
	struct wire_piece piece = {
		.id = how >> 5,
		.protocol = how & 2 ? IP_PROTO_UDP :
			    how & 1 ? IP_PROTO_ICMP6 :
				      IP_PROTO_ICMP,
		.offset = (take8(c) * 8U),
		.len = take8(c) * 8U,
		.has_more = how & 4,
	};

	guest_send(&w->guest, bytes, wire_fragment(bytes, &wire, &piece, pattern));
}

/* A small number, or sometimes a large one. */
static int32_t near(struct cursor *c)
{
	int8_t n = (int8_t)take8(c);

	return n > 100 || n < -100 ? n * 40000 : n * 16;
}

/* A segment with the right numbers, or with others. */
static void any_segment(struct world *w, struct cursor *c)
{
	uint8_t which = take8(c), flags = take8(c) & 0x3f;
	struct tcp_peer *p = &w->peers[which % N_PEERS];
	size_t len = (take8(c) * 254U) >> (which & 4 ? 0 : 6);

	if (p->wire.dst.port == 0)
		return; /* nobody has dialled it */
	if (which & 8) {
		tcp_peer_send(p, flags, pattern, len);
	} else {
		int32_t seq = near(c), ack = near(c);

		tcp_peer_send_at(p, flags, seq, ack, pattern, len);
	}
}

static void change_peer(struct world *w, struct cursor *c)
{
	struct tcp_peer *p = &w->peers[take8(c) % N_PEERS];
	uint8_t how = take8(c);

	p->does_not_ack = how & 1;
	p->window = take8(c) * 4096U;
	p->mss = take16(c);
	if (how & 2)
		p->seq = p->acked;
	if (how & 4 && p->has_syn)
		tcp_peer_ack(p);
}

/* A new connection's end takes the place of an old one, whose connection is left to
 * itself. */
static struct tcp_peer *new_peer(struct world *w, int i)
{
	static const struct ipaddr *const gateways[] = { &wire_gateway4, &wire_gateway6 };
	struct tcp_peer *p = &w->peers[i];

	if (p->guest)
		tcp_peer_deinit(p);
	if (i < N_OUT)
		tcp_peer_init(p, &w->guest, gateways[i], w->next_port++, ports[i]);
	else
		tcp_peer_init(p, &w->guest, gateways[i - N_OUT], 80, 0);
	p->is_erratic = true;
	return p;
}

static void connect_out(struct world *w, struct cursor *c)
{
	tcp_peer_syn(new_peer(w, take8(c) % N_OUT));
}

static void change_link(struct world *w, struct cursor *c)
{
	uint8_t how = take8(c);

	w->guest.link.lends = how & 1;
	w->guest.is_silent = how & 2;
	if (how & 4)
		w->guest.link.is_full = true;
	else
		fake_link_make_room(&w->guest.link);
	if (how & 8) {
		fake_link_set_up(&w->guest.link, false);
		fake_link_set_up(&w->guest.link, true);
	}
}

/* --- the host ---------------------------------------------------------------- */

static void dial(struct world *w, struct cursor *c)
{
	int i = take8(c) % N_IN;
	struct endpoint to = w->peers[N_OUT + i].wire.src;
	struct stream *stream;

	if (w->callers[i].stream || stack_dial_tcp(w->guest.stack, &to, &stream) < 0)
		return;
	caller_deinit(&w->callers[i]);
	caller_init(&w->callers[i], stream);
	(void)new_peer(w, N_OUT + i);
}

static void use_caller(struct world *w, struct cursor *c)
{
	struct caller *caller = &w->callers[take8(c) % N_IN];
	uint8_t how = take8(c);

	if (!caller->stream)
		return;
	caller->data = pattern;
	caller->does_not_read = how & 1;
	if (how & 2 && caller->written == caller->to_write) {
		caller->written = 0;
		caller->to_write = take16(c);
	}
	if (how & 4) { /* no write after it */
		caller->to_write = caller->written = 0;
		(void)caller->stream->ops->shutdown(caller->stream);
		caller_close(caller);
	} else if (how & 8) {
		caller_reset(caller);
	} else {
		caller_go_on(caller);
	}
}

static void close_server(struct world *w, int i)
{
	struct linger now = { .l_onoff = 1 };

	if (w->servers[i] < 0)
		return;
	(void)setsockopt(w->servers[i], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(w->servers[i]);
	w->servers[i] = -1;
}

static void use_server(struct world *w, struct cursor *c)
{
	static uint8_t bytes[65536];
	int i = take8(c) % N_OUT;
	uint8_t how = take8(c);

	if (w->servers[i] < 0)
		w->servers[i] = host_accept(listeners[i]);
	if (w->servers[i] < 0)
		return;
	if (how & 1)
		(void)!read(w->servers[i], bytes, sizeof(bytes));
	if (how & 2)
		(void)send(w->servers[i], pattern, take16(c), MSG_NOSIGNAL);
	if (how & 4)
		(void)shutdown(w->servers[i], SHUT_WR);
	if (how & 8)
		close_server(w, i);
}

static void ignore_datagram(void *arg, const struct iovec *iov, int n)
{
	(void)arg;
	(void)iov;
	(void)n;
}

static void ignore_refusal(void *arg)
{
	(void)arg;
}

static const struct udp_flow_owner *flow_owner(void)
{
	static const struct udp_flow_owner owner = { ignore_datagram, ignore_refusal, NULL };

	return &owner;
}

static void send_datagram(struct world *w, struct cursor *c)
{
	struct endpoint to = { take8(c) & 1 ? wire_guest6 : wire_guest4, 5000 };
	struct udp_flow *flow;

	if (stack_udp_open(w->guest.stack, &to, flow_owner(), NULL, &flow) < 0)
		return;
	(void)udp_flow_send(flow, pattern, take16(c));
	udp_flow_free(flow);
}

/* --- one life ---------------------------------------------------------------- */

static void pass_time(struct world *w, struct cursor *c)
{
	uint64_t ms = take8(c) * (uint64_t)50;

	if (w->time_ms + ms > MAX_TIME_MS)
		return;
	w->time_ms += ms;
	guest_advance(&w->guest, ms);
}

static void drop_other(struct guest *g)
{
	for (int kind = PACKET_ARP; kind <= PACKET_FRAGMENT; kind++) {
		struct sent_frame *s;

		while ((s = guest_take(g, (enum packet_kind)kind)))
			free(s);
	}
}

static void step(struct world *w, struct cursor *c)
{
	static void (*const steps[])(struct world *, struct cursor *) = {
		any_frame,     any_packet,  any_fragment, any_segment, any_segment,
		change_peer,   connect_out, change_link,  dial,	       use_caller,
		send_datagram, use_server,  pass_time,
	};

	steps[take8(c) % (sizeof(steps) / sizeof(steps[0]))](w, c);
	guest_run(&w->guest);
	drop_other(&w->guest);
}

static void start(struct world *w, struct cursor *c)
{
	memset(w, 0, sizeof(*w));
	w->next_port = 40000;
	check(guest_start(&w->guest, take8(c) & 1 ? &fake_link_offloads : &fake_link_plain, NULL) ==
	      0);
	for (int i = 0; i < N_PEERS; i++)
		(void)new_peer(w, i);
	for (int i = 0; i < N_OUT; i++)
		w->servers[i] = -1;
}

static void stop(struct world *w)
{
	for (int i = 0; i < N_IN; i++)
		caller_deinit(&w->callers[i]);
	guest_stop(&w->guest);
	for (int i = 0; i < N_PEERS; i++)
		tcp_peer_deinit(&w->peers[i]);
	for (int i = 0; i < N_OUT; i++) {
		do
			close_server(w, i);
		while ((w->servers[i] = host_accept(listeners[i])) >= 0);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	own_network_enter();
	log_set_level(LOG_LEVEL_ERROR);
	listeners[0] = host_listen("127.0.0.1", &ports[0]);
	listeners[1] = host_listen("::1", &ports[1]);
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 7 + i / 256);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	struct cursor c = { data, size };

	start(&w, &c);
	w.guest.link.borrows = size & 1;
	for (int i = 0; i < MAX_STEPS && c.left; i++)
		step(&w, &c);
	stop(&w);
	return 0;
}
