/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/link_tap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "netstack/base/list.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/link.h"
#include "netstack/netns.h"

/* Frames per round: enough to write to sockets in large pieces, few enough for
 * what was read to be in the cache still when it is written. */
#define RX_BUDGET 16
/* Buffers kept for reuse; with more than these in use, streams whose readers
 * are slow copy their data out. */
#define RX_BUFFERS 64U
/* When memory is out, and poll would say at once that there is work. */
#define RETRY_MS 5

struct link_tap {
	struct link link;
	int fd;
	size_t header_size; /* of the virtio-net header of each frame; 0: none */
	bool is_waiting;    /* the owner is to be told when it can send again */
	struct watch *watch;
	struct timer *retry;
	struct buffer_pool pool;
};

static struct link_tap *from_link(struct link *link)
{
	return container_of(link, struct link_tap, link);
}

static void gone(struct link_tap *t, int error)
{
	log_warn("%s: the interface is gone: %s", t->link.name, strerror(error));
	watch_want(t->watch, 0);
	timer_stop(t->retry);
	t->link.owner->state(t->link.owner_arg, false);
}

static void wait_for_memory(struct link_tap *t)
{
	watch_want(t->watch, 0);
	timer_start(t->retry, RETRY_MS);
}

/* One frame up; false when the batch is over. */
static bool receive_one(struct link_tap *t)
{
	size_t header = t->header_size;
	struct buffer *buffer = buffer_take(&t->pool);
	struct frame frame;
	ssize_t n;

	if (!buffer) {
		t->link.counters.rx_no_memory++;
		wait_for_memory(t);
		return false;
	}
	n = read(t->fd, buffer->data, t->pool.size);
	if (n < 0) {
		int error = errno;

		buffer_unref(buffer);
		/* an uplink that is set down may be set up again */
		if (error != EAGAIN && error != EINTR && error != ENETDOWN)
			gone(t, error);
		return false;
	}
	frame_init(&frame);
	if ((size_t)n < header + ETH_HEADER_SIZE) {
		t->link.counters.rx_runt++;
	} else if (header &&
		   frame_decode_vnet(buffer->data, (size_t)n - header, &frame.offload) < 0) {
		t->link.counters.rx_bad_vnet++;
	} else {
		frame.owner = buffer;
		frame_add(&frame, buffer->data + header, (size_t)n - header);
		t->link.counters.rx_frames++;
		t->link.counters.rx_bytes += frame.len;
		t->link.owner->receive(t->link.owner_arg, &frame);
	}
	buffer_unref(buffer);
	return true;
}

static void want(struct link_tap *t)
{
	watch_want(t->watch, LOOP_READ | (t->is_waiting ? LOOP_WRITE : 0));
}

static void on_writable(struct link_tap *t)
{
	bool was_waiting = t->is_waiting;

	t->is_waiting = false;
	want(t);
	if (was_waiting)
		t->link.owner->writable(t->link.owner_arg);
}

static void on_retry(void *arg)
{
	on_writable(arg);
}

static void on_event(void *arg, unsigned int events)
{
	struct link_tap *t = arg;
	int i = 0;

	if (events & LOOP_WRITE)
		on_writable(t);
	if (!(events & LOOP_READ))
		return;
	while (i < RX_BUDGET && receive_one(t))
		i++;
	if (i)
		t->link.owner->batch_done(t->link.owner_arg);
}

static void link_tap_start(struct link *link)
{
	struct link_tap *t = from_link(link);

	want(t);
	link->owner->state(link->owner_arg, true);
}

static int link_tap_send(struct link *link, struct frame *frame)
{
	struct link_tap *t = from_link(link);
	uint8_t header[VNET_HEADER_SIZE];
	struct iovec iov[FRAME_MAX_REFS + 1];
	int n = 0;

	if (t->header_size) {
		frame_encode_vnet(frame, header);
		iov[n++] = (struct iovec){ header, t->header_size };
	}
	for (int i = 0; i < frame->n_refs; i++)
		iov[n++] = frame->refs[i];
	if (writev(t->fd, iov, n) >= 0) {
		link->counters.tx_frames++;
		link->counters.tx_bytes += frame->len;
		return 0;
	}
	if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) {
		link->counters.tx_blocked++;
		t->is_waiting = true;
		if (errno == EAGAIN)
			want(t);
		else
			wait_for_memory(t);
		return -EAGAIN;
	}
	link->counters.tx_dropped++;
	return -ENETDOWN;
}

