/* SPDX-License-Identifier: Apache-2.0 */
/* Packets on their way to guests, over a link in memory that checks checksums
 * and lengths of whatever it gets. */
#include "netstack/egress.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/loop.h"
#include "netstack/neighbor.h"
#include "netstack/reassembly.h"
#include "netstack/segment.h"
#include "tests/support/fake_link.h"
#include "tests/support/fake_loop.h"
#include "tests/support/wire.h"

#define MAX_V4 65507U
#define MAX_V6 65527U

struct fixture {
	struct loop *loop;
	struct segment *segment;
	struct egress *egress;
	struct fake_link link;
	struct reassembly reassembly;
	unsigned int n_resolved, n_unreachable;
	struct ipaddr last_unreachable;
};

static uint8_t data[MAX_V6 + 1];

static void ignore_frame(void *arg, struct frame *frame)
{
	(void)arg;
	(void)frame;
}

static void ignore(void *arg)
{
	(void)arg;
}

static const struct segment_host host = {
	.receive = ignore_frame,
	.batch_done = ignore,
	.writable = ignore,
};

static void on_resolved(void *arg)
{
	struct fixture *f = arg;

	f->n_resolved++;
}

static void on_unreachable(void *arg, const struct ipaddr *ip)
{
	struct fixture *f = arg;

	f->n_unreachable++;
	f->last_unreachable = *ip;
}

static const struct egress_owner owner = {
	.resolved = on_resolved,
	.unreachable = on_unreachable,
};

static int setup(void **state)
{
	static struct fixture f;
	struct egress_config config = {
		.gateway4 = wire_gateway4,
		.gateway6 = wire_gateway6,
		.owner = &owner,
		.arg = &f,
	};

	f = (struct fixture){ 0 };
	*state = &f;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 5 + i / 255);
	fake_link_init(&f.link, &fake_link_plain);
	if (loop_new(&f.loop) < 0 || segment_new(f.loop, &host, NULL, &f.segment) < 0 ||
	    segment_add(f.segment, &f.link.link, SEGMENT_GUEST) < 0)
		return -1;
	fake_link_set_up(&f.link, true);
	return egress_new(f.loop, f.segment, &config, &f.egress);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	reassembly_deinit(&f->reassembly);
	egress_free(f->egress);
	segment_free(f->segment);
	fake_link_deinit(&f->link);
	loop_free(f->loop);
	return 0;
}

static void learn_guest(struct fixture *f)
{
	egress_learn(f->egress, &wire_guest4, &wire_guest_mac);
	egress_learn(f->egress, &wire_guest6, &wire_guest_mac);
}

/* A small IP packet to a guest. */
static int send_ip(struct fixture *f, const struct ipaddr *to)
{
	struct wire w = wire_to(ipaddr_is_v4(to) ? &wire_gateway4 : &wire_gateway6, 1, 2);
	uint8_t bytes[100] = { 0 };
	struct frame frame;

	w = wire_back(&w);
	w.dst.addr = *to;
	frame_init(&frame);
	frame_add(&frame, bytes, wire_udp(bytes, &w, "x", 1));
	memset(bytes, 0, ETH_HEADER_SIZE); /* to be filled in */
	return egress_send(f->egress, to, &frame);
}

/* --- MAC addresses -------------------------------------------------------- */

static void an_unknown_guest_is_asked_for_by_arp(void **state)
{
	static const uint8_t request[] = {
		255,  255,  255, 255, 255, 255, 0x52, 0x55, 192, 168, 5,
		2,    8,    6,	 0,   1,   8,	0,    6,    4,	 0,   1, /* request */
		0x52, 0x55, 192, 168, 5,   2,	192,  168,  5,	 2,   0,
		0,    0,    0,	 0,   0,   192, 168,  5,    15,
	};
	struct fixture *f = *state;
	struct sent_frame *sent;

	assert_int_equal(send_ip(f, &wire_guest4), -EAGAIN);
	sent = fake_link_take(&f->link);
	assert_int_equal(sent->len, sizeof(request));
	assert_memory_equal(sent->bytes, request, sizeof(request));
	free(sent);
	assert_true(f->link.n_flushes > 0);

	egress_learn(f->egress, &wire_guest4, &wire_guest_mac);
	assert_int_equal(f->n_resolved, 1);
	assert_int_equal(send_ip(f, &wire_guest4), 0);
	sent = fake_link_take(&f->link);
	assert_true(mac_equal(&sent->packet.mac_dst, &wire_guest_mac));
	assert_true(mac_equal(&sent->packet.mac_src, &wire_gateway_mac));
	free(sent);
}

