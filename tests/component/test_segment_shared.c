/* SPDX-License-Identifier: Apache-2.0 */
/* A segment of many links: who reaches whom. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/bytes.h"
#include "netstack/checksum.h"
#include "netstack/guard.h"
#include "tests/support/fake_loop.h"
#include "tests/support/segment_fixture.h"
#include "tests/support/wire.h"

static void who_is_not_known_is_looked_for_on_every_link(void **state)
{
	struct mac unknown = segment_station(9);
	struct segment_fixture *f = *state;

	segment_fixture_add_guests(f, 3);
	segment_fixture_receive(f, 0, 1, &unknown);
	segment_fixture_assert_sent(f, 0, 1, 1);
	assert_int_equal(f->n_received, 0); /* nobody of the host's */
	segment_fixture_receive(f, 1, 9, &wire_gateway_mac);
	segment_fixture_receive(f, 0, 1, &unknown);
	segment_fixture_assert_sent(f, 0, 1, 0);
}

static void the_hosts_macs_are_the_hosts(void **state)
{
	struct segment_fixture *f = *state;
	uint8_t bytes[100];

	segment_fixture_add_guests(f, 2);
	fake_link_receive(&f->links[0], bytes,
			  segment_frame(bytes, &wire_broadcast_mac, &wire_gateway_mac));
	segment_fixture_assert_sent(f, 0, 0, 0);
	assert_int_equal(f->n_received, 0);
	assert_int_equal(segment_counters(f->segment)->own_mac, 1);
	segment_fixture_receive(f, 1, 1, &wire_gateway_mac);
	assert_int_equal(f->n_received, 1);
}

static void a_neighbor_that_is_full_loses_what_others_send_it(void **state)
{
	struct segment_fixture *f = *state;
	struct mac one = segment_station(1), two = segment_station(2);

	segment_fixture_add_guests(f, 3);
	segment_fixture_receive(f, 0, 1, &wire_gateway_mac);
	segment_fixture_receive(f, 1, 2, &wire_gateway_mac);
	f->links[0].is_full = true;
	segment_fixture_receive(f, 2, 3, &one);
	segment_fixture_receive(f, 2, 3, &two);
	segment_fixture_receive(f, 2, 3, &wire_broadcast_mac);
	segment_fixture_assert_sent(f, 0, 2, 0);
	assert_int_equal(segment_counters(f->segment)->congested, 2);
}

static void what_goes_to_all_is_limited_for_each_link(void **state)
{
	struct mac two = segment_station(2);
	struct segment_fixture *f = *state;

	segment_fixture_add_guests(f, 3);
	segment_fixture_receive(f, 1, 2, &wire_gateway_mac);
	f->n_received = 0;
	for (unsigned int i = 0; i < SEGMENT_FLOOD_BURST + 100; i++)
		segment_fixture_receive(f, 0, 1, &wire_broadcast_mac);
	segment_fixture_assert_sent(f, 0, SEGMENT_FLOOD_BURST, SEGMENT_FLOOD_BURST);
	assert_int_equal(f->n_received, SEGMENT_FLOOD_BURST);
	assert_int_equal(segment_counters(f->segment)->flood_limited, 100);
	segment_fixture_receive(f, 0, 1, &two); /* what goes to one is not */
	segment_fixture_receive(f, 1, 2, &wire_broadcast_mac);
	segment_fixture_assert_sent(f, 1, 1, 1);
	fake_loop_advance(f->loop, 1000);
	for (unsigned int i = 0; i < SEGMENT_FLOOD_PER_S + 100; i++)
		segment_fixture_receive(f, 0, 1, &wire_broadcast_mac);
	segment_fixture_assert_sent(f, 0, SEGMENT_FLOOD_PER_S, SEGMENT_FLOOD_PER_S);
}

static void isolated_guests_reach_the_host_alone(void **state)
{
	struct mac two = segment_station(2), three = segment_station(3);
	struct segment_fixture *f = *state;

	segment_isolate(f->segment);
	segment_fixture_add_guests(f, 2);
	segment_fixture_add(f, &fake_link_plain, SEGMENT_HOST);
	segment_fixture_receive(f, 1, 2, &wire_gateway_mac);
	segment_fixture_receive(f, 2, 3, &wire_gateway_mac);
	f->n_received = 0;
	segment_fixture_receive(f, 0, 1, &two);
	assert_int_equal(segment_counters(f->segment)->isolated, 1);
	segment_fixture_receive(f, 0, 1, &wire_gateway_mac);
	assert_int_equal(f->n_received, 1);
	segment_fixture_assert_sent(f, 0, 0, 0);
	segment_fixture_receive(f, 0, 1, &three);
	segment_fixture_receive(f, 0, 1, &wire_broadcast_mac);
	segment_fixture_assert_sent(f, 0, 0, 2);
	segment_fixture_receive(f, 2, 3, &two); /* the host reaches all */
	segment_fixture_receive(f, 2, 3, &wire_broadcast_mac);
	segment_fixture_assert_sent(f, 1, 2, 0);
}

