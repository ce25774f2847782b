/* SPDX-License-Identifier: Apache-2.0 */
/* A front end and a driver that do what the input says: messages with and without
 * descriptors, rings with anything in them, kicks, frames in between. The link
 * must hold to its contract, and touch nothing that is not its own (sanitizers). */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/link.h"
#include "netstack/link_vhost_user.h"
#include "tests/fuzz/cursor.h"
#include "tests/support/fake_loop.h"
#include "tests/support/front_end.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FEATURES                                                                                \
	(1ULL << 0 | 1ULL << 1 | 1ULL << 7 | 1ULL << 8 | 1ULL << 11 | 1ULL << 12 | 1ULL << 15 | \
	 1ULL << 28 | 1ULL << 30 | 1ULL << 32)

struct world {
	struct loop *loop;
	struct link *link;
	struct front_end fe;
	bool is_up, is_in_send;
	struct buffer *held;
	unsigned int n_frames;
};

static void on_receive(void *arg, struct frame *frame)
{
	struct world *w = arg;
	uint8_t bytes[FRAME_MAX_HEADERS];
	size_t sum = 0;

	check(w->is_up && !w->is_in_send && frame->len >= ETH_HEADER_SIZE &&
	      frame->len <= FRAME_MAX_SIZE && frame->n_refs > 0);
	for (int i = 0; i < frame->n_refs; i++) {
		volatile const uint8_t *at = frame->refs[i].iov_base;

		sum += frame->refs[i].iov_len;
		(void)at[0];
		(void)at[frame->refs[i].iov_len - 1];
	}
	check(sum == frame->len);
	check(frame->refs[0].iov_len == frame->len || frame->refs[0].iov_len >= FRAME_MAX_HEADERS);
	(void)frame_copy(frame, 0, bytes, sizeof(bytes));
	if (w->n_frames++ % 3 == 0) {
		buffer_unref(w->held);
		w->held = buffer_ref(frame->owner);
	}
}

static void on_batch_done(void *arg)
{
	struct world *w = arg;

	check(!w->is_in_send);
}

static void on_state(void *arg, bool is_up)
{
	struct world *w = arg;

	check(!w->is_in_send && w->is_up != is_up);
	w->is_up = is_up;
}

static const struct link_owner owner = { on_receive, on_batch_done, on_batch_done, on_state };

static void send_frame(struct world *w, size_t len)
{
	static uint8_t bytes[FRAME_MAX_SIZE];
	struct frame frame;

	if (!w->is_up || len < ETH_HEADER_SIZE || len > FRAME_MAX_SIZE)
		return;
	frame_init(&frame);
	frame_add(&frame, bytes, len);
	w->is_in_send = true;
	(void)link_send(w->link, &frame);
	w->is_in_send = false;
	link_flush(w->link);
}

/* Offsets near the rings are the interesting ones. */
static void scribble(struct world *w, struct cursor *c)
{
	size_t at = take16(c), n;
	const uint8_t *bytes;

	n = take_bytes(c, take8(c) & 31U, &bytes);
	memcpy(w->fe.ram.bytes + at, bytes, n);
}

static void offer(struct world *w, struct cursor *c)
{
	struct driver_ring *ring = &w->fe.rings[take8(c) & 1U];
	unsigned int n = take8(c) & 7U, first = take8(c) % FRONT_END_RING;

	for (unsigned int i = 0; i < n; i++) {
		struct driver_desc d = {
			.addr = RAM_GUEST_ADDR + w->fe.free_at + take16(c),
			.len = take16(c),
			.flags = take8(c) & 7U,
			.next = (uint16_t)((first + i + 1) % FRONT_END_RING),
		};

		driver_ring_set(ring, (first + i) % FRONT_END_RING, d);
	}
	driver_ring_offer(ring, (uint16_t)first);
}

static void send_message(struct world *w, struct cursor *c)
{
	const int fds[] = { -1, w->fe.ram.fd, w->fe.kicks[0], w->fe.calls[1] };
	enum vhost_request request = (enum vhost_request)(take8(c) % 40U);
	int fd = fds[take8(c) & 3U];
	const uint8_t *payload;
	size_t n = take_bytes(c, take8(c), &payload);

	/* a file that is always readable: the real loop does not take it */
	if (request == VHOST_SET_VRING_KICK && fd == w->fe.ram.fd)
		return;
	if (n & 1)
		front_end_send_ack(&w->fe, request, payload, n, fd);
	else
		front_end_send(&w->fe, request, payload, n, fd);
}

static void restart(struct world *w, struct cursor *c)
{
	front_end_reset_rings(&w->fe);
	if (take8(c) & 1)
		front_end_start_like_uml(&w->fe);
	else
		front_end_start_like_qemu(&w->fe);
}

static void act(struct world *w, struct cursor *c)
{
	uint8_t answer[VHOST_MAX_PAYLOAD];

	switch (take8(c) % 8U) {
	case 0:
		scribble(w, c);
		break;
	case 1:
	case 2:
		offer(w, c);
		break;
	case 3:
		front_end_kick(&w->fe, take8(c) & 1U);
		break;
	case 4:
		send_frame(w, take16(c));
		break;
	case 5:
		send_message(w, c);
		break;
	case 6:
		restart(w, c);
		break;
	default:
		fake_loop_settle(w->loop);
		while (front_end_receive(&w->fe, answer, sizeof(answer)) > 0)
			;
		break;
	}
}

static int connect_to(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	check(fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct link_vhost_user_config config = { .mtu = 65520 };
	struct cursor c = { data, size };
	struct world w = { .loop = NULL };
	char path[64];

	log_set_level(LOG_LEVEL_ERROR);
	(void)snprintf(path, sizeof(path), "/tmp/netfwd-fuzz-vhost.%d", (int)getpid());
	check(loop_new(&w.loop) == 0);
	check(link_vhost_user_listen(w.loop, path, &config, &w.link) == 0);
	link_set_owner(w.link, &owner, &w);
	front_end_init(&w.fe, connect_to(path), FEATURES);
	restart(&w, &c);
	fake_loop_settle(w.loop);
	while (c.left)
		act(&w, &c);
	fake_loop_settle(w.loop);
	buffer_unref(w.held);
	front_end_deinit(&w.fe);
	fake_loop_settle(w.loop);
	check(!w.is_up);
	link_free(w.link);
	loop_free(w.loop);
	return 0;
}