static void an_unknown_guest_is_asked_for_by_neighbour_discovery(void **state)
{
	static const uint8_t solicitation[] = {
		0x33, 0x33, 0xff, 0,	0,    0x15, 0x52, 0x56, 0,   0,	  0, 2,
		0x86, 0xdd, 0x60, 0,	0,    0,    0,	  32,	58,  255, /* hop limit */
		0xfd, 0,    0xc0, 0xa8, 0,    5,    0,	  0,	0,   0,	  0, 0,
		0,    0,    0,	  2,	0xff, 2,    0,	  0,	0,   0,	  0, 0,
		0,    0,    0,	  1,	0xff, 0,    0,	  0x15, 135, 0, /* checksum follows */
	};
	static const uint8_t target[] = { 0, 0, 0, 0, 0xfd, 0, 0xc0, 0xa8, 0,	 5, 0, 0, 0, 0, 0,
					  0, 0, 0, 0, 0x15, 1, 1,    0x52, 0x56, 0, 0, 0, 2 };
	struct fixture *f = *state;
	struct sent_frame *sent;

	assert_int_equal(send_ip(f, &wire_guest6), -EAGAIN);
	sent = fake_link_take(&f->link);
	assert_int_equal(sent->len, ETH_HEADER_SIZE + 40 + 32);
	assert_memory_equal(sent->bytes, solicitation, sizeof(solicitation));
	assert_memory_equal(sent->bytes + sizeof(solicitation) + 2, target, sizeof(target));
	free(sent);

	egress_learn(f->egress, &wire_guest6, &wire_guest_mac);
	assert_int_equal(f->n_resolved, 1);
	assert_int_equal(send_ip(f, &wire_guest6), 0);
	sent = fake_link_take(&f->link);
	assert_true(mac_equal(&sent->packet.mac_dst, &wire_guest_mac));
	assert_true(mac_equal(&sent->packet.mac_src, &wire_gateway6_mac));
	free(sent);
}

static void one_question_serves_many_packets(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 10; i++)
		assert_int_equal(send_ip(f, &wire_guest4), -EAGAIN);
	assert_int_equal(f->link.n_sent, 1);
	fake_loop_advance(f->loop, NEIGHBOR_ASK_MS - 1);
	assert_int_equal(f->link.n_sent, 1);
	fake_loop_advance(f->loop, 1);
	assert_int_equal(f->link.n_sent, 2);
}

static void who_never_answers_is_unreachable(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(send_ip(f, &wire_guest4), -EAGAIN);
	fake_loop_advance(f->loop, NEIGHBOR_ASK_MS * 2);
	assert_int_equal(send_ip(f, &wire_guest6), -EAGAIN);
	fake_loop_advance(f->loop, NEIGHBOR_ASK_MS * (NEIGHBOR_MAX_TRIES - 2));
	assert_int_equal(f->n_unreachable, 1);
	assert_true(ipaddr_equal(&f->last_unreachable, &wire_guest4));
	fake_loop_advance(f->loop, NEIGHBOR_ASK_MS * NEIGHBOR_MAX_TRIES);
	assert_int_equal(f->n_unreachable, 2);
	assert_true(ipaddr_equal(&f->last_unreachable, &wire_guest6));
	assert_int_equal(f->link.n_sent, 2 * NEIGHBOR_MAX_TRIES);
	assert_int_equal(f->n_resolved, 0);

	assert_int_equal(send_ip(f, &wire_guest4), -EAGAIN); /* a new beginning */
	assert_int_equal(f->link.n_sent, 2 * NEIGHBOR_MAX_TRIES + 1);
}

static void nobody_is_asked_while_the_guest_is_away(void **state)
{
	struct fixture *f = *state;

	fake_link_set_up(&f->link, false);
	assert_int_equal(send_ip(f, &wire_guest4), -EAGAIN);
	fake_loop_advance(f->loop, 60000);
	assert_int_equal(f->n_unreachable, 0);
	fake_link_set_up(&f->link, true);
	assert_int_equal(send_ip(f, &wire_guest4), -EAGAIN);
	assert_int_equal(f->link.n_sent, 1);
}

static void a_guest_may_change_its_mac(void **state)
{
	static const struct mac other = { { 0x52, 0x54, 0, 9, 9, 9 } };
	struct fixture *f = *state;
	struct sent_frame *sent;

	learn_guest(f);
	egress_learn(f->egress, &wire_guest4, &other);
	assert_int_equal(send_ip(f, &wire_guest4), 0);
	sent = fake_link_take(&f->link);
	assert_true(mac_equal(&sent->packet.mac_dst, &other));
	free(sent);
	egress_learn(f->egress, &wire_guest4, &wire_guest_mac); /* and back */
	assert_int_equal(send_ip(f, &wire_guest4), 0);
	sent = fake_link_take(&f->link);
	assert_true(mac_equal(&sent->packet.mac_dst, &wire_guest_mac));
	free(sent);
	assert_int_equal(f->n_resolved, 0); /* nobody waited */
}

