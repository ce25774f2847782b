/* SPDX-License-Identifier: Apache-2.0 */
/* Payload that goes from the transport to its reader by splice(2), and not through our
 * memory. nghttp2 reads all that is not payload of a call, and it counts the payload: it is
 * given as many bytes of memory, which it does not look at. So frames, windows and ends
 * are its own business as ever. A padded frame, whose payload it must find, is read. */
#include <assert.h>
#include <errno.h>

#include "forwarder/rpc/http2.h"
#include "forwarder/rpc/http2_internal.h"
#include "netstack/stream.h"

/* Less than that is cheaper to read. */
#define WORTH_MIN (16UL * 1024)
/* The heads of a frame, of a message and of its payload of 16 KiB to 2 MiB: reading no more
 * than that leaves the payload where it is. */
#define HEADS_SIZE (9U + 5U + 1U + 3U)

static_assert(INPUT_FRAME_MAX <= INPUT_SIZE, "as much memory as is counted at once");

void http2_pull_begin(struct http2 *h, const nghttp2_frame_hd *frame)
{
	bool is_plain = frame->type == NGHTTP2_DATA && !(frame->flags & NGHTTP2_FLAG_PADDED);

	h->pull.stream = NULL;
	h->pull.left = is_plain ? frame->length : 0;
	h->pull.is_large = is_plain && frame->length >= WORTH_MIN;
	h->pull.has_begun = false;
	h->pull.ends_frame = false;
}

/* That nghttp2 has let the first bytes through says that it takes the frame. */
void http2_pull_count(struct http2 *h, struct http2_stream *s, size_t len)
{
	if (h->pull.left == 0)
		return;
	h->pull.left -= len;
	h->pull.stream = s;
	h->pull.ends_frame = h->pull.left == 0 && h->pull.is_large && s->is_pulled;
}

static bool is_worth_it(const struct http2_pull *p)
{
	return p->stream && p->left && (p->has_begun || p->left >= WORTH_MIN);
}

void http2_pull_offer(struct http2 *h)
{
	struct http2_pull *p = &h->pull;
	struct http2_stream *s = p->stream;

	p->is_drained = false;
	if (!is_worth_it(p) || !s->is_pulled || !s->ops)
		return;
	h->is_dispatching = true;
	p->is_offered = true;
	s->ops->arriving(s->arg);
	p->is_offered = false;
	h->is_dispatching = false;
}

size_t http2_pull_read_size(const struct http2 *h, size_t max)
{
	return h->pull.ends_frame ? HEADS_SIZE : max;
}

static void count(struct http2_stream *s, size_t len)
{
	struct http2 *h = s->h;
	size_t before = s->unconsumed;
	ssize_t r;

	http2_heard(h);
	h->pull.has_begun = true;
	h->pull.is_counting = true;
	r = nghttp2_session_mem_recv(h->session, h->input, len);
	h->pull.is_counting = false;
	if (r < 0)
		http2_fail(h, r == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO);
	http2_stream_consume(s, s->unconsumed - before);
}

ssize_t http2_stream_splice_to(struct http2_stream *s, int pipe, size_t max)
{
	struct http2 *h = s->h;
	struct http2_pull *p = &h->pull;
	ssize_t r;

	s->is_pulled = true;
	/* what was read goes first */
	if (h->is_dispatching ? !p->is_offered : h->next_event < h->n_events)
		return -EAGAIN;
	if (h->error || p->stream != s || !is_worth_it(p) || max == 0)
		return -EAGAIN;
	r = h->transport->ops->splice_to(h->transport, pipe, max < p->left ? max : p->left);
	if (r == -EAGAIN) {
		p->is_drained = true;
	} else if (r <= 0) {
		http2_fail(h, r == 0 ? -EPIPE : (int)r);
		return -EAGAIN;
	} else {
		count(s, (size_t)r);
	}
	return r;
}
