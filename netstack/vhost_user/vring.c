/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <unistd.h>

#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/vhost_user/backend.h"
#include "netstack/vhost_user/internal.h"

static unsigned int index_of(const struct vring *v)
{
	return (unsigned int)(v - v->backend->vrings);
}

static void update_started(struct vhost_backend *b)
{
	bool should = true;

	for (unsigned int i = 0; i < b->device.n_needed; i++)
		should &= vring_is_running(&b->vrings[i]);
	if (should == b->is_started)
		return;
	b->is_started = should;
	if (should)
		b->device.ops->start(b->device.arg);
	else
		b->device.ops->stop(b->device.arg);
}

void vring_stop(struct vring *v)
{
	if (!vring_is_running(v))
		return;
	watch_free(v->watch);
	v->watch = NULL;
	v->is_polled = false;
	virtqueue_stop(&v->queue);
	update_started(v->backend);
}

static void kicked(struct vring *v)
{
	struct vhost_backend *b = v->backend;

	if (b->is_started)
		b->device.ops->kicked(b->device.arg, index_of(v));
}

static void on_kick(void *arg, unsigned int events)
{
	struct vring *v = arg;
	uint64_t count;
	ssize_t n = read(v->kick_fd, &count, sizeof(count));

	(void)events;
	if (n > 0) {
		kicked(v);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		/* a pipe without a writer: the front end's end will be seen */
		watch_want(v->watch, 0);
	}
}

int vring_try_start(struct vring *v)
{
	struct vhost_backend *b = v->backend;
	bool starts_enabled = !vhost_backend_has(b, VHOST_F_PROTOCOL_FEATURES);
	int r;

	if (vring_is_running(v) || v->kick_fd < 0 || !v->has_address || !b->memory ||
	    v->layout.size == 0 || !(v->is_enabled || starts_enabled))
		return 0;
	v->layout.has_event_idx = vhost_backend_has(b, VIRTIO_F_EVENT_IDX);
	v->layout.has_indirect = vhost_backend_has(b, VIRTIO_F_INDIRECT_DESC);
	r = virtqueue_start(&v->queue, b->memory, &v->layout);
	if (r < 0)
		return r;
	r = watch_new(b->loop, v->kick_fd, on_kick, v, &v->watch);
	if (r < 0) {
		virtqueue_stop(&v->queue);
		return r;
	}
	watch_want(v->watch, LOOP_READ);
	update_started(b);
	return 0;
}

static void signal_fd(int fd)
{
	const uint64_t one = 1;

	/* full: it was signalled, and not looked at yet */
	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
		return;
}

void vhost_backend_flush(struct vhost_backend *b, unsigned int queue)
{
	struct vring *v = &b->vrings[queue];

	if (vring_is_running(v) && virtqueue_publish(&v->queue))
		signal_fd(v->call_fd);
}

void vhost_backend_break(struct vhost_backend *b, unsigned int queue)
{
	log_limited(LOG_LEVEL_WARN, "%s: the guest's driver broke queue %u: %s; device stopped",
		    b->device.name, queue, b->vrings[queue].queue.fault);
	signal_fd(b->vrings[queue].err_fd);
	for (unsigned int i = 0; i < b->device.n_queues; i++) {
		b->vrings[i].has_address = false;
		vring_stop(&b->vrings[i]);
	}
}

bool vhost_backend_has(const struct vhost_backend *b, unsigned int feature)
{
	return b->features >> feature & 1;
}

struct virtqueue *vhost_backend_queue(struct vhost_backend *b, unsigned int queue)
{
	return &b->vrings[queue].queue;
}

/* ---- polling ---- */

bool vhost_backend_await(struct vhost_backend *b, unsigned int queue)
{
	struct vring *v = &b->vrings[queue];

	if (b->device.busy_poll_us == 0)
		return virtqueue_enable_kicks(&v->queue);
	if (!v->is_polled || v->polled_from != v->queue.next_avail)
		v->poll_end_us = loop_exact_us(b->loop) + b->device.busy_poll_us;
	v->is_polled = true;
	v->polled_from = v->queue.next_avail;
	return virtqueue_has_more(&v->queue);
}

/* Whether its device is to be called. */
static bool poll(struct vring *v)
{
	struct loop *loop = v->backend->loop;

	if (virtqueue_has_more(&v->queue))
		return true;
	if (loop_exact_us(loop) < v->poll_end_us) {
		loop_do_not_sleep(loop);
		return false;
	}
	v->is_polled = false;
	return virtqueue_enable_kicks(&v->queue);
}

static void on_found(void *arg)
{
	struct vhost_backend *b = arg;

	for (unsigned int i = 0; i < b->device.n_queues; i++) {
		struct vring *v = &b->vrings[i];

		if (vring_is_running(v) && virtqueue_has_more(&v->queue))
			kicked(v);
	}
}

static void before_sleep(void *arg)
{
	struct vhost_backend *b = arg;

	for (unsigned int i = 0; i < b->device.n_queues && b->is_started; i++) {
		struct vring *v = &b->vrings[i];

		if (v->is_polled && poll(v))
			loop_defer(b->loop, &b->found);
	}
}

void vring_init_polling(struct vhost_backend *b)
{
	loop_deferred_init(&b->found, on_found, b);
	b->before_sleep = (struct loop_hook){ .fn = before_sleep, .arg = b };
	list_init(&b->before_sleep.node);
	if (b->device.busy_poll_us)
		loop_add_hook(b->loop, &b->before_sleep);
}

void vring_end_polling(struct vhost_backend *b)
{
	loop_cancel_deferred(&b->found);
	loop_remove_hook(&b->before_sleep);
}

int vring_move(struct vring *v, struct guest_memory *memory)
{
	int r;

	if (!vring_is_running(v))
		return vring_try_start(v);
	vhost_backend_flush(v->backend, index_of(v));
	v->is_polled = false;
	virtqueue_stop(&v->queue);
	r = virtqueue_start(&v->queue, memory, &v->layout);
	if (r < 0) {
		watch_free(v->watch);
		v->watch = NULL;
		update_started(v->backend);
		return r;
	}
	kicked(v); /* whoever waits for a kick asks for it anew */
	return 0;
}