/* --- datagrams ------------------------------------------------------------ */

/* The datagram that the guest has got, put together; its packet in *p. Frees
 * the frames. */
static const uint8_t *received(struct fixture *f, struct packet *p, size_t *len)
{
	static uint8_t bytes[FRAME_MAX_SIZE];
	struct sent_frame *sent;
	struct frame frame, whole;
	bool is_whole = false;

	while ((sent = fake_link_take(&f->link))) {
		assert_false(is_whole); /* nothing follows */
		frame_init(&frame);
		frame_add(&frame, sent->bytes, sent->len);
		if (sent->packet.kind == PACKET_FRAGMENT)
			is_whole = reassembly_add(&f->reassembly, &frame, &sent->packet, 0, &whole);
		else
			is_whole = true, whole = frame;
		if (is_whole)
			*len = frame_copy(&whole, 0, bytes, sizeof(bytes));
		free(sent);
	}
	assert_true(is_whole);
	frame_init(&frame);
	frame_add(&frame, bytes, *len);
	assert_int_equal(packet_parse(&frame, p), PACKET_OK);
	assert_int_equal(p->kind, PACKET_UDP);
	assert_true(wire_has_right_checksum(bytes, *len));
	*len -= (size_t)(p->l4 + 8 - bytes);
	return p->l4 + 8;
}

static void arrives_whole(struct fixture *f, const struct ipaddr *guest, size_t len)
{
	bool v4 = ipaddr_is_v4(guest);
	struct endpoint from = { v4 ? wire_gateway4 : wire_gateway6, 53 }, to = { *guest, 40000 };
	struct iovec iov[3] = { { data, len / 3 },
				{ data + len / 3, 0 },
				{ data + len / 3, len - len / 3 } };
	const uint8_t *got;
	size_t got_len;
	struct packet p;

	assert_int_equal(egress_send_udp(f->egress, &from, &to, iov, 3), 0);
	got = received(f, &p, &got_len);
	if (got_len != len || memcmp(got, data, len) != 0)
		fail_msg("%zu bytes to IPv%d", len, v4 ? 4 : 6);
	assert_true(endpoint_equal(&p.src, &from));
	assert_true(endpoint_equal(&p.dst, &to));
	assert_true(mac_equal(&p.mac_dst, &wire_guest_mac));
}

static void datagrams_of_every_size_arrive_whole(void **state)
{
	static const uint16_t mtus[] = { 576, 1280, 1500, 9000, 65520 };
	struct fixture *f = *state;

	learn_guest(f);
	for (size_t i = 0; i < sizeof(mtus) / sizeof(mtus[0]); i++) {
		f->link.link.caps.mtu = mtus[i];
		for (size_t len = 0; len < 20; len++) {
			size_t edge = mtus[i] - 28U + len - 10;

			arrives_whole(f, &wire_guest4, len);
			arrives_whole(f, &wire_guest6, len);
			arrives_whole(f, &wire_guest4, edge < MAX_V4 ? edge : MAX_V4);
			arrives_whole(f, &wire_guest6, edge - 20);
			arrives_whole(f, &wire_guest4, MAX_V4 - len);
			arrives_whole(f, &wire_guest6, MAX_V6 - len);
		}
		for (size_t len = 100; len < MAX_V4; len = len * 3 / 2) {
			arrives_whole(f, &wire_guest4, len);
			arrives_whole(f, &wire_guest6, len);
		}
	}
	assert_int_equal(egress_counters(f->egress)->blocked, 0);
}

static void only_whole_datagrams_leave_the_checksum_to_the_link(void **state)
{
	struct endpoint from = { wire_gateway4, 53 }, to = { wire_guest4, 40000 };
	struct iovec iov = { data, 100 };
	struct fixture *f = *state;
	struct sent_frame *sent;

	learn_guest(f);
	f->link.link.caps.csum = true;
	assert_int_equal(egress_send_udp(f->egress, &from, &to, &iov, 1), 0);
	sent = fake_link_take(&f->link);
	assert_true(sent->offload.csum_partial);
	free(sent);
	arrives_whole(f, &wire_guest4, 5000);
	arrives_whole(f, &wire_guest6, 5000);
}

/* Its sum is zero, which in the field means that there is none. */
static void a_checksum_of_zero_is_not_sent_as_none(void **state)
{
	struct endpoint from = { wire_gateway4, 1 }, to = { wire_guest4, 40000 };
	static uint8_t zero[4000];
	struct fixture *f = *state;

	learn_guest(f);
	for (size_t len = 2; len <= 4000; len += 3998) {
		struct iovec iov = { zero, len };
		bool met = false;

		for (uint32_t v = 0; v < 65536 && !met; v++) {
			struct sent_frame *sent;
			uint16_t field = 1;

			memcpy(zero, &v, 2);
			assert_int_equal(egress_send_udp(f->egress, &from, &to, &iov, 1), 0);
			sent = fake_link_take(&f->link);
			memcpy(&field, sent->bytes + ETH_HEADER_SIZE + 20 + 6, 2);
			assert_int_not_equal(field, 0);
			met = field == 0xffff;
			free(sent);
			fake_link_drop_sent(&f->link);
		}
		assert_true(met);
	}
}