static void an_uplink_and_the_host_port_do_not_see_each_other(void **state)
{
	struct mac three = segment_station(3);
	struct segment_fixture *f = *state;

	segment_fixture_add_guests(f, 2);
	segment_fixture_add(f, &fake_link_plain, SEGMENT_UPLINK);
	segment_fixture_receive(f, 2, 3, &wire_broadcast_mac);
	segment_fixture_receive(f, 2, 3, &wire_gateway_mac);
	assert_int_equal(f->n_received, 0);
	segment_fixture_assert_sent(f, 1, 1, 0);
	assert_int_equal(segment_fixture_send(f, &wire_broadcast_mac), 0);
	segment_fixture_assert_sent(f, 1, 1, 0);
	segment_fixture_receive(f, 0, 1, &three);
	segment_fixture_assert_sent(f, 0, 0, 1);
}

static void the_hosts_kernel_hears_no_router(void **state)
{
	static const struct mac all_nodes = { { 0x33, 0x33, 0, 0, 0, 1 } };
	struct segment_fixture *f = *state;

	segment_fixture_add_guests(f, 2);
	segment_fixture_add(f, &fake_link_plain, SEGMENT_HOST);
	assert_int_equal(segment_fixture_send(f, &all_nodes), 0);
	segment_fixture_receive(f, 0, 1, &all_nodes);
	segment_fixture_assert_sent(f, 1, 2, 0);
}

/* A TCP segment of 3000 bytes of payload, to be cut at 1000. */
static size_t make_large(uint8_t *bytes, struct frame_offload *offload)
{
	static const uint8_t data[3000] = { 9, 8, 7 };
	struct wire w = wire_to(&wire_gateway4, 1, 2);
	const struct wire_tcp tcp = { .flags = 0x10, .data = data, .len = sizeof(data) };
	uint16_t sum;
	size_t len;

	w.src_mac = segment_station(1);
	w.dst_mac = segment_station(2);
	len = wire_tcp(bytes, &w, &tcp);
	sum = checksum_fold(checksum_pseudo(&w.src.addr, &w.dst.addr, IP_PROTO_TCP, len - 34));
	memcpy(bytes + 50, &sum, 2);
	*offload = (struct frame_offload){ .gso = FRAME_GSO_TCP4,
					   .gso_size = 1000,
					   .header_size = 54,
					   .csum_partial = true,
					   .csum_start = 34,
					   .csum_offset = 16 };
	return len;
}

static void a_large_segment_is_cut_only_for_who_cannot(void **state)
{
	struct frame_offload offload;
	struct segment_fixture *f = *state;
	uint8_t bytes[4000];
	struct sent_frame *sent;
	size_t len = make_large(bytes, &offload);

	segment_fixture_add_guest(f, &fake_link_offloads);
	segment_fixture_add_guest(f, &fake_link_offloads);
	segment_fixture_receive(f, 1, 2, &wire_gateway_mac);
	fake_link_receive_one(&f->links[0], bytes, len, &offload);
	sent = fake_link_take(&f->links[1]);
	assert_int_equal(sent->offload.gso, FRAME_GSO_TCP4);
	assert_int_equal(sent->len, len);
	free(sent);
	f->links[1].n_sent = 0;

	f->links[1].link.caps = fake_link_plain;
	fake_link_receive_one(&f->links[0], bytes, len, &offload);
	assert_int_equal(f->links[1].n_sent, 3);
	for (unsigned int i = 0; i < 3; i++) {
		sent = fake_link_take(&f->links[1]);
		assert_int_equal(sent->payload_len, 1000);
		free(sent);
	}
}

static void offloads_that_lie_are_not_bridged(void **state)
{
	struct frame_offload offload;
	struct segment_fixture *f = *state;
	uint8_t bytes[4000];
	size_t len = make_large(bytes, &offload);

	segment_fixture_add_guests(f, 2);
	segment_fixture_receive(f, 1, 2, &wire_gateway_mac);
	offload.csum_start = 60000;
	fake_link_receive_one(&f->links[0], bytes, len, &offload);
	offload.csum_start = 34;
	offload.gso = FRAME_GSO_TCP6;
	fake_link_receive_one(&f->links[0], bytes, len, &offload);
	offload.gso = FRAME_GSO_NONE;
	bytes[23] = 132; /* SCTP */
	fake_link_receive_one(&f->links[0], bytes, len, &offload);
	assert_int_equal(segment_counters(f->segment)->malformed, 3);
	segment_fixture_assert_sent(f, 0, 0, 0);
}

