/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/vsock_world.h"

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

#include "netstack/base/loop.h"
#include "tests/support/fake_loop.h"
#include "tests/support/unix_address.h"

#define FEATURES (1ULL << 32 | 1ULL << 30 | 1ULL << 28)

void world_settle(struct vsock_world *f)
{
	fake_loop_settle(f->loop);
}

int world_setup(void **state)
{
	struct vsock_world *f = calloc(1, sizeof(*f));

	*state = f;
	memcpy(f->dir, "/tmp/netfwd-test-XXXXXX", 24);
	if (!mkdtemp(f->dir) || loop_new(&f->loop) < 0)
		return -1;
	(void)snprintf(f->path, sizeof(f->path), "%s/sock", f->dir);
	if (vsock_device_listen(f->loop, f->path,
				&(struct vsock_device_config){ .guest_cid = VSOCK_GUEST_CID },
				&f->vsock) < 0)
		return -1;
	front_end_init(&f->fe, unix_connected(SOCK_STREAM, f->path), FEATURES);
	list_init(&f->listener.node);
	return 0;
}

int world_teardown(void **state)
{
	struct vsock_world *f = *state;

	relay_free(f->relay);
	if (f->stream)
		f->stream->ops->reset(f->stream);
	vsock_unlisten(f->vsock, &f->listener);
	vsock_free(f->vsock);
	loop_free(f->loop);
	front_end_deinit(&f->fe);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

void world_start(struct vsock_world *f)
{
	front_end_start_like_qemu(&f->fe);
	world_settle(f);
	assert_true(f->vsock->is_up);
}

void world_on_ready(void *arg)
{
	struct vsock_world *f = arg;

	f->n_ready++;
}

void world_take_op(struct vsock_world *f, enum vsock_op op)
{
	world_settle(f);
	assert_true(vsock_guest_take(&f->fe, &f->packet));
	assert_int_equal(f->packet.header.op, op);
	assert_int_equal(f->packet.header.src_cid, 2);
	assert_int_equal(f->packet.header.dst_cid, VSOCK_GUEST_CID);
	assert_int_equal(f->packet.header.type, VSOCK_TYPE_STREAM);
}

void world_assert_silent(struct vsock_world *f)
{
	world_settle(f);
	assert_false(vsock_guest_take(&f->fe, &f->packet));
}

void world_send_op(struct vsock_world *f, enum vsock_op op)
{
	struct vsock_header h = f->header;

	h.op = (uint16_t)op;
	vsock_guest_send(&f->fe, &h, NULL);
	world_settle(f);
}

void world_send_shutdown(struct vsock_world *f, uint32_t flags)
{
	f->header.flags = flags;
	world_send_op(f, VSOCK_OP_SHUTDOWN);
	f->header.flags = 0;
}

void world_send_bytes(struct vsock_world *f, const void *bytes, size_t len)
{
	struct vsock_header h = f->header;

	h.op = VSOCK_OP_RW;
	h.len = (uint32_t)len;
	vsock_guest_send(&f->fe, &h, bytes);
	world_settle(f);
}

/* Dials; the guest has 64 buffers, and the request. */
void world_dial(struct vsock_world *f)
{
	uint32_t host_port;

	world_start(f);
	vsock_guest_offer(&f->fe, FRONT_END_RING);
	assert_int_equal(vsock_dial(f->vsock, VSOCK_GUEST_PORT, &host_port, &f->stream), 0);
	f->n_ready = 0;
	stream_set_ready(f->stream, world_on_ready, f);
	assert_int_equal(f->stream->ops->write(f->stream, NULL, 0), -EAGAIN);
	world_take_op(f, VSOCK_OP_REQUEST);
	assert_int_equal(f->packet.header.dst_port, VSOCK_GUEST_PORT);
	assert_int_equal(f->packet.header.src_port, host_port);
	f->header = vsock_guest_header(VSOCK_OP_RW, host_port);
}

void world_open_stream(struct vsock_world *f)
{
	world_dial(f);
	world_send_op(f, VSOCK_OP_RESPONSE);
	assert_int_equal(f->n_ready, 1);
	assert_int_equal(f->stream->ops->write(f->stream, NULL, 0), 0);
	f->stream->ops->want(f->stream, STREAM_READ);
}

ssize_t world_read_some(struct vsock_world *f, void *bytes, size_t len)
{
	struct iovec iov = { bytes, len };

	return f->stream->ops->read(f->stream, &iov, 1);
}

ssize_t world_write_some(struct vsock_world *f, const void *bytes, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)bytes, len };

	return f->stream->ops->write(f->stream, &iov, 1);
}
