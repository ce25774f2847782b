/* SPDX-License-Identifier: Apache-2.0 */
/* A raw flow's header, answer and datagrams (forwarder/raw_header.h), as a hostile peer
 * sends them. A header that is taken says the same when it is written again; datagrams
 * arrive as they were framed, however the bytes are cut. */
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "forwarder/raw_datagrams.h"
#include "forwarder/raw_header.h"
#include "netstack/base/loop.h"
#include "netstack/stream_fd.h"
#include "tests/fuzz/cursor.h"
#include "tests/support/fake_loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void header(const uint8_t *data, size_t size)
{
	uint8_t again[RAW_HEADER_MAX];
	struct rpc_open open, back;
	int len;

	if (size < RAW_HEAD_SIZE)
		return;
	len = raw_header_size(data);
	if (len < 0 || (size_t)len > size)
		return;
	check((size_t)len <= RAW_HEADER_MAX);
	if (raw_header_decode(data, (size_t)len, &open) < 0)
		return;
	check(open.accepted || open.place.path[0] || open.place.endpoint.port);
	len = (int)raw_header_encode(&open, again);
	check(raw_header_decode(again, (size_t)len, &back) == 0);
	check(back.is_udp == open.is_udp);
	check(back.accepted == open.accepted);
	check(strcmp(back.place.path, open.place.path) == 0);
	check(ipaddr_equal(&back.place.endpoint.addr, &open.place.endpoint.addr));
}

static void answer(const uint8_t *data, size_t size)
{
	int error;

	if (size >= RAW_ANSWER_SIZE && raw_answer_decode(data, &error) == 0)
		check(error <= 0 && error >= -4095);
}

/* --- datagrams --- */

struct receiver {
	struct cursor expected; /* of the same bytes, read at once */
	struct raw_datagrams *flow;
};

static void on_receive(void *arg, const struct iovec *iov, int n)
{
	struct receiver *r = arg;
	const uint8_t *bytes;

	check(n == 1);
	check(take16(&r->expected) == iov->iov_len);
	check(take_bytes(&r->expected, iov->iov_len, &bytes) == iov->iov_len);
	check(memcmp(bytes, iov->iov_base, iov->iov_len) == 0);
}

static void on_refused(void *arg)
{
	struct receiver *r = arg;

	check(take16(&r->expected) == 65535);
}

static void on_gone(void *arg)
{
	struct receiver *r = arg;

	raw_datagrams_free(r->flow);
	r->flow = NULL;
}

static void send_pieces(struct loop *loop, int fd, struct cursor c)
{
	size_t piece = (size_t)take8(&c) * 16 + 1;

	while (c.left) {
		const uint8_t *bytes;
		size_t n = take_bytes(&c, piece, &bytes);

		if (send(fd, bytes, n, MSG_NOSIGNAL) != (ssize_t)n)
			return;
		fake_loop_settle(loop);
	}
}

static void datagrams(const uint8_t *data, size_t size)
{
	static const struct raw_datagrams_ops ops = { on_receive, on_refused, on_gone };
	struct receiver r = { .expected = { data, size } };
	struct stream *stream;
	struct loop *loop;
	int fds[2];

	(void)take8(&r.expected); /* how it is cut */
	check(loop_new(&loop) == 0);
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
	check(stream_fd_new(loop, fds[0], false, &stream) == 0);
	check(raw_datagrams_new(&ops, &r, &r.flow) == 0);
	raw_datagrams_attach(r.flow, stream);
	send_pieces(loop, fds[1], (struct cursor){ data, size });
	close(fds[1]);
	fake_loop_settle(loop);
	check(!r.flow);
	loop_free(loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	header(data, size);
	answer(data, size);
	datagrams(data, size);
	return 0;
}
