/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent/raw_udp.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "forwarder/agent/counters.h"
#include "forwarder/agent/guest_dial.h"
#include "forwarder/raw_datagrams.h"
#include "netstack/base/loop.h"

#define MAX_RECEIVED 64 /* of one socket before the others get their turn */

struct raw_udp {
	struct loop *loop;
	struct agent_server_counters *counters;
	struct raw_udp_owner owner;
	int fd;
	struct watch *watch;
	struct timer *idle;
	uint64_t used_ms;
	struct raw_datagrams *host;
};

void raw_udp_free(struct raw_udp *u)
{
	if (!u)
		return;
	watch_free(u->watch);
	timer_free(u->idle);
	raw_datagrams_free(u->host);
	if (u->fd >= 0)
		close(u->fd);
	free(u);
}

static void used(struct raw_udp *u)
{
	u->used_ms = loop_now_ms(u->loop);
}

static void on_idle(void *arg)
{
	struct raw_udp *u = arg;
	uint64_t unused_ms = loop_now_ms(u->loop) - u->used_ms;

	if (unused_ms < RAW_UDP_IDLE_MS)
		timer_start(u->idle, RAW_UDP_IDLE_MS - unused_ms);
	else
		u->owner.gone(u->owner.arg);
}

/* An error of the socket: of the datagram that was sent, or of an earlier one. */
static void on_error(struct raw_udp *u, int error)
{
	if (error == ECONNREFUSED)
		raw_datagrams_refuse(u->host);
	else
		u->counters->datagrams_dropped++;
}

static void on_readable(void *arg, unsigned int events)
{
	static uint8_t buffer[RAW_DATAGRAM_MAX]; /* of all flows of the thread */
	struct raw_udp *u = arg;

	(void)events;
	used(u);
	for (int i = 0; i < MAX_RECEIVED; i++) {
		ssize_t n = recv(u->fd, buffer, sizeof(buffer), 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0)
			on_error(u, errno);
		else if (raw_datagrams_send(u->host, buffer, (size_t)n) < 0)
			u->counters->datagrams_dropped++;
	}
}

static void on_receive(void *arg, const struct iovec *iov, int n)
{
	struct raw_udp *u = arg;
	struct msghdr msg = {
		.msg_iov = (struct iovec *)(uintptr_t)iov,
		.msg_iovlen = (size_t)n,
	};

	used(u);
	if (sendmsg(u->fd, &msg, MSG_NOSIGNAL) >= 0)
		return;
	if (errno != ECONNREFUSED) {
		u->counters->datagrams_dropped++;
		return;
	}
	/* the refusal of an earlier one: this one was not sent yet */
	on_error(u, errno);
	if (sendmsg(u->fd, &msg, MSG_NOSIGNAL) < 0)
		u->counters->datagrams_dropped++;
}

static void on_refused(void *arg)
{
	(void)arg; /* is for the host to hear, and not from it */
}

static void on_gone(void *arg)
{
	struct raw_udp *u = arg;

	u->owner.gone(u->owner.arg);
}

static int open_parts(struct raw_udp *u, const struct endpoint *guest)
{
	static const struct raw_datagrams_ops ops = { on_receive, on_refused, on_gone };
	int r;

	u->fd = guest_dial_udp(guest);
	if (u->fd < 0)
		return u->fd;
	r = watch_new(u->loop, u->fd, on_readable, u, &u->watch);
	if (r == 0)
		r = timer_new(u->loop, on_idle, u, &u->idle);
	if (r == 0)
		r = raw_datagrams_new(&ops, u, &u->host);
	return r;
}

int raw_udp_new(struct loop *loop, const struct endpoint *guest,
		struct agent_server_counters *counters, const struct raw_udp_owner *owner,
		struct raw_udp **out)
{
	struct raw_udp *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return -ENOMEM;
	u->loop = loop;
	u->counters = counters;
	u->owner = *owner;
	r = open_parts(u, guest);
	if (r < 0)
		raw_udp_free(u);
	else
		*out = u;
	return r;
}

void raw_udp_start(struct raw_udp *u, struct stream *host)
{
	used(u);
	timer_start(u->idle, RAW_UDP_IDLE_MS);
	watch_want(u->watch, LOOP_READ);
	raw_datagrams_attach(u->host, host);
}
