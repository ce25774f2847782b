/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/segment.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "netstack/capture.h"
#include "netstack/checksum.h"
#include "tests/support/segment_fixture.h"
#include "tests/support/wire.h"

static void one_link_is_a_wire(void **state)
{
	static const struct mac unknown = { { 2, 9, 9, 9, 9, 9 } };
	struct segment_fixture *f = *state;

	segment_fixture_add_guests(f, 1);
	segment_fixture_receive(f, 0, 1, &unknown); /* whatever the destination */
	segment_fixture_receive(f, 0, 1, &wire_broadcast_mac);
	assert_int_equal(f->n_received, 2);
	assert_int_equal(f->n_batches, 2);
	assert_int_equal(segment_fixture_send(f, &unknown), 0);
	segment_fixture_assert_sent(f, 1, 0, 0);
}

static void stations_are_learnt(void **state)
{
	struct segment_fixture *f = *state;
	struct mac one = segment_station(1), two = segment_station(2), three = segment_station(3);

	segment_fixture_add_guests(f, 3);
	segment_fixture_receive(f, 0, 1, &wire_gateway_mac);
	segment_fixture_receive(f, 1, 2, &wire_gateway_mac);
	assert_int_equal(f->n_received, 2);
	segment_fixture_assert_sent(f, 0, 0, 0);

	assert_int_equal(segment_fixture_send(f, &one), 0);
	segment_fixture_assert_sent(f, 1, 0, 0);
	segment_fixture_receive(f, 0, 1, &two); /* past the host */
	segment_fixture_assert_sent(f, 0, 1, 0);
	assert_int_equal(f->n_received, 2);

	assert_int_equal(segment_fixture_send(f, &three), 0); /* unknown: everywhere */
	segment_fixture_assert_sent(f, 1, 1, 1);
	segment_fixture_receive(f, 2, 1, &wire_gateway_mac); /* a station that has moved */
	assert_int_equal(segment_fixture_send(f, &one), 0);
	segment_fixture_assert_sent(f, 0, 0, 1);
}

static void a_frame_never_goes_back_where_it_came_from(void **state)
{
	struct segment_fixture *f = *state;
	struct mac one = segment_station(1);

	segment_fixture_add_guests(f, 2);
	segment_fixture_receive(f, 0, 1, &wire_gateway_mac);
	segment_fixture_receive(f, 0, 4, &one); /* both are behind this link */
	segment_fixture_assert_sent(f, 0, 0, 0);
	assert_int_equal(f->n_received, 1);
	segment_fixture_receive(f, 0, 4, &wire_broadcast_mac);
	segment_fixture_assert_sent(f, 0, 1, 0);
	assert_int_equal(f->n_received, 2);
}

static void what_is_for_all_reaches_all(void **state)
{
	static const struct mac multicast = { { 0x33, 0x33, 0, 0, 0, 1 } };
	struct segment_fixture *f = *state;

	segment_fixture_add_guests(f, 3);
	segment_fixture_receive(f, 1, 1, &wire_broadcast_mac);
	segment_fixture_assert_sent(f, 1, 0, 1);
	assert_int_equal(f->n_received, 1);
	segment_fixture_receive(f, 2, 2, &multicast);
	segment_fixture_assert_sent(f, 1, 1, 0);
	assert_int_equal(f->n_received, 2);
	assert_int_equal(segment_fixture_send(f, &wire_broadcast_mac), 0);
	segment_fixture_assert_sent(f, 1, 1, 1);
}

static void a_full_link_does_not_stop_the_others(void **state)
{
	struct segment_fixture *f = *state;
	struct mac one = segment_station(1), two = segment_station(2);

	segment_fixture_add_guests(f, 2);
	segment_fixture_receive(f, 0, 1, &wire_gateway_mac);
	segment_fixture_receive(f, 1, 2, &wire_gateway_mac);
	f->links[0].is_full = true;
	assert_int_equal(segment_fixture_send(f, &one), -EAGAIN);
	assert_int_equal(segment_fixture_send(f, &two), 0);
	assert_int_equal(segment_fixture_send(f, &wire_broadcast_mac), 0);
	segment_fixture_assert_sent(f, 0, 2, 0);

	assert_int_equal(f->n_writable, 0);
	fake_link_make_room(&f->links[0]);
	assert_int_equal(f->n_writable, 1);
	assert_int_equal(segment_fixture_send(f, &one), 0);
	segment_fixture_assert_sent(f, 1, 0, 0);
}

