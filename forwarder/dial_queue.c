/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/dial_queue.h"

#include <errno.h>
#include <stdlib.h>

#include "netstack/base/loop.h"

#define BUSY_MS 20U /* the connection takes no more: until it is asked again */

struct dial_queue {
	struct loop *loop;
	struct dial_queue_owner owner;
	unsigned int wait_ms;
	struct list waiters; /* dial_waiter.node, the oldest first */
	struct timer *timer; /* of the oldest; or BUSY_MS */
	bool is_open;
};

static struct dial_waiter *oldest(struct dial_queue *q)
{
	return container_of(q->waiters.next, struct dial_waiter, node);
}

/* How long until there is something to do for those that wait. */
static void start_timer(struct dial_queue *q)
{
	uint64_t now = loop_now_ms(q->loop);
	uint64_t until = oldest(q)->until_ms;
	uint64_t left = until > now ? until - now : 0;

	timer_start(q->timer, q->is_open && left > BUSY_MS ? BUSY_MS : left);
}

static void rest(struct dial_queue *q)
{
	if (list_empty(&q->waiters))
		timer_stop(q->timer);
	else
		start_timer(q);
}

static void put_first(struct dial_queue *q, struct dial_waiter *w)
{
	list_append(q->waiters.next, &w->node);
}

static void dial_all(struct dial_queue *q)
{
	while (!list_empty(&q->waiters)) {
		struct dial_waiter *w = oldest(q);
		int r;

		list_unlink(&w->node);
		r = q->owner.dial(q->owner.arg, w);
		if (r == -EBUSY) {
			put_first(q, w);
			break;
		}
		if (r < 0)
			q->owner.failed(q->owner.arg, w, r);
	}
}

static void on_timer(void *arg)
{
	struct dial_queue *q = arg;
	uint64_t now = loop_now_ms(q->loop);

	while (!list_empty(&q->waiters) && oldest(q)->until_ms <= now) {
		struct dial_waiter *w = oldest(q);

		list_unlink(&w->node);
		q->owner.failed(q->owner.arg, w, -ETIMEDOUT);
	}
	if (q->is_open)
		dial_all(q);
	rest(q);
}

void dial_queue_add(struct dial_queue *q, struct dial_waiter *w)
{
	w->until_ms = loop_now_ms(q->loop) + q->wait_ms;
	list_append(&q->waiters, &w->node);
	if (!timer_is_running(q->timer))
		start_timer(q);
}

void dial_queue_remove(struct dial_waiter *w)
{
	list_unlink(&w->node);
}

bool dial_queue_is_empty(const struct dial_queue *q)
{
	return list_empty(&q->waiters);
}

void dial_queue_open(struct dial_queue *q)
{
	q->is_open = true;
	dial_all(q);
	rest(q);
}

void dial_queue_close(struct dial_queue *q)
{
	q->is_open = false;
}

void dial_queue_fail(struct dial_queue *q, int error)
{
	struct list waiters, *node;

	list_init(&waiters);
	list_move_all(&waiters, &q->waiters);
	while ((node = list_take(&waiters)))
		q->owner.failed(q->owner.arg, container_of(node, struct dial_waiter, node), error);
	rest(q);
}

int dial_queue_new(struct loop *loop, const struct dial_queue_owner *owner, unsigned int wait_ms,
		   struct dial_queue **out)
{
	struct dial_queue *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	if (timer_new(loop, on_timer, q, &q->timer) < 0) {
		free(q);
		return -ENOMEM;
	}
	q->loop = loop;
	q->owner = *owner;
	q->wait_ms = wait_ms;
	list_init(&q->waiters);
	*out = q;
	return 0;
}

void dial_queue_free(struct dial_queue *q)
{
	if (!q)
		return;
	timer_free(q->timer);
	free(q);
}
