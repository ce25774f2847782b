/* SPDX-License-Identifier: Apache-2.0 */
/* A device that looks for more before it sleeps (busy_poll_us). The fake loop's exact
 * time goes on by one microsecond whenever it is asked for. */
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

#include "netstack/base/loop.h"
#include "netstack/link.h"
#include "netstack/link_vhost_user.h"
#include "tests/support/fake_loop.h"
#include "tests/support/front_end.h"
#include "tests/support/link_probe.h"
#include "tests/support/unix_address.h"

#define FROM_GUEST 1U
#define PLAIN (1ULL << 32 | 1ULL << 30)
#define FRAME_SIZE 100U
#define POLL_US 100

struct fixture {
	struct loop *loop;
	struct link_probe probe;
	struct front_end fe;
	char dir[32], path[64];
	struct loop_deferred later;
	int rounds; /* until a frame is offered without a kick */
};

static void offer(struct fixture *f)
{
	struct driver_ring *ring = &f->fe.rings[FROM_GUEST];
	uint16_t head = ring->next_avail % FRONT_END_RING;

	driver_ring_set(ring, head,
			(struct driver_desc){ RAM_GUEST_ADDR + f->fe.free_at, FRAME_SIZE, 0, 0 });
	driver_ring_offer(ring, head);
}

static void on_later(void *arg)
{
	struct fixture *f = arg;

	if (f->rounds-- > 0)
		loop_defer(f->loop, &f->later);
	else
		offer(f);
}

static int start(void **state, unsigned int busy_poll_us)
{
	const struct link_vhost_user_config config = { .mtu = 1500, .busy_poll_us = busy_poll_us };
	struct fixture *f = calloc(1, sizeof(*f));
	struct link *link;

	*state = f;
	memcpy(f->dir, "/tmp/netfwd-test-XXXXXX", 24);
	if (!mkdtemp(f->dir) || loop_new(&f->loop) < 0)
		return -1;
	(void)snprintf(f->path, sizeof(f->path), "%s/sock", f->dir);
	if (link_vhost_user_listen(f->loop, f->path, &config, &link) < 0)
		return -1;
	loop_deferred_init(&f->later, on_later, f);
	link_probe_attach(&f->probe, link);
	front_end_init(&f->fe, unix_connected(SOCK_STREAM, f->path), PLAIN);
	front_end_start_like_qemu(&f->fe);
	fake_loop_settle(f->loop);
	return 0;
}

static int start_polled(void **state)
{
	return start(state, POLL_US);
}

static int start_asleep(void **state)
{
	return start(state, 0);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_cancel_deferred(&f->later);
	link_free(f->probe.link);
	loop_free(f->loop);
	front_end_deinit(&f->fe);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

/* One frame with a kick, and one without, some rounds later. */
static unsigned int frames_of_two(struct fixture *f, int rounds)
{
	f->rounds = rounds;
	offer(f);
	front_end_kick(&f->fe, FROM_GUEST);
	loop_defer(f->loop, &f->later);
	fake_loop_settle(f->loop);
	return f->probe.n_frames;
}

static unsigned int used_flags(const struct fixture *f)
{
	return *driver_used_flags(&f->fe.rings[FROM_GUEST]);
}

static void what_comes_while_it_looks_needs_no_kick(void **state)
{
	assert_int_equal(frames_of_two(*state, POLL_US / 2), 2);
}

static void it_sleeps_in_the_end_and_asks_for_a_kick(void **state)
{
	struct fixture *f = *state;

	(void)frames_of_two(f, POLL_US / 2);
	assert_int_equal(used_flags(f), 0);
	offer(f);
	front_end_kick(&f->fe, FROM_GUEST);
	fake_loop_settle(f->loop);
	assert_int_equal(f->probe.n_frames, 3);
}

static void a_queue_that_is_stopped_is_not_looked_at(void **state)
{
	struct fixture *f = *state;
	const uint32_t vring[2] = { FROM_GUEST, 0 };

	f->rounds = POLL_US / 2;
	offer(f);
	front_end_kick(&f->fe, FROM_GUEST);
	front_end_send(&f->fe, VHOST_GET_VRING_BASE, vring, sizeof(vring), -1);
	loop_defer(f->loop, &f->later);
	fake_loop_settle(f->loop); /* and comes to rest */
	assert_in_range(f->probe.n_frames, 0, 1);
}

static void without_polling_there_is_a_kick_or_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(frames_of_two(f, POLL_US / 2), 1);
	front_end_kick(&f->fe, FROM_GUEST);
	fake_loop_settle(f->loop);
	assert_int_equal(f->probe.n_frames, 2);
}

#define POLLED(name) cmocka_unit_test_setup_teardown(name, start_polled, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		POLLED(what_comes_while_it_looks_needs_no_kick),
		POLLED(it_sleeps_in_the_end_and_asks_for_a_kick),
		POLLED(a_queue_that_is_stopped_is_not_looked_at),
		cmocka_unit_test_setup_teardown(without_polling_there_is_a_kick_or_nothing,
						start_asleep, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