static void nobody_is_there(void **state)
{
	struct segment_fixture *f = *state;
	struct mac one = segment_station(1);

	assert_false(segment_is_up(f->segment));
	segment_fixture_add_guests(f, 1);
	assert_true(segment_is_up(f->segment));
	fake_link_set_up(&f->links[0], false);
	assert_false(segment_is_up(f->segment));
	assert_int_equal(segment_fixture_send(f, &one), -ENETDOWN);
	assert_int_equal(segment_counters(f->segment)->no_link, 1);
	f->links[0].n_flushes = 0;
	segment_flush(f->segment); /* asks nothing of a link that is down */
	assert_int_equal(f->links[0].n_flushes, 0);

	f->n_writable = 0;
	fake_link_set_up(&f->links[0], true); /* back: worth trying again */
	assert_int_equal(f->n_writable, 1);
	assert_int_equal(segment_fixture_send(f, &one), 0);
}

static void a_guest_that_has_gone_is_forgotten(void **state)
{
	struct segment_fixture *f = *state;
	struct mac one = segment_station(1);

	segment_fixture_add_guests(f, 3);
	segment_fixture_receive(f, 0, 1, &wire_gateway_mac);
	fake_link_set_up(&f->links[0], false);
	assert_int_equal(segment_fixture_send(f, &one), 0); /* may have come back elsewhere */
	segment_fixture_assert_sent(f, 0, 1, 1);
	fake_link_set_up(&f->links[0], true);
	assert_int_equal(segment_fixture_send(f, &one), 0);
	segment_fixture_assert_sent(f, 1, 1, 1);
}

static void sent_frames_are_flushed_at_the_end_of_a_batch(void **state)
{
	struct segment_fixture *f = *state;

	segment_fixture_add_guests(f, 2);
	f->links[0].n_flushes = f->links[1].n_flushes = 0;
	segment_fixture_receive(f, 0, 1, &wire_broadcast_mac);
	assert_int_equal(f->links[0].n_flushes, 0); /* nothing was sent to it */
	assert_int_equal(f->links[1].n_flushes, 1);
}

static void capabilities_are_those_of_the_way(void **state)
{
	struct segment_fixture *f = *state;
	struct mac one = segment_station(1), two = segment_station(2), unknown = segment_station(3);
	struct link_caps caps;

	caps = segment_caps(f->segment, NULL); /* no link at all */
	assert_int_equal(caps.mtu, 65520);
	segment_fixture_add_guest(f, &fake_link_offloads);
	caps = segment_caps(f->segment, &unknown);
	assert_int_equal(caps.mtu, 65520);
	assert_true(caps.tso && caps.csum);

	segment_fixture_add_guest(f, &fake_link_plain);
	segment_fixture_receive(f, 0, 1, &wire_gateway_mac);
	segment_fixture_receive(f, 1, 2, &wire_gateway_mac);
	caps = segment_caps(f->segment, &one);
	assert_int_equal(caps.mtu, 65520);
	assert_true(caps.tso && caps.csum && caps.lossless);
	caps = segment_caps(f->segment, &two);
	assert_int_equal(caps.mtu, 1500);
	assert_false(caps.tso || caps.csum);
	caps = segment_caps(f->segment, &unknown); /* may be behind either */
	assert_int_equal(caps.mtu, 1500);
	assert_false(caps.tso || caps.csum);
}

static size_t make_partial(struct frame *frame, uint8_t *bytes, size_t payload, size_t headers)
{
	static const uint8_t data[4000] = { 1, 2, 3 };
	struct wire w = wire_to(&wire_gateway4, 1, 2);
	struct mac src = segment_station(1), dst = segment_station(2);
	size_t len;

	w.src_mac = src;
	w.dst_mac = dst;
	len = wire_udp(bytes, &w, data, payload);
	memset(bytes + 40, 0, 2);
	uint64_t sum = checksum_pseudo(&w.src.addr, &w.dst.addr, IP_PROTO_UDP, 8 + payload);
	uint16_t field = checksum_fold(sum);

	memcpy(bytes + 40, &field, 2);
	frame_init(frame);
	frame_add(frame, bytes, headers);
	frame_add(frame, bytes + headers, len - headers);
	frame->offload =
		(struct frame_offload){ .csum_partial = true, .csum_start = 34, .csum_offset = 6 };
	return len;
}

/* fake_link checks the checksum of whatever it is given. */
static void a_checksum_is_finished_only_for_who_cannot(void **state)
{
	struct segment_fixture *f = *state;
	uint8_t bytes[2000];
	struct frame frame;
	struct sent_frame *sent;

	segment_fixture_add_guest(f, &fake_link_offloads);
	(void)make_partial(&frame, bytes, 1001, 42); /* an odd length in pieces */
	assert_int_equal(segment_send(f->segment, &frame), 0);
	sent = fake_link_take(&f->links[0]);
	assert_true(sent->offload.csum_partial);
	free(sent);

	f->links[0].link.caps.csum = false;
	(void)make_partial(&frame, bytes, 1001, 42);
	assert_int_equal(segment_send(f->segment, &frame), 0);
	sent = fake_link_take(&f->links[0]);
	assert_false(sent->offload.csum_partial);
	free(sent);
}

