/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_alive.h"

#include <time.h>

#include <ssh2_more.h>

#include "forwarder/ssh/ssh_config.h"
#include "forwarder/ssh/ssh_wait.h"

/* Sleeping is noticed when it was longer than this; then the server has so long to
 * be heard. */
#define SLEPT_MS 2000
#define WAKE_PATIENCE_MS 3000

void ssh_alive_init(struct ssh_alive *a, LIBSSH2_SESSION *session, const struct ssh_config *config,
		    const bool *is_asking)
{
	*a = (struct ssh_alive){
		.session = session,
		.is_asking = is_asking,
		.interval_ms = (uint64_t)config->keepalive_s * 1000,
		.count_max = config->keepalive_count,
		.heard_ms = ssh_now_ms(),
		.asleep_ms = ssh_alive_slept_ms(),
	};
}

int64_t ssh_alive_slept_ms(void)
{
	struct timespec boot, mono;

	clock_gettime(CLOCK_MONOTONIC, &mono);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	return (boot.tv_sec - mono.tv_sec) * 1000 + (boot.tv_nsec - mono.tv_nsec) / 1000000;
}

void ssh_alive_replied(struct ssh_alive *a)
{
	bool is_granted; /* of no interest: it is alive */

	if (a->is_reply_due && !*a->is_asking && ssh2_more_take_reply(a->session, &is_granted))
		a->is_reply_due = false;
}

static void note_heard(struct ssh_alive *a, uint64_t n_received, uint64_t now)
{
	if (n_received == a->n_received)
		return;
	a->n_received = n_received;
	a->heard_ms = now;
	a->n_unanswered = 0;
	a->wake_deadline_ms = 0;
}

/* Another request only after the reply to the last: they cannot be told apart. */
static int ask(struct ssh_alive *a, uint64_t now)
{
	/* the name is the one that OpenSSH's client uses */
	static const struct ssh2_request request = { .name = "keepalive@openssh.com",
						     .wants_reply = true };
	int r = 0;

	a->asked_ms = now;
	a->n_unanswered++;
	if (a->is_reply_due || *a->is_asking)
		return 0;
	r = ssh2_more_ask(a->session, &request);
	if (r == 0)
		a->is_reply_due = true;
	return r == LIBSSH2_ERROR_EAGAIN ? 0 : r;
}

static uint64_t next_ms(const struct ssh_alive *a)
{
	uint64_t last = a->asked_ms > a->heard_ms ? a->asked_ms : a->heard_ms;

	return last + a->interval_ms;
}

int ssh_alive_check(struct ssh_alive *a, uint64_t n_received)
{
	uint64_t now = ssh_now_ms();
	int64_t asleep_ms = ssh_alive_slept_ms();

	note_heard(a, n_received, now);
	if (asleep_ms - a->asleep_ms > SLEPT_MS) {
		a->asleep_ms = asleep_ms;
		a->wake_deadline_ms = now + WAKE_PATIENCE_MS;
		return ask(a, now);
	}
	if (a->wake_deadline_ms && now >= a->wake_deadline_ms)
		return LIBSSH2_ERROR_TIMEOUT;
	if (a->interval_ms == 0 || now < next_ms(a))
		return 0;
	return a->n_unanswered >= a->count_max ? LIBSSH2_ERROR_TIMEOUT : ask(a, now);
}

int ssh_alive_timeout_ms(const struct ssh_alive *a)
{
	uint64_t now = ssh_now_ms(), at = next_ms(a);

	if (a->wake_deadline_ms && (a->wake_deadline_ms < at || a->interval_ms == 0))
		at = a->wake_deadline_ms;
	else if (a->interval_ms == 0)
		return INT32_MAX;
	if (at <= now)
		return 0;
	return at - now > INT32_MAX ? INT32_MAX : (int)(at - now) + 1;
}
