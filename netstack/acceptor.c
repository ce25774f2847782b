/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/acceptor.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "netstack/base/loop.h"

/* Connections taken in one round of the loop, so that a flood of them does not
 * hold up those that are open. */
#define ACCEPTS_PER_ROUND 64
/* Long enough to cost nothing, short enough not to be noticed by a client. */
#define PAUSE_MS 100

struct acceptor {
	int fd;
	const struct acceptor_owner *owner;
	void *arg;
	struct watch *watch;
	struct timer *resume;
	bool is_started;
	bool is_short;	/* out of descriptors or memory, and said so */
	bool *is_freed; /* while a callback of the owner may do that */
};

static void on_resume(void *arg)
{
	struct acceptor *a = arg;

	watch_want(a->watch, LOOP_READ);
}

/* Clients stay in the backlog; with a descriptor that is readable all the time
 * the loop would not sleep. */
static void wait_for_better_times(struct acceptor *a, int error)
{
	watch_want(a->watch, 0);
	timer_start(a->resume, PAUSE_MS);
	if (a->owner->paused)
		a->owner->paused(a->arg, a->is_short ? 0 : error);
	a->is_short = true;
}

/* Whether to go on accepting in this round. */
static bool accept_one(struct acceptor *a)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct endpoint client;
	bool is_freed = false;
	int fd = accept4(a->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		if (errno == EAGAIN)
			return false;
		if (errno == EINTR || errno == ECONNABORTED) /* gone while it waited */
			return true;
		wait_for_better_times(a, -errno);
		return false;
	}
	a->is_short = false;
	if (endpoint_from_sockaddr(&sa, &client) < 0)
		client = (struct endpoint){ .addr = IPADDR_V6_ANY };
	a->is_freed = &is_freed;
	a->owner->accepted(a->arg, fd, &client);
	if (is_freed)
		return false;
	a->is_freed = NULL;
	return a->is_started;
}

static void on_acceptable(void *arg, unsigned int events)
{
	(void)events;
	for (int i = 0; i < ACCEPTS_PER_ROUND && accept_one(arg); i++)
		;
}

int acceptor_new(struct loop *loop, int fd, const struct acceptor_owner *owner, void *arg,
		 struct acceptor **out)
{
	struct acceptor *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	a->fd = fd;
	a->owner = owner;
	a->arg = arg;
	r = timer_new(loop, on_resume, a, &a->resume);
	if (r == 0)
		r = watch_new(loop, fd, on_acceptable, a, &a->watch);
	if (r < 0) {
		acceptor_free(a);
		return r;
	}
	*out = a;
	return 0;
}

void acceptor_start(struct acceptor *a)
{
	a->is_started = true;
	watch_want(a->watch, LOOP_READ);
}

void acceptor_pause(struct acceptor *a)
{
	a->is_started = false;
	watch_want(a->watch, 0);
	timer_stop(a->resume);
}

void acceptor_free(struct acceptor *a)
{
	if (!a)
		return;
	if (a->is_freed)
		*a->is_freed = true;
	watch_free(a->watch);
	timer_free(a->resume);
	free(a);
}
