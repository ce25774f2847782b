/* SPDX-License-Identifier: Apache-2.0 */
/* link_vhost_user.c and vhost_user/ with a front end and a driver in this
 * process. */
#include "netstack/link_vhost_user.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/fake_loop.h"
#include "tests/support/front_end.h"
#include "tests/support/link_probe.h"
#include "tests/support/unix_address.h"

#include "netstack/base/loop.h"

#define MTU 65520
#define TO_GUEST 0U
#define FROM_GUEST 1U

#define F_CSUM (1ULL << 0)
#define F_GUEST_CSUM (1ULL << 1)
#define F_GUEST_TSO (1ULL << 7 | 1ULL << 8)
#define F_HOST_TSO (1ULL << 11 | 1ULL << 12)
#define F_MRG_RXBUF (1ULL << 15)
#define F_INDIRECT (1ULL << 28)
#define F_PROTOCOL (1ULL << 30)
#define F_VERSION_1 (1ULL << 32)
#define PLAIN (F_VERSION_1 | F_PROTOCOL | F_INDIRECT | F_MRG_RXBUF)
#define OFFLOADS (PLAIN | F_CSUM | F_GUEST_CSUM | F_GUEST_TSO | F_HOST_TSO)

#define VNET 12U
#define BIG 40000U /* a frame that stays in the guest's memory */

struct fixture {
	struct loop *loop;
	struct link_probe probe;
	struct front_end fe;
	char dir[32], path[64];
	struct buffer *held; /* of the last frame, if `holds` */
	bool holds;
	uint8_t frame[FRAME_MAX_SIZE];
};

static const struct link_vhost_user_config config = { .mtu = MTU, .mac = { { 2, 3, 4, 5, 6, 7 } } };