static void a_checksum_is_finished_between_guests(void **state)
{
	struct segment_fixture *f = *state;
	uint8_t bytes[2000];
	struct frame frame;
	size_t len;

	segment_fixture_add_guest(f, &fake_link_offloads);
	segment_fixture_add_guest(f, &fake_link_plain);
	segment_fixture_receive(f, 1, 2, &wire_gateway_mac);
	len = make_partial(&frame, bytes, 300, 42);
	fake_link_receive_one(&f->links[0], bytes, len, &frame.offload);
	segment_fixture_assert_sent(f, 0, 1, 0);
}

static void what_no_link_can_cut_is_refused(void **state)
{
	struct segment_fixture *f = *state;
	uint8_t bytes[4200];
	struct frame frame;

	segment_fixture_add_guest(f, &fake_link_plain);
	(void)make_partial(&frame, bytes, 1500 - 28, 42);
	assert_int_equal(segment_send(f->segment, &frame), 0);
	(void)make_partial(&frame, bytes, 1500 - 27, 42);
	assert_int_equal(segment_send(f->segment, &frame), -EMSGSIZE);
	(void)make_partial(&frame, bytes, 100, 42);
	frame.offload.gso = FRAME_GSO_TCP4;
	assert_int_equal(segment_send(f->segment, &frame), -EMSGSIZE);
	assert_int_equal(segment_counters(f->segment)->not_segmented, 2);
	segment_fixture_assert_sent(f, 1, 0, 0);
}

static void the_table_of_stations_is_bounded(void **state)
{
	struct segment_fixture *f = *state;
	uint8_t bytes[100];
	struct mac last = { { 0 } }, src = { { 2 } };

	segment_fixture_add_guests(f, 3);
	for (uint32_t i = 0; i < 50000; i++) {
		memcpy(src.b + 2, &i, 4);
		fake_link_receive(&f->links[i % 2], bytes,
				  segment_frame(bytes, &wire_gateway_mac, &src));
		last = src;
	}
	assert_int_equal(f->n_received, 50000);
	segment_fixture_assert_sent(f, 0, 0, 0);
	assert_int_equal(segment_fixture_send(f, &last), 0); /* the newest is known */
	segment_fixture_assert_sent(f, 0, 1, 0);
}

static void every_frame_is_captured(void **state)
{
	char path[] = "/tmp/netfwd-segment-XXXXXX";
	struct segment_fixture *f = *state;
	struct capture *capture;
	struct stat st;

	close(mkstemp(path));
	assert_int_equal(capture_new(path, &capture), 0);
	segment_set_capture(f->segment, capture);
	segment_fixture_add_guests(f, 2);
	segment_fixture_receive(f, 0, 1, &wire_gateway_mac);
	segment_fixture_receive(f, 0, 1, &wire_broadcast_mac);
	assert_int_equal(segment_fixture_send(f, &wire_broadcast_mac), 0);
	segment_flush(f->segment);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 24 + 3 * (16 + 14 + 28 + 5));
	segment_set_capture(f->segment, NULL);
	(void)unlink(path);
}

static void count_links(void *arg, const struct link *link)
{
	unsigned int *n = arg;

	assert_int_equal(link->counters.rx_frames, *n == 1);
	++*n;
}

static void links_are_visited_in_order(void **state)
{
	struct segment_fixture *f = *state;
	unsigned int n = 0;

	segment_fixture_add_guests(f, 3);
	segment_fixture_receive(f, 1, 1, &wire_gateway_mac);
	segment_for_each(f->segment, count_links, &n);
	assert_int_equal(n, 3);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, segment_fixture_setup, segment_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_link_is_a_wire),
		TEST(stations_are_learnt),
		TEST(a_frame_never_goes_back_where_it_came_from),
		TEST(what_is_for_all_reaches_all),
		TEST(a_full_link_does_not_stop_the_others),
		TEST(nobody_is_there),
		TEST(a_guest_that_has_gone_is_forgotten),
		TEST(sent_frames_are_flushed_at_the_end_of_a_batch),
		TEST(capabilities_are_those_of_the_way),
		TEST(a_checksum_is_finished_only_for_who_cannot),
		TEST(a_checksum_is_finished_between_guests),
		TEST(what_no_link_can_cut_is_refused),
		TEST(the_table_of_stations_is_bounded),
		TEST(every_frame_is_captured),
		TEST(links_are_visited_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