static void more_than_a_datagram_holds_is_refused(void **state)
{
	struct endpoint from4 = { wire_gateway4, 1 }, to4 = { wire_guest4, 2 };
	struct endpoint from6 = { wire_gateway6, 1 }, to6 = { wire_guest6, 2 };
	struct iovec iov4 = { data, MAX_V4 + 1 }, iov6 = { data, MAX_V6 + 1 };
	struct fixture *f = *state;

	learn_guest(f);
	assert_int_equal(egress_send_udp(f->egress, &from4, &to4, &iov4, 1), -EMSGSIZE);
	assert_int_equal(egress_send_udp(f->egress, &from6, &to6, &iov6, 1), -EMSGSIZE);
	assert_int_equal(f->link.n_sent, 0);
}

static void what_cannot_go_is_counted(void **state)
{
	struct endpoint from = { wire_gateway4, 1 }, to = { wire_guest4, 2 };
	struct iovec iov = { data, 5000 };
	struct fixture *f = *state;

	assert_int_equal(egress_send_udp(f->egress, &from, &to, &iov, 1), -EAGAIN);
	assert_int_equal(egress_counters(f->egress)->unresolved, 1);
	learn_guest(f);
	f->link.is_full = true;
	assert_int_equal(egress_send_udp(f->egress, &from, &to, &iov, 1), -EAGAIN);
	assert_int_equal(egress_counters(f->egress)->blocked, 1);
	assert_int_equal(f->link.link.counters.tx_blocked, 1); /* no more of it was tried */
	fake_link_set_up(&f->link, false);
	assert_int_equal(egress_send_udp(f->egress, &from, &to, &iov, 1), -ENETDOWN);
	assert_int_equal(egress_counters(f->egress)->blocked, 2);
}

static void whole_frames_are_cut_to_the_mtu(void **state)
{
	struct fixture *f = *state;
	static uint8_t bytes[FRAME_MAX_SIZE];

	for (int v = 0; v < 2; v++) {
		struct wire w = wire_to(v ? &wire_gateway6 : &wire_gateway4, 40000, 9);

		w = wire_back(&w);
		for (size_t len = 1400; len <= 65400; len += 3200) {
			struct frame frame;
			struct packet p;
			const uint8_t *got;
			size_t got_len;

			frame_init(&frame);
			frame_add(&frame, bytes, wire_udp(bytes, &w, data, len));
			assert_int_equal(egress_send_whole(f->egress, &frame), 0);
			got = received(f, &p, &got_len);
			assert_int_equal(got_len, len);
			assert_memory_equal(got, data, len);
			assert_true(mac_equal(&p.mac_dst, &w.dst_mac));
			assert_true(endpoint_equal(&p.src, &w.src));
		}
	}
}

static void datagrams_have_ids_of_their_own(void **state)
{
	struct endpoint from = { wire_gateway4, 1 }, to = { wire_guest4, 2 };
	struct iovec iov = { data, 3000 };
	struct fixture *f = *state;
	struct sent_frame *a, *b;

	learn_guest(f);
	assert_int_equal(egress_send_udp(f->egress, &from, &to, &iov, 1), 0);
	a = fake_link_take(&f->link);
	fake_link_drop_sent(&f->link);
	assert_int_equal(egress_send_udp(f->egress, &from, &to, &iov, 1), 0);
	b = fake_link_take(&f->link);
	assert_memory_not_equal(a->packet.ip + 4, b->packet.ip + 4, 2);
	free(a);
	free(b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_unknown_guest_is_asked_for_by_arp),
		TEST(an_unknown_guest_is_asked_for_by_neighbour_discovery),
		TEST(one_question_serves_many_packets),
		TEST(who_never_answers_is_unreachable),
		TEST(nobody_is_asked_while_the_guest_is_away),
		TEST(a_guest_may_change_its_mac),
		TEST(datagrams_of_every_size_arrive_whole),
		TEST(only_whole_datagrams_leave_the_checksum_to_the_link),
		TEST(a_checksum_of_zero_is_not_sent_as_none),
		TEST(more_than_a_datagram_holds_is_refused),
		TEST(what_cannot_go_is_counted),
		TEST(whole_frames_are_cut_to_the_mtu),
		TEST(datagrams_have_ids_of_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
