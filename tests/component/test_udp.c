/* SPDX-License-Identifier: Apache-2.0 */
/* UDP flows to guests, with frames as they come from a link: headers in one
 * piece of memory, the rest in another. Every test runs for both families. */
#include "netstack/udp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/loop.h"
#include "netstack/egress.h"
#include "netstack/segment.h"
#include "tests/support/fake_link.h"
#include "tests/support/fake_loop.h"
#include "tests/support/wire.h"

struct fixture {
	struct loop *loop;
	struct segment *segment;
	struct egress *egress;
	struct udp_table *table;
	struct fake_link link;
	struct ipaddr gateway;
	struct endpoint guest;
	/* what a frame came to */
	bool was_taken;
	/* what the flow's owner was told last */
	void *told;
	unsigned int n_received, n_refused;
	uint8_t got[65536];
	size_t got_len;
};

static struct fixture fixture;
static char one[] = "one", two[] = "two"; /* owners */

static void on_frame(void *arg, struct frame *frame)
{
	struct fixture *f = arg;
	struct packet p;

	assert_int_equal(packet_parse(frame, &p), PACKET_OK);
	f->was_taken = p.kind == PACKET_UDP ? udp_table_receive(f->table, frame, &p) :
					      udp_table_error(f->table, frame, &p);
}

static void ignore(void *arg)
{
	(void)arg;
}

static void ignore_address(void *arg, const struct ipaddr *ip)
{
	(void)arg;
	(void)ip;
}

static const struct segment_host host = {
	.receive = on_frame,
	.batch_done = ignore,
	.writable = ignore,
};
static const struct egress_owner egress_owner = {
	.resolved = ignore,
	.unreachable = ignore_address,
};

static void on_receive(void *arg, const struct iovec *iov, int n)
{
	struct fixture *f = &fixture;

	f->told = arg;
	f->n_received++;
	f->got_len = 0;
	for (int i = 0; i < n; i++) {
		memcpy(f->got + f->got_len, iov[i].iov_base, iov[i].iov_len);
		f->got_len += iov[i].iov_len;
	}
}

static void on_refused(void *arg)
{
	fixture.told = arg;
	fixture.n_refused++;
}

static const struct udp_flow_owner owner = { .receive = on_receive, .refused = on_refused };

static int start(const struct ipaddr *gateway, const struct ipaddr *guest)
{
	struct fixture *f = &fixture;
	const struct egress_config config = {
		.gateway4 = wire_gateway4,
		.gateway6 = wire_gateway6,
		.owner = &egress_owner,
	};

	memset(f, 0, sizeof(*f));
	f->gateway = *gateway;
	f->guest = (struct endpoint){ *guest, 53 };
	fake_link_init(&f->link, &fake_link_plain);
	if (loop_new(&f->loop) < 0 || segment_new(f->loop, &host, f, &f->segment) < 0 ||
	    segment_add(f->segment, &f->link.link, SEGMENT_GUEST) < 0 ||
	    egress_new(f->loop, f->segment, &config, &f->egress) < 0 ||
	    udp_table_new(f->egress, &f->table) < 0)
		return -1;
	fake_link_set_up(&f->link, true);
	egress_learn(f->egress, guest, &wire_guest_mac);
	return 0;
}

static int setup_v4(void **state)
{
	*state = &fixture;
	return start(&wire_gateway4, &wire_guest4);
}

static int setup_v6(void **state)
{
	*state = &fixture;
	return start(&wire_gateway6, &wire_guest6);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	udp_table_free(f->table);
	egress_free(f->egress);
	segment_free(f->segment);
	fake_link_deinit(&f->link);
	loop_free(f->loop);
	return 0;
}

static struct udp_flow *open_flow(struct fixture *f, void *arg)
{
	struct udp_flow *flow;

	assert_int_equal(udp_table_open(f->table, &f->guest, &owner, arg, &flow), 0);
	return flow;
}

/* Sends one byte to learn which port the flow has. */
static struct wire way_of(struct fixture *f, struct udp_flow *flow)
{
	struct wire w;
	struct sent_frame *sent;

	assert_int_equal(udp_flow_send(flow, "?", 1), 0);
	sent = fake_link_take(&f->link);
	assert_non_null(sent);
	assert_true(endpoint_equal(&sent->packet.dst, &f->guest));
	assert_true(ipaddr_equal(&sent->packet.src.addr, &f->gateway));
	w = wire_to(&f->gateway, f->guest.port, sent->packet.src.port);
	free(sent);
	return w;
}

