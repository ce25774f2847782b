/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/way_dial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/loop.h"
#include "netstack/stream.h"
#include "netstack/stream_late.h"

struct way_dial {
	struct way_dial_plan plan;
	struct tunnel_place guest; /* its path is a copy */
	char *path;
	unsigned int next; /* of plan.kinds, to be tried */
	int error;	   /* the one to be told if no way works */
	struct timer *timer;
	struct stream *stream; /* being tried: plan.kinds[next - 1] */
	struct stream_late *late;
};

static void way_dial_free(struct way_dial *d)
{
	if (d->stream)
		d->stream->ops->reset(d->stream);
	timer_free(d->timer);
	free(d->path);
	free(d);
}

static void on_dropped(void *arg)
{
	way_dial_free(arg);
}

/* Whether that was the answer. The refusal of one way says more than that another
 * one is not there. */
static bool note_error(struct way_dial *d, int error)
{
	if (d->error != -ECONNREFUSED)
		d->error = error;
	return d->plan.is_final(d->plan.arg, d->plan.kinds[d->next - 1], error);
}

/* Afterwards a way is being tried, in d->stream, or that is NULL and d->error tells
 * why. */
static void try_next(struct way_dial *d)
{
	d->stream = NULL;
	while (d->next < d->plan.n) {
		unsigned int kind = d->plan.kinds[d->next++];
		int r = d->plan.try(d->plan.arg, kind, &d->guest, &d->stream);

		if (r == 0)
			return;
		d->stream = NULL;
		if (note_error(d, r))
			return;
	}
}

static bool is_last(const struct way_dial *d)
{
	return d->next == d->plan.n;
}

static void become(struct way_dial *d)
{
	struct stream_late *late = d->late;
	struct stream *stream = d->stream;

	d->stream = NULL;
	way_dial_free(d);
	stream_late_become(late, stream);
}

static void fail(struct way_dial *d)
{
	struct stream_late *late = d->late;
	int error = d->error;

	way_dial_free(d);
	stream_late_fail(late, error);
}

/* The way being tried has failed. As try_next(). */
static void leave_way(struct way_dial *d, int error)
{
	d->stream->ops->reset(d->stream);
	d->stream = NULL;
	timer_stop(d->timer);
	if (!note_error(d, error))
		try_next(d);
}

static void on_ready(void *arg);

static void wait(struct way_dial *d)
{
	stream_set_ready(d->stream, on_ready, d);
	d->stream->ops->want(d->stream, STREAM_WRITE);
	if (!timer_is_running(d->timer))
		timer_start(d->timer, d->plan.limit_ms(d->plan.arg, d->plan.kinds[d->next - 1]));
}

/* Sees what has come of the way being tried. Of the last one, the user sees it. */
static void look(struct way_dial *d)
{
	while (d->stream) {
		ssize_t connected = d->stream->ops->write(d->stream, NULL, 0);

		if (connected == 0 || is_last(d)) {
			become(d);
			return;
		}
		if (connected == -EAGAIN) {
			wait(d);
			return;
		}
		leave_way(d, (int)connected);
	}
	fail(d);
}

static void on_ready(void *arg)
{
	look(arg);
}

static void on_timer(void *arg)
{
	struct way_dial *d = arg;

	leave_way(d, -ETIMEDOUT);
	look(d);
}

static struct way_dial *way_dial_new(const struct way_dial_plan *plan,
				     const struct tunnel_place *guest)
{
	struct way_dial *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->plan = *plan;
	d->guest = *guest;
	d->error = -ENOTCONN;
	if (guest->path) {
		d->path = strdup(guest->path);
		d->guest.path = d->path;
		if (!d->path) {
			free(d);
			return NULL;
		}
	}
	return d;
}

int way_dial(struct loop *loop, const struct way_dial_plan *plan, const struct tunnel_place *guest,
	     struct stream **out)
{
	struct way_dial *d = way_dial_new(plan, guest);
	int r;

	if (!d)
		return -ENOMEM;
	try_next(d);
	if (d->stream && is_last(d)) {
		*out = d->stream; /* nothing to wait for */
		d->stream = NULL;
		way_dial_free(d);
		return 0;
	}
	r = d->stream ? timer_new(loop, on_timer, d, &d->timer) : d->error;
	if (r == 0)
		r = stream_late_new(on_dropped, d, &d->late);
	if (r < 0) {
		way_dial_free(d);
		return r;
	}
	*out = stream_late_stream(d->late);
	look(d);
	return 0;
}