static void settle(struct fixture *f)
{
	fake_loop_settle(f->loop);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct link *link;

	*state = f;
	memcpy(f->dir, "/tmp/netfwd-test-XXXXXX", 24);
	if (!mkdtemp(f->dir) || loop_new(&f->loop) < 0)
		return -1;
	(void)snprintf(f->path, sizeof(f->path), "%s/sock", f->dir);
	if (link_vhost_user_listen(f->loop, f->path, &config, &link) < 0)
		return -1;
	link_probe_attach(&f->probe, link);
	front_end_init(&f->fe, unix_connected(SOCK_STREAM, f->path), PLAIN);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	buffer_unref(f->held);
	link_free(f->probe.link);
	loop_free(f->loop);
	front_end_deinit(&f->fe);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static void start(struct fixture *f, uint64_t features)
{
	f->fe.features = features;
	front_end_start_like_qemu(&f->fe);
	settle(f);
	assert_true(f->probe.is_up);
}

static void on_frame(struct link_probe *probe, struct frame *frame)
{
	struct fixture *f = container_of(probe, struct fixture, probe);

	if (f->holds && !f->held)
		f->held = buffer_ref(frame->owner);
}

/* ---- the driver's side of a frame ---- */

static struct driver_desc desc(const struct fixture *f, size_t offset, size_t len, uint16_t flags)
{
	return (struct driver_desc){ RAM_GUEST_ADDR + f->fe.free_at + offset, (uint32_t)len, flags,
				     0 };
}

/* Offers n buffers of that size for frames to the guest. */
static void offer_buffers(struct fixture *f, unsigned int n, size_t size)
{
	struct driver_ring *ring = &f->fe.rings[TO_GUEST];

	for (unsigned int i = 0; i < n; i++) {
		uint16_t at = ring->next_avail & (FRONT_END_RING - 1);

		driver_ring_set(ring, at, desc(f, at * size, size, DESC_WRITE));
		driver_ring_offer(ring, at);
	}
}

/* Sends bytes of the guest's memory, behind a vnet header that is there. */
static void offer_frame(struct fixture *f, size_t offset, size_t len)
{
	struct driver_ring *ring = &f->fe.rings[FROM_GUEST];
	uint16_t at = ring->next_avail & (FRONT_END_RING - 1);

	driver_ring_set(ring, at, desc(f, offset, VNET + len, 0));
	driver_ring_offer(ring, at);
	front_end_kick(&f->fe, FROM_GUEST);
}

static uint8_t *guest_bytes(struct fixture *f, size_t offset)
{
	return f->fe.ram.bytes + f->fe.free_at + offset;
}

static void send_numbered(struct fixture *f, size_t len, unsigned int number)
{
	memset(guest_bytes(f, 0), 0, VNET);
	numbered_frame(guest_bytes(f, VNET), len, number);
	offer_frame(f, 0, len);
	settle(f);
}

static unsigned int given_back(struct fixture *f, unsigned int queue)
{
	unsigned int n = 0;
	uint32_t head, len;

	while (driver_ring_take(&f->fe.rings[queue], &head, &len))
		n++;
	return n;
}

/* Puts together what the buffers that came back hold; returns its length. */
static size_t collect(struct fixture *f, size_t buffer_size, unsigned int *n_buffers)
{
	size_t total = 0;
	uint32_t head, len;

	*n_buffers = 0;
	while (driver_ring_take(&f->fe.rings[TO_GUEST], &head, &len)) {
		const uint8_t *bytes = guest_bytes(f, head * buffer_size);
		size_t skip = *n_buffers == 0 ? VNET : 0;

		memcpy(f->frame + total, bytes + skip, len - skip);
		total += len - skip;
		if (*n_buffers == 0)
			assert_int_not_equal(bytes[10], 0);
		(*n_buffers)++;
	}
	return total;
}

/* ---- coming and going ---- */

static void a_guest_comes_up_in_qemus_order_and_in_umls(void **state)
{
	struct fixture *f = *state;

	settle(f);
	assert_false(f->probe.is_up);
	front_end_start_like_uml(&f->fe);
	settle(f);
	assert_true(f->probe.is_up);
	front_end_deinit(&f->fe);
	settle(f);
	assert_false(f->probe.is_up);

	front_end_init(&f->fe, unix_connected(SOCK_STREAM, f->path), PLAIN);
	start(f, PLAIN);
	assert_int_equal(f->probe.n_ups, 2);
}

static void a_second_front_end_is_disconnected(void **state)
{
	struct fixture *f = *state;
	int second;
	char byte;

	start(f, PLAIN);
	second = unix_connected(SOCK_STREAM, f->path);
	settle(f);
	assert_int_equal(recv(second, &byte, 1, MSG_DONTWAIT), 0);
	close(second);
	assert_true(f->probe.is_up);
}

static void a_queue_stopped_and_set_up_again_goes_on(void **state)
{
	struct fixture *f = *state;
	uint32_t base[2] = { FROM_GUEST, 0 };

	start(f, PLAIN);
	send_numbered(f, 100, 0);
	front_end_send(&f->fe, VHOST_GET_VRING_BASE, base, sizeof(base), -1);
	settle(f);
	assert_int_equal(front_end_receive(&f->fe, base, sizeof(base)), sizeof(base));
	assert_int_equal(base[1], 1);
	assert_false(f->probe.is_up);
	offer_frame(f, 0, 100); /* nobody looks */
	settle(f);
	assert_int_equal(f->probe.n_frames, 1);

	numbered_frame(guest_bytes(f, VNET), 100, 1);
	front_end_set_ring(&f->fe, FROM_GUEST);
	front_end_set_fds(&f->fe, FROM_GUEST);
	settle(f);
	assert_true(f->probe.is_up);
	assert_int_equal(f->probe.n_frames, 2);
	assert_int_equal(f->probe.n_bad, 0);
}

static void a_new_memory_table_under_running_queues(void **state)
{
	struct fixture *f = *state;

	start(f, PLAIN);
	send_numbered(f, BIG, 0);
	front_end_share_memory(&f->fe);
	settle(f);
	send_numbered(f, BIG, 1);
	assert_int_equal(f->probe.n_frames, 2);
	assert_int_equal(f->probe.n_bad, 0);
	assert_int_equal(f->probe.n_downs, 0);
}

/* ---- frames of the guest ---- */

static void frames_of_the_guest_arrive_and_their_buffers_come_back(void **state)
{
	static const size_t sizes[] = { 14, 60, 2048, 2049, BIG, 65549 };
	struct fixture *f = *state;

	start(f, PLAIN);
	for (unsigned int i = 0; i < 6; i++) {
		send_numbered(f, sizes[i], i);
		assert_int_equal(f->probe.last_len, sizes[i]);
		assert_int_equal(given_back(f, FROM_GUEST), 1);
		assert_true(front_end_was_called(&f->fe, FROM_GUEST));
	}
	assert_int_equal(f->probe.n_frames, 6);
	assert_int_equal(f->probe.n_bad, 0);
}

static void a_frame_in_many_pieces_arrives(void **state)
{
	struct fixture *f = *state;
	size_t piece, len, table = 1U << 20;

	/* more pieces than a frame has references, through an indirect table of the
	 * largest size, and so few that it has enough */
	start(f, PLAIN);
	for (unsigned int round = 0; round < 2; round++) {
		unsigned int n = round ? 40 : FRONT_END_RING;
		uint16_t at = (uint16_t)round;

		piece = 64000 / n;
		len = n * piece - VNET;
		memset(guest_bytes(f, 0), 0, VNET);
		numbered_frame(guest_bytes(f, VNET), len, round);
		for (unsigned int i = 0; i < n; i++) {
			struct driver_desc d = desc(f, i * piece, piece, i + 1 < n ? DESC_NEXT : 0);

			d.next = (uint16_t)(i + 1);
			driver_table_set(&f->fe.ram, f->fe.free_at + table, i, d);
		}
		driver_ring_set(&f->fe.rings[FROM_GUEST], at,
				desc(f, table, 16 * n, DESC_INDIRECT));
		driver_ring_offer(&f->fe.rings[FROM_GUEST], at);
		front_end_kick(&f->fe, FROM_GUEST);
		settle(f);
		assert_int_equal(f->probe.n_frames, round + 1);
		assert_int_equal(f->probe.last_len, len);
	}
	assert_int_equal(f->probe.n_bad, 0);
}

static void a_kept_frame_keeps_its_buffers(void **state)
{
	struct fixture *f = *state;

	start(f, PLAIN);
	f->probe.on_frame = on_frame;
	f->holds = true;
	send_numbered(f, BIG, 0);
	assert_int_equal(given_back(f, FROM_GUEST), 0);
	send_numbered(f, 100, 1);
	assert_int_equal(given_back(f, FROM_GUEST), 1);

	buffer_unref(f->held);
	f->held = NULL;
	f->holds = false;
	settle(f);
	assert_int_equal(given_back(f, FROM_GUEST), 1);
}

static void a_frame_kept_over_a_reset_is_no_buffer_of_the_new_driver(void **state)
{
	struct fixture *f = *state;

	start(f, PLAIN);
	f->probe.on_frame = on_frame;
	f->holds = true;
	send_numbered(f, BIG, 0);
	front_end_send(&f->fe, VHOST_RESET_DEVICE, NULL, 0, -1);
	settle(f);
	assert_false(f->probe.is_up);
	front_end_reset_rings(&f->fe);
	start(f, PLAIN);

	buffer_unref(f->held);
	f->held = NULL;
	settle(f);
	assert_int_equal(given_back(f, FROM_GUEST), 0);
}

static void frames_that_cannot_be_are_counted_and_come_back(void **state)
{
	struct fixture *f = *state;
	const struct link_counters *c = &f->probe.link->counters;

	start(f, PLAIN);
	memset(guest_bytes(f, 0), 0, VNET);
	offer_frame(f, 0, 13);
	offer_frame(f, 0, FRAME_MAX_SIZE + 1);
	settle(f);
	assert_int_equal(c->rx_runt, 1);
	assert_int_equal(c->rx_oversized, 1);

	guest_bytes(f, 0)[0] = 1; /* a checksum to be completed, which was not agreed */
	offer_frame(f, 0, 100);
	settle(f);
	assert_int_equal(c->rx_bad_vnet, 1);
	guest_bytes(f, 0)[0] = 0;
	guest_bytes(f, 0)[1] = 1; /* segments to be cut, likewise */
	guest_bytes(f, 0)[4] = 100;
	offer_frame(f, 0, 100);
	settle(f);
	assert_int_equal(c->rx_bad_vnet, 2);
	assert_int_equal(f->probe.n_frames, 0);
	assert_int_equal(given_back(f, FROM_GUEST), 4);
	assert_true(f->probe.is_up);
}

/* ---- frames to the guest ---- */

static void frames_to_the_guest_fill_as_many_buffers_as_they_need(void **state)
{
	static const size_t sizes[] = { 14, 60, 1500, 9000, 65549 };
	struct fixture *f = *state;
	unsigned int n = 0;

	start(f, PLAIN);
	for (unsigned int i = 0; i < 5; i++) {
		offer_buffers(f, FRONT_END_RING, 2000);
		numbered_frame(f->frame, sizes[i], i);
		assert_int_equal(link_probe_send(&f->probe, f->frame, sizes[i]), 0);
		link_flush(f->probe.link);
		assert_true(front_end_was_called(&f->fe, TO_GUEST));
		assert_int_equal(collect(f, 2000, &n), sizes[i]);
		assert_int_equal(n, (sizes[i] + VNET + 1999) / 2000);
		assert_true(is_numbered_frame(f->frame, sizes[i], i));
		/* as in the guest's header */
		front_end_reset_rings(&f->fe);
		front_end_send(&f->fe, VHOST_RESET_DEVICE, NULL, 0, -1);
		settle(f);
		start(f, PLAIN);
	}
}

static void a_guest_without_buffers_is_waited_for(void **state)
{
	struct fixture *f = *state;
	unsigned int n;

	start(f, PLAIN);
	numbered_frame(f->frame, 9000, 0);
	assert_int_equal(link_probe_send(&f->probe, f->frame, 9000), -EAGAIN);
	offer_buffers(f, 3, 2000); /* not enough */
	front_end_kick(&f->fe, TO_GUEST);
	settle(f);
	assert_int_equal(f->probe.n_writable, 1);
	assert_int_equal(link_probe_send(&f->probe, f->frame, 9000), -EAGAIN);
	offer_buffers(f, 2, 2000);
	front_end_kick(&f->fe, TO_GUEST);
	settle(f);
	assert_int_equal(f->probe.n_writable, 2);
	assert_int_equal(link_probe_send(&f->probe, f->frame, 9000), 0);
	link_flush(f->probe.link);
	assert_int_equal(collect(f, 2000, &n), 9000);
	assert_int_equal(n, 5);
}

static void a_frame_that_no_ring_can_hold_is_dropped(void **state)
{
	struct fixture *f = *state;

	start(f, PLAIN);
	offer_buffers(f, FRONT_END_RING, 100);
	numbered_frame(f->frame, 9000, 0);
	assert_int_equal(link_probe_send(&f->probe, f->frame, 9000), -EMSGSIZE);
	assert_int_equal(f->probe.link->counters.tx_dropped, 1);
	assert_int_equal(link_probe_send(&f->probe, f->frame, 60), 0);
}

static void without_mergeable_buffers_a_frame_has_one(void **state)
{
	struct fixture *f = *state;
	unsigned int n;

	start(f, PLAIN & ~F_MRG_RXBUF);
	offer_buffers(f, 4, 2000);
	numbered_frame(f->frame, 3000, 0);
	assert_int_equal(link_probe_send(&f->probe, f->frame, 3000), -EMSGSIZE);
	numbered_frame(f->frame, 1500, 0);
	assert_int_equal(link_probe_send(&f->probe, f->frame, 1500), 0);
	link_flush(f->probe.link);
	assert_int_equal(collect(f, 2000, &n), 1500);
	assert_int_equal(n, 1);
}

static void the_link_can_what_the_driver_has_agreed_to(void **state)
{
	struct fixture *f = *state;
	struct frame frame;
	uint32_t head, len;

	start(f, OFFLOADS);
	assert_true(f->probe.link->caps.csum && f->probe.link->caps.tso);
	offer_buffers(f, 1, 2000);
	memset(f->frame, 0, 100);
	frame_init(&frame);
	frame_add(&frame, f->frame, 100);
	frame.offload = (struct frame_offload){ FRAME_GSO_TCP6, 1440, 74, true, 54, 16 };
	assert_int_equal(link_send(f->probe.link, &frame), 0);
	link_flush(f->probe.link);
	assert_true(driver_ring_take(&f->fe.rings[TO_GUEST], &head, &len));
	assert_memory_equal(guest_bytes(f, head * 2000UL),
			    ((uint8_t[]){ 1, 4, 74, 0, 0xa0, 5, 54, 0, 16, 0, 1, 0 }), VNET);

	front_end_send(&f->fe, VHOST_RESET_DEVICE, NULL, 0, -1);
	front_end_reset_rings(&f->fe);
	settle(f);
	start(f, PLAIN);
	assert_false(f->probe.link->caps.csum || f->probe.link->caps.tso);
}

/* ---- drivers and front ends that break the rules ---- */

static void a_broken_queue_costs_the_device_until_it_is_set_up_again(void **state)
{
	struct fixture *f = *state;
	struct driver_ring *ring = &f->fe.rings[FROM_GUEST];

	start(f, PLAIN);
	driver_ring_set(ring, 0, (struct driver_desc){ 1, 100, 0, 0 });
	driver_ring_offer(ring, 0);
	front_end_kick(&f->fe, FROM_GUEST);
	settle(f);
	assert_false(f->probe.is_up);
	front_end_enable(&f->fe, FROM_GUEST, true); /* not enough */
	front_end_kick(&f->fe, FROM_GUEST);
	settle(f);
	assert_false(f->probe.is_up);

	front_end_reset_rings(&f->fe);
	start(f, PLAIN);
	send_numbered(f, 100, 0);
	assert_int_equal(f->probe.n_frames, 1);
}

static void a_buffer_that_is_broken_is_found_in_a_send(void **state)
{
	struct fixture *f = *state;
	struct driver_ring *ring = &f->fe.rings[TO_GUEST];

	start(f, PLAIN);
	driver_ring_set(ring, 0, desc(f, 0, 2000, 0)); /* to be read */
	driver_ring_offer(ring, 0);
	numbered_frame(f->frame, 100, 0);
	assert_int_equal(link_probe_send(&f->probe, f->frame, 100), -ENETDOWN);
	assert_true(f->probe.is_up); /* not in the middle of a send */
	settle(f);
	assert_false(f->probe.is_up);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_guest_comes_up_in_qemus_order_and_in_umls),
		TEST(a_second_front_end_is_disconnected),
		TEST(a_queue_stopped_and_set_up_again_goes_on),
		TEST(a_new_memory_table_under_running_queues),
		TEST(frames_of_the_guest_arrive_and_their_buffers_come_back),
		TEST(a_frame_in_many_pieces_arrives),
		TEST(a_kept_frame_keeps_its_buffers),
		TEST(a_frame_kept_over_a_reset_is_no_buffer_of_the_new_driver),
		TEST(frames_that_cannot_be_are_counted_and_come_back),
		TEST(frames_to_the_guest_fill_as_many_buffers_as_they_need),
		TEST(a_guest_without_buffers_is_waited_for),
		TEST(a_frame_that_no_ring_can_hold_is_dropped),
		TEST(without_mergeable_buffers_a_frame_has_one),
		TEST(the_link_can_what_the_driver_has_agreed_to),
		TEST(a_broken_queue_costs_the_device_until_it_is_set_up_again),
		TEST(a_buffer_that_is_broken_is_found_in_a_send),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