static bool receive(struct fixture *f, const struct wire *w, const void *data, size_t len)
{
	static uint8_t bytes[FRAME_MAX_SIZE];

	f->was_taken = false;
	fake_link_receive(&f->link, bytes, wire_udp(bytes, w, data, len));
	return f->was_taken;
}

static void a_flow_gets_what_is_for_it(void **state)
{
	struct fixture *f = *state;
	struct udp_flow *flow = open_flow(f, one), *other = open_flow(f, two);
	struct wire w = way_of(f, flow), to_other = way_of(f, other), w2;

	assert_true(receive(f, &w, "hello", 5));
	assert_ptr_equal(f->told, one);
	assert_int_equal(f->got_len, 5);
	assert_memory_equal(f->got, "hello", 5);
	assert_true(receive(f, &to_other, "x", 1));
	assert_ptr_equal(f->told, two);

	w2 = w;
	w2.src.port++; /* the guest answers from elsewhere */
	assert_false(receive(f, &w2, "hello", 5));
	w2 = w;
	w2.src.addr.b[15] ^= 4; /* another guest */
	assert_false(receive(f, &w2, "hello", 5));
	w2 = w;
	w2.dst.addr.b[15] ^= 4; /* another address of the host */
	assert_false(receive(f, &w2, "hello", 5));
	w2 = w;
	w2.dst.port = 9;
	assert_false(receive(f, &w2, "hello", 5));
	assert_int_equal(f->n_received, 2);

	udp_flow_free(flow);
	assert_false(receive(f, &w, "hello", 5));
	assert_true(receive(f, &to_other, "x", 1));
	udp_flow_free(other);
	udp_flow_free(NULL);
}

static void datagrams_of_any_size_come_whole(void **state)
{
	static const size_t sizes[] = { 0, 1, 213, 214, 215, 1472, 9000, 65507 };
	static uint8_t data[65507];
	struct fixture *f = *state;
	struct udp_flow *flow = open_flow(f, NULL);
	struct wire w = way_of(f, flow);

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 3 + i / 256);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_true(receive(f, &w, data, sizes[i]));
		assert_int_equal(f->got_len, sizes[i]);
		assert_memory_equal(f->got, data, sizes[i]);
	}
	udp_flow_free(flow);
}

/* The rest of the IP packet is nobody's. */
static void the_udp_length_counts(void **state)
{
	struct fixture *f = *state;
	struct udp_flow *flow = open_flow(f, NULL);
	struct wire w = way_of(f, flow);
	static uint8_t bytes[FRAME_MAX_SIZE], data[1000];
	size_t len = wire_udp(bytes, &w, data, sizeof(data));
	size_t udp = len - sizeof(data) - 8;

	for (size_t udp_len = 8; udp_len <= 8 + sizeof(data); udp_len += 31) {
		bytes[udp + 4] = (uint8_t)(udp_len >> 8);
		bytes[udp + 5] = (uint8_t)udp_len;
		fake_link_receive(&f->link, bytes, len);
		assert_true(f->was_taken);
		assert_int_equal(f->got_len, udp_len - 8);
	}
	udp_flow_free(flow);
}

static void every_flow_has_a_port_of_its_own(void **state)
{
	enum { N = 500 };
	static bool seen[65536];
	struct udp_flow *flows[N];
	struct fixture *f = *state;

	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < N; i++) {
		struct wire w;

		flows[i] = open_flow(f, NULL);
		w = way_of(f, flows[i]);
		assert_in_range(w.dst.port, 32768, 60999);
		assert_false(seen[w.dst.port]);
		seen[w.dst.port] = true;
	}
	for (int i = 0; i < N; i++)
		udp_flow_free(flows[i]);
}

/* --- refusals ------------------------------------------------------------- */

/* A port unreachable for the flow's datagram, quoting `quoted` bytes of it. */
static size_t make_error(uint8_t *message, const struct wire *w, size_t quoted)
{
	uint8_t bytes[200];
	struct wire sent = wire_back(w);
	bool v4 = ipaddr_is_v4(&w->src.addr);

	(void)wire_udp(bytes, &sent, "0123456789", 10);
	memset(message, 0, 8);
	message[0] = v4 ? 3 : 1;
	message[1] = v4 ? 3 : 4;
	memcpy(message + 8, bytes + ETH_HEADER_SIZE, quoted);
	return 8 + quoted;
}