static void link_tap_free(struct link *link)
{
	struct link_tap *t = from_link(link);

	timer_free(t->retry);
	watch_free(t->watch);
	close(t->fd);
	buffer_pool_deinit(&t->pool);
	free(t);
}

static const struct link_ops link_tap_ops = {
	.start = link_tap_start,
	.send = link_tap_send,
	.free = link_tap_free,
};

int link_tap_from_fd(struct loop *loop, const struct tap_fd *tap, struct link **out)
{
	struct link_tap *t = calloc(1, sizeof(*t));
	int r = -ENOMEM;

	if (t)
		r = timer_new(loop, on_retry, t, &t->retry);
	if (r == 0)
		r = watch_new(loop, tap->fd, on_event, t, &t->watch);
	if (r < 0) {
		close(tap->fd);
		if (t)
			timer_free(t->retry);
		free(t);
		return r;
	}
	t->fd = tap->fd;
	t->header_size = tap->header_size;
	t->link.ops = &link_tap_ops;
	t->link.caps = (struct link_caps){ .mtu = tap->mtu,
					   .csum = tap->header_size > 0,
					   .tso = tap->header_size > 0,
					   .lossless = true };
	(void)snprintf(t->link.name, sizeof(t->link.name), "%s", tap->name);
	buffer_pool_init(&t->pool, VNET_HEADER_SIZE + FRAME_MAX_SIZE, RX_BUFFERS);
	*out = &t->link;
	return 0;
}

int link_tap_adopt(struct loop *loop, int fd, uint16_t mtu, struct link **out)
{
	char ifname[NETNS_IFNAME_SIZE] = "", name[64];
	struct netns_tap tap;
	struct tap_fd from = { .fd = fd, .mtu = mtu, .name = name };
	int r = netns_adopt_tap(fd, &tap, ifname);

	if (r < 0) {
		log_error("descriptor %d: %s", fd,
			  r == -EINVAL ? "not a TAP interface that was opened with IFF_TAP | "
					 "IFF_NO_PI" :
					 strerror(-r));
		close(fd);
		return r;
	}
	(void)snprintf(name, sizeof(name), "host:%s", ifname);
	from.header_size = tap.has_vnet ? VNET_HEADER_SIZE : 0;
	r = link_tap_from_fd(loop, &from, out);
	if (r < 0)
		log_error("%s: %s", name, strerror(-r));
	return r;
}

static const char *hint_of(const struct tap_config *config, int error)
{
	switch (error) {
	case -EPERM:
	case -EACCES:
		return config->netns ?
			       "; run as root, or name a process of your own user's container" :
			       "; root makes it once: ip tuntap add NAME mode tap user USER";
	case -EEXIST:
		return "; choose another name with --ifname";
	case -EBUSY:
		return "; another program has it";
	case -ENOENT:
		return config->netns ? "; `ip netns list` shows the names there are" : "";
	default:
		return "";
	}
}

int link_tap_new(struct loop *loop, const struct tap_config *config, struct link **out)
{
	char step[NETNS_STEP_SIZE] = "start", name[64];
	struct netns_tap tap = { .fd = -1 };
	struct tap_fd from = { .name = name, .mtu = config->mtu };
	int r = netns_open_tap(config, &tap, step);

	(void)snprintf(name, sizeof(name), "%s:%s", config->netns ? "netns" : "host",
		       config->netns ? config->netns : config->ifname);
	if (r == 0) {
		from.fd = tap.fd;
		from.header_size = tap.has_vnet ? VNET_HEADER_SIZE : 0;
		r = link_tap_from_fd(loop, &from, out);
	}
	if (r < 0)
		log_error("%s, interface %s: could not %s: %s%s", config->netns ? name : "the host",
			  config->ifname, step, strerror(-r), hint_of(config, r));
	else if (!tap.has_ipv6)
		log_info("%s has IPv6 switched off", name);
	return r;
}
