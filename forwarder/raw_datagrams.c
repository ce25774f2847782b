/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/raw_datagrams.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/byte_queue.h"
#include "netstack/stream.h"

#define PREFIX_SIZE 2U
#define REFUSED 65535U /* in place of a length */
/* A part of a datagram that came before, and what is read at a time. */
#define READ_SIZE (128U * 1024)
/* Reads before the others on the loop get their turn. */
#define MAX_READS 8
#define PIECES 64

struct raw_datagrams {
	struct stream *peer; /* NULL: not yet */
	const struct raw_datagrams_ops *ops;
	void *arg;
	struct byte_queue out;
	bool is_broken; /* in writing: its reading will tell */
	bool *freed;	/* set when it goes while an op runs */
	uint8_t *part;	/* of a datagram, that has come; n_part bytes */
	size_t n_part;
};

int raw_datagrams_new(const struct raw_datagrams_ops *ops, void *arg, struct raw_datagrams **out)
{
	struct raw_datagrams *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->ops = ops;
	f->arg = arg;
	byte_queue_init(&f->out);
	*out = f;
	return 0;
}

void raw_datagrams_free(struct raw_datagrams *f)
{
	if (!f)
		return;
	if (f->freed)
		*f->freed = true;
	if (f->peer)
		f->peer->ops->reset(f->peer);
	byte_queue_clear(&f->out);
	free(f->part);
	free(f);
}

/* --- to the peer --- */

static void flush(struct raw_datagrams *f)
{
	struct iovec iov[PIECES];
	ssize_t r = 0;

	while (f->peer && f->out.len && !f->is_broken) {
		r = f->peer->ops->write(f->peer, iov, byte_queue_peek(&f->out, iov, PIECES));
		if (r < 0)
			break;
		byte_queue_consume(&f->out, (size_t)r);
	}
	if (r < 0 && r != -EAGAIN)
		f->is_broken = true;
}

static void want(struct raw_datagrams *f)
{
	unsigned int events = STREAM_READ;

	if (f->out.len && !f->is_broken)
		events |= STREAM_WRITE;
	if (f->peer)
		f->peer->ops->want(f->peer, events);
}

static int append(struct raw_datagrams *f, unsigned int prefix, const void *data, size_t len)
{
	uint8_t bytes[PREFIX_SIZE] = { (uint8_t)(prefix >> 8), (uint8_t)prefix };
	const struct iovec iov[2] = { { bytes, sizeof(bytes) }, { (void *)(uintptr_t)data, len } };

	if (f->is_broken || f->out.len + sizeof(bytes) + len > RAW_DATAGRAMS_QUEUE ||
	    byte_queue_append(&f->out, iov, 2, 0) < 0)
		return -EAGAIN;
	flush(f);
	want(f);
	return 0;
}

int raw_datagrams_send(struct raw_datagrams *f, const void *data, size_t len)
{
	return len > RAW_DATAGRAM_MAX ? -EMSGSIZE : append(f, (unsigned int)len, data, len);
}

void raw_datagrams_refuse(struct raw_datagrams *f)
{
	(void)append(f, REFUSED, NULL, 0);
}

/* --- from the peer --- */

/* The length of the datagram that begins here with its prefix, if that is there. */
static size_t whole_size(const uint8_t *data, size_t len)
{
	unsigned int prefix;

	if (len < PREFIX_SIZE)
		return PREFIX_SIZE;
	prefix = (unsigned int)data[0] << 8 | data[1];
	return prefix == REFUSED ? PREFIX_SIZE : PREFIX_SIZE + prefix;
}

static bool is_possible(const uint8_t *data)
{
	unsigned int prefix = (unsigned int)data[0] << 8 | data[1];

	return prefix <= RAW_DATAGRAM_MAX || prefix == REFUSED;
}

/* False when the owner has freed the flow. */
static bool hand_on(struct raw_datagrams *f, const uint8_t *data, size_t size)
{
	const struct iovec iov = { (uint8_t *)(uintptr_t)data + PREFIX_SIZE, size - PREFIX_SIZE };
	bool freed = false;

	f->freed = &freed;
	if (size == PREFIX_SIZE && data[0] == 0xff)
		f->ops->refused(f->arg);
	else
		f->ops->receive(f->arg, &iov, 1);
	if (!freed)
		f->freed = NULL;
	return !freed;
}

static int keep_part(struct raw_datagrams *f, const uint8_t *data, size_t len)
{
	f->part = len ? malloc(len) : NULL;
	f->n_part = 0;
	if (len && !f->part)
		return -ENOMEM;
	if (len)
		memcpy(f->part, data, len);
	f->n_part = len;
	return 0;
}

/* All that is whole; the rest is kept. 0, -EPROTO, -ENOMEM; 1: the flow is freed. */
static int take(struct raw_datagrams *f, const uint8_t *data, size_t len)
{
	while (len >= PREFIX_SIZE) {
		size_t size = whole_size(data, len);

		if (!is_possible(data))
			return -EPROTO;
		if (size > len)
			break;
		if (!hand_on(f, data, size))
			return 1;
		data += size;
		len -= size;
	}
	return keep_part(f, data, len);
}

/* As take(), or how reading ended: -EAGAIN, -EPIPE. */
static int read_some(struct raw_datagrams *f)
{
	static uint8_t shared[READ_SIZE]; /* by all flows of the thread */
	struct iovec iov = { shared + f->n_part, sizeof(shared) - f->n_part };
	size_t had = f->n_part;
	ssize_t r = f->peer->ops->read(f->peer, &iov, 1);

	if (r <= 0)
		return r == 0 ? -EPIPE : (int)r;
	if (had)
		memcpy(shared, f->part, had);
	free(f->part);
	f->part = NULL;
	f->n_part = 0;
	return take(f, shared, had + (size_t)r);
}

static void on_ready(void *arg)
{
	struct raw_datagrams *f = arg;
	int r = 0;

	flush(f);
	for (int i = 0; i < MAX_READS && r == 0; i++)
		r = read_some(f);
	if (r == 1)
		return;
	if (r == 0 || r == -EAGAIN)
		want(f);
	else
		f->ops->gone(f->arg);
}

void raw_datagrams_attach(struct raw_datagrams *f, struct stream *peer)
{
	f->peer = peer;
	stream_set_ready(peer, on_ready, f);
	flush(f);
	want(f);
}