static bool receive_error(struct fixture *f, const struct wire *w, const uint8_t *message,
			  size_t len)
{
	uint8_t bytes[400];

	f->was_taken = false;
	fake_link_receive(&f->link, bytes, wire_icmp(bytes, w, message, len));
	return f->was_taken;
}

static void a_refusal_reaches_its_flow(void **state)
{
	struct fixture *f = *state;
	struct udp_flow *flow = open_flow(f, one), *other = open_flow(f, two);
	struct wire w = way_of(f, flow);
	uint8_t message[200];
	size_t ip = ipaddr_is_v4(&f->gateway) ? 20 : 40, len;

	len = make_error(message, &w, ip + 8);
	assert_true(receive_error(f, &w, message, len));
	assert_int_equal(f->n_refused, 1);
	assert_ptr_equal(f->told, one);
	len = make_error(message, &w, ip + 18);
	assert_true(receive_error(f, &w, message, len));
	assert_int_equal(f->n_refused, 2);

	w.src.port++; /* a flow that is none */
	len = make_error(message, &w, ip + 8);
	assert_false(receive_error(f, &w, message, len));
	udp_flow_free(flow);
	udp_flow_free(other);
	assert_int_equal(f->n_refused, 2);
}

static void other_errors_are_not_refusals(void **state)
{
	struct fixture *f = *state;
	struct udp_flow *flow = open_flow(f, NULL);
	struct wire w = way_of(f, flow);
	size_t ip = ipaddr_is_v4(&f->gateway) ? 20 : 40;
	static const struct {
		size_t at; /* in the message */
		uint8_t flip;
	} lies[] = {
		{ 0, 1 },    /* another type */
		{ 1, 1 },    /* another code */
		{ 8, 0x20 }, /* another version */
	};
	uint8_t message[200];
	size_t len;

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		len = make_error(message, &w, ip + 18);
		message[lies[i].at] ^= lies[i].flip;
		assert_false(receive_error(f, &w, message, len));
	}
	len = make_error(message, &w, ip + 18);
	message[8 + (ip == 20 ? 9 : 6)] = IP_PROTO_TCP;
	assert_false(receive_error(f, &w, message, len));
	for (size_t quoted = 0; quoted < ip + 8; quoted++) { /* cut short */
		len = make_error(message, &w, quoted);
		assert_false(receive_error(f, &w, message, len));
	}
	assert_int_equal(f->n_refused, 0);
	udp_flow_free(flow);
}

/* IPv6 extension headers push what is quoted out of the first 256 bytes. */
static void a_refusal_behind_long_headers_is_read_to_its_end(void **state)
{
	struct fixture *f = *state;
	struct udp_flow *flow = open_flow(f, NULL);
	struct wire w = way_of(f, flow);
	uint8_t bytes[600], message[200];
	size_t len = make_error(message, &w, 48), at = ETH_HEADER_SIZE + 40;

	for (size_t extension = 8; extension <= 192; extension += 8) {
		struct wire far = w;
		size_t total = wire_icmp(bytes, &far, message, len);

		memmove(bytes + at + extension, bytes + at, total - at);
		memset(bytes + at, 0, extension);
		bytes[at] = IP_PROTO_ICMP6;
		bytes[at + 1] = (uint8_t)(extension / 8 - 1);
		bytes[at + 2] = 1; /* one option of padding */
		bytes[at + 3] = (uint8_t)(extension - 4);
		bytes[ETH_HEADER_SIZE + 6] = 60; /* destination options */
		bytes[ETH_HEADER_SIZE + 4] = (uint8_t)((total - at + extension) >> 8);
		bytes[ETH_HEADER_SIZE + 5] = (uint8_t)(total - at + extension);
		f->n_refused = 0;
		fake_link_receive(&f->link, bytes, total + extension);
		assert_int_equal(f->n_refused, 1);
	}
	udp_flow_free(flow);
}

#define BOTH(test)                                              \
	{ #test " (IPv4)", test, setup_v4, teardown, NULL },    \
	{                                                       \
#test " (IPv6)", test, setup_v6, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(a_flow_gets_what_is_for_it),
		BOTH(datagrams_of_any_size_come_whole),
		BOTH(the_udp_length_counts),
		BOTH(every_flow_has_a_port_of_its_own),
		BOTH(a_refusal_reaches_its_flow),
		BOTH(other_errors_are_not_refusals),
		cmocka_unit_test_setup_teardown(a_refusal_behind_long_headers_is_read_to_its_end,
						setup_v6, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