static const struct mac *nobody(void *arg, const struct ipaddr *addr)
{
	(void)arg;
	(void)addr;
	return NULL;
}

static void guests_pass_the_guard_and_the_host_does_not(void **state)
{
	const struct guard_config config = { .network4 = IPADDR_V4(192, 168, 5, 0),
					     .prefix4_bits = 24,
					     .leased_to = nobody };
	struct segment_fixture *f = *state;
	static struct guard guard; /* outlives the segment, which the fixture frees */
	uint8_t bytes[100];
	struct mac one = segment_station(1);
	struct wire w;

	guard_init(&guard, &config);
	segment_set_guard(f->segment, &guard);
	segment_fixture_add_guests(f, 1);
	segment_fixture_receive(f, 0, 1, &wire_gateway_mac); /* even alone */
	segment_fixture_receive(f, 0, 2, &wire_gateway_mac);
	assert_int_equal(f->n_received, 1);
	assert_int_equal(guard.refused[GUARD_SPOOFED_MAC], 1);
	segment_fixture_add(f, &fake_link_plain, SEGMENT_HOST);
	segment_fixture_receive(f, 1, 7, &one);
	segment_fixture_receive(f, 1, 8, &one);
	segment_fixture_assert_sent(f, 2, 0, 0);
	/* what cannot be read is not passed on, but for protocols above IP */
	w = wire_to(&wire_gateway4, 1, 2);
	w.src_mac = one;
	w.dst_mac = segment_station(8);
	(void)wire_ip(bytes, &w, 47, "tunnel", 6);
	fake_link_receive(&f->links[0], bytes, 60);
	segment_fixture_assert_sent(f, 0, 1, 0);
	put_be16(bytes + 12, 0x88cc);
	fake_link_receive(&f->links[0], bytes, 60);
	segment_fixture_assert_sent(f, 0, 0, 0);
	/* a guest that comes back is a new one */
	fake_link_set_up(&f->links[0], false);
	fake_link_set_up(&f->links[0], true);
	f->n_received = 0;
	segment_fixture_receive(f, 0, 2, &wire_gateway_mac);
	assert_int_equal(f->n_received, 1);
	fake_link_set_up(&f->links[0], false);
}

static void a_transient_link_goes_with_its_guest(void **state)
{
	struct segment_fixture *f = *state;
	struct mac one = segment_station(1);

	segment_fixture_add_guests(f, 2);
	f->links[0].link.is_transient = true;
	segment_fixture_receive(f, 0, 1, &wire_gateway_mac);
	f->links[0].is_lending = true; /* somebody has one of its frames yet */
	fake_link_set_up(&f->links[0], false);
	fake_loop_settle(f->loop);
	assert_false(f->links[0].is_freed);
	assert_null(segment_find(f->segment, &one));
	assert_int_equal(segment_fixture_send(f, &wire_broadcast_mac), 0);
	segment_fixture_assert_sent(f, 0, 1, 0);
	f->links[0].is_lending = false;
	fake_loop_advance(f->loop, 1000);
	assert_true(f->links[0].is_freed);
	assert_int_equal(segment_link_counters(f->segment).rx_frames, 1);
}

static void there_is_a_limit_to_links(void **state)
{
	static struct fake_link many[SEGMENT_MAX_PORTS + 1];
	struct segment_fixture *f = *state;

	for (unsigned int i = 0; i <= SEGMENT_MAX_PORTS; i++) {
		fake_link_init(&many[i], &fake_link_plain);
		assert_int_equal(segment_add(f->segment, &many[i].link, SEGMENT_GUEST),
				 i < SEGMENT_MAX_PORTS ? 0 : -ENOSPC);
		assert_int_equal(many[i].is_freed, i == SEGMENT_MAX_PORTS);
	}
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, segment_fixture_setup, segment_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_is_not_known_is_looked_for_on_every_link),
		TEST(the_hosts_macs_are_the_hosts),
		TEST(a_neighbor_that_is_full_loses_what_others_send_it),
		TEST(what_goes_to_all_is_limited_for_each_link),
		TEST(isolated_guests_reach_the_host_alone),
		TEST(an_uplink_and_the_host_port_do_not_see_each_other),
		TEST(the_hosts_kernel_hears_no_router),
		TEST(a_large_segment_is_cut_only_for_who_cannot),
		TEST(offloads_that_lie_are_not_bridged),
		TEST(guests_pass_the_guard_and_the_host_does_not),
		TEST(a_transient_link_goes_with_its_guest),
		TEST(there_is_a_limit_to_links),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
