/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that sends whatever it likes on its vsock, while the host dials, reads,
 * writes and closes: streams keep to their contract, and end. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"
#include "netstack/vsock/device.h"
#include "tests/fuzz/cursor.h"
#include "tests/support/fake_loop.h"
#include "tests/support/vsock_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define N_STREAMS 4U
#define FEATURES (1ULL << 32 | 1ULL << 30 | 1ULL << 28)

struct world {
	struct loop *loop;
	struct vsock *vsock;
	struct front_end fe;
	struct stream *streams[N_STREAMS];
	uint32_t ports[N_STREAMS];
	bool reads_when_ready;
	struct vsock_listener listener;
};

static void read_some(struct stream *s)
{
	uint8_t bytes[5000];
	struct iovec iov = { bytes, sizeof(bytes) };
	ssize_t r = s->ops->read(s, &iov, 1);

	check(r >= -4096 && r <= (ssize_t)sizeof(bytes));
	check(!s->error || r == s->error);
}

static void write_some(struct stream *s, size_t len)
{
	static uint8_t bytes[65536];
	struct iovec iov = { bytes, len };
	ssize_t r = s->ops->write(s, &iov, 1);

	check(r != 0 && r <= (ssize_t)len);
}

static struct world *the_world;

static void on_ready(void *arg)
{
	if (the_world->reads_when_ready)
		read_some(arg);
}

static void adopt(struct world *w, unsigned int slot, struct stream *s, uint32_t port)
{
	if (w->streams[slot])
		w->streams[slot]->ops->reset(w->streams[slot]);
	w->streams[slot] = s;
	w->ports[slot] = port;
	stream_set_ready(s, on_ready, s);
	s->ops->want(s, STREAM_READ | STREAM_WRITE);
}

static int on_accept(void *arg, const struct vsock_call *call, struct stream *stream)
{
	if (call->host_port % 3 == 0)
		return -ECONNREFUSED;
	adopt(arg, call->host_port % N_STREAMS, stream, call->host_port);
	return 0;
}

static void dial(struct world *w, unsigned int slot)
{
	struct stream *s;
	uint32_t port;

	if (vsock_dial(w->vsock, VSOCK_GUEST_PORT, &port, &s) == 0)
		adopt(w, slot, s, port);
}

static void guest_sends(struct world *w, struct cursor *c)
{
	struct vsock_header h = vsock_guest_header((enum vsock_op)(take8(c) & 7U), 0);
	static uint8_t payload[65536];
	uint8_t what = take8(c);

	h.dst_port = what & 1 ? w->ports[what / 2 % N_STREAMS] : take16(c);
	h.flags = take8(c) & 3U;
	h.len = what & 2 ? take16(c) : 0;
	h.buf_alloc = take16(c);
	h.fwd_cnt = what & 4 ? take16(c) : 0;
	if (what & 8)
		h.src_cid = take8(c);
	vsock_guest_send(&w->fe, &h, payload);
}

static void use_stream(struct world *w, struct cursor *c)
{
	unsigned int slot = take8(c) % N_STREAMS;
	struct stream *s = w->streams[slot];
	uint8_t what = take8(c) % 6U;

	if (!s) {
		dial(w, slot);
	} else if (what == 0) {
		read_some(s);
	} else if (what == 1) {
		write_some(s, 1U + take16(c));
	} else if (what == 2) {
		(void)s->ops->shutdown(s);
	} else if (what == 3) {
		s->ops->want(s, take8(c) & 3U);
	} else {
		w->streams[slot] = NULL;
		if (what == 4)
			s->ops->close(s);
		else
			s->ops->reset(s);
	}
}

static void act(struct world *w, struct cursor *c)
{
	uint32_t head, len;

	switch (take8(c) % 8U) {
	case 0:
	case 1:
		guest_sends(w, c);
		break;
	case 2:
	case 3:
		use_stream(w, c);
		break;
	case 4:
		vsock_guest_offer(&w->fe, take8(c) & 31U);
		front_end_kick(&w->fe, 0);
		break;
	case 5:
		fake_loop_settle(w->loop);
		while (driver_ring_take(&w->fe.rings[0], &head, &len))
			;
		break;
	case 6:
		fake_loop_advance(w->loop, take8(c) * 100U);
		break;
	default:
		w->reads_when_ready = !w->reads_when_ready;
		if (take8(c) == 0) {
			front_end_reset_rings(&w->fe);
			front_end_start_like_uml(&w->fe);
			fake_loop_settle(w->loop);
		}
		break;
	}
}

static void connect_front_end(struct world *w, const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	check(fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0);
	front_end_init(&w->fe, fd, FEATURES);
	front_end_start_like_uml(&w->fe);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = { data, size };
	struct world w = { .loop = NULL };
	char path[64];

	the_world = &w;
	log_set_level(LOG_LEVEL_ERROR);
	(void)snprintf(path, sizeof(path), "/tmp/netfwd-fuzz-vsock.%d", (int)getpid());
	check(loop_new(&w.loop) == 0);
	check(vsock_device_listen(w.loop, path,
				  &(struct vsock_device_config){ .guest_cid = VSOCK_GUEST_CID },
				  &w.vsock) == 0);
	w.listener =
		(struct vsock_listener){ .port = VSOCK_PORT_ANY, .accept = on_accept, .arg = &w };
	check(vsock_listen(w.vsock, &w.listener) == 0);
	connect_front_end(&w, path);
	fake_loop_settle(w.loop);
	while (c.left)
		act(&w, &c);
	fake_loop_settle(w.loop);
	front_end_deinit(&w.fe);
	fake_loop_settle(w.loop);
	for (unsigned int i = 0; i < N_STREAMS; i++) {
		if (w.streams[i])
			w.streams[i]->ops->close(w.streams[i]);
	}
	check(vsock_device_counters(w.vsock)->connections == 0);
	vsock_unlisten(w.vsock, &w.listener);
	vsock_free(w.vsock);
	loop_free(w.loop);
	return 0;
}
