/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/segment_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/loop.h"
#include "tests/support/wire.h"

static void on_receive(void *arg, struct frame *frame)
{
	struct segment_fixture *f = arg;

	f->n_received++;
	memcpy(&f->last_source, (uint8_t *)frame->refs[0].iov_base + 6, 6);
}

static void on_batch_done(void *arg)
{
	struct segment_fixture *f = arg;

	f->n_batches++;
}

static void on_writable(void *arg)
{
	struct segment_fixture *f = arg;

	f->n_writable++;
}

static bool on_owns(void *arg, const struct mac *mac)
{
	(void)arg;
	return mac_equal(mac, &wire_gateway_mac);
}

static const struct segment_host host = {
	.receive = on_receive,
	.batch_done = on_batch_done,
	.writable = on_writable,
	.owns = on_owns,
};

static struct segment_fixture fixture;

int segment_fixture_setup(void **state)
{
	fixture = (struct segment_fixture){ 0 };
	*state = &fixture;
	if (loop_new(&fixture.loop) < 0)
		return -1;
	return segment_new(fixture.loop, &host, &fixture, &fixture.segment);
}

int segment_fixture_teardown(void **state)
{
	struct segment_fixture *f = *state;

	segment_free(f->segment);
	for (unsigned int i = 0; i < f->n_links; i++) {
		assert_true(f->links[i].is_freed);
		fake_link_deinit(&f->links[i]);
	}
	loop_free(f->loop);
	return 0;
}

struct fake_link *segment_fixture_add(struct segment_fixture *f, const struct link_caps *caps,
				      enum segment_role role)
{
	struct fake_link *l = &f->links[f->n_links++];

	fake_link_init(l, caps);
	assert_int_equal(segment_add(f->segment, &l->link, role), 0);
	assert_true(l->is_started);
	fake_link_set_up(l, true);
	return l;
}

struct fake_link *segment_fixture_add_guest(struct segment_fixture *f, const struct link_caps *caps)
{
	return segment_fixture_add(f, caps, SEGMENT_GUEST);
}

void segment_fixture_add_guests(struct segment_fixture *f, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		segment_fixture_add_guest(f, &fake_link_plain);
	f->n_writable = 0;
}

struct mac segment_station(unsigned int number)
{
	return (struct mac){ { 2, 0, 0, 0, 0, (uint8_t)number } };
}

size_t segment_frame(uint8_t *at, const struct mac *dst, const struct mac *src)
{
	struct wire w = wire_to(&wire_gateway4, 1, 2);

	w.dst_mac = *dst;
	w.src_mac = *src;
	return wire_udp(at, &w, "hello", 5);
}

/* From a link, by a station of that number. */
void segment_fixture_receive(struct segment_fixture *f, unsigned int link, unsigned int from,
			     const struct mac *dst)
{
	struct mac src = segment_station(from);
	uint8_t bytes[100];
	size_t len = segment_frame(bytes, dst, &src);

	fake_link_receive(&f->links[link], bytes, len);
}

/* From the host port. */
int segment_fixture_send(struct segment_fixture *f, const struct mac *dst)
{
	uint8_t bytes[100];
	struct frame frame;

	frame_init(&frame);
	frame_add(&frame, bytes, segment_frame(bytes, dst, &wire_gateway_mac));
	return segment_send(f->segment, &frame);
}

/* How many frames each link got since the last call. */
void segment_fixture_assert_sent(struct segment_fixture *f, unsigned int a, unsigned int b,
				 unsigned int c)
{
	unsigned int expected[SEGMENT_FIXTURE_LINKS] = { a, b, c };

	for (unsigned int i = 0; i < f->n_links; i++) {
		assert_int_equal(f->links[i].n_sent, expected[i]);
		f->links[i].n_sent = 0;
		fake_link_drop_sent(&f->links[i]);
	}
}
