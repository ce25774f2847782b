/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_wait.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

#include "forwarder/ssh/ssh_mailbox.h"

uint64_t ssh_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int ssh_wait_for(const struct ssh_wait *w, short events)
{
	struct pollfd p[] = {
		{ .fd = w->fd, .events = events },
		{ .fd = w->mailbox->fd, .events = POLLIN },
	};

	for (;;) {
		uint64_t now = ssh_now_ms();
		int r;

		/* Letters come only to a session that is up. */
		if (!ssh_mailbox_may_sleep(w->mailbox))
			return -ECANCELED;
		if (now >= w->deadline_ms)
			return -ETIMEDOUT;
		r = poll(p, 2, (int)(w->deadline_ms - now));
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0 && p[0].revents)
			return 0;
	}
}
