/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_backoff.h"

#include <sys/random.h>

#define PAUSE_MIN_MS 100U
#define PAUSE_MAX_MS 600U
/* After so long the pauses may grow further. */
#define SOON_MS 120000U
#define LATER_MAX_MS 5000U

void ssh_backoff_reset(struct ssh_backoff *b, uint64_t now_ms)
{
	*b = (struct ssh_backoff){ .due_ms = now_ms };
}

/* ms, up to a quarter more or less. */
static unsigned int vary(unsigned int ms)
{
	uint16_t dice = 0;

	(void)!getrandom(&dice, sizeof(dice), GRND_NONBLOCK); /* 0 will do */
	return ms - ms / 4 + dice % (ms / 2 + 1);
}

void ssh_backoff_failed(struct ssh_backoff *b, uint64_t now_ms)
{
	unsigned int max = PAUSE_MAX_MS;

	if (b->pause_ms == 0) {
		b->since_ms = now_ms;
		b->pause_ms = PAUSE_MIN_MS;
	} else {
		if (now_ms - b->since_ms > SOON_MS)
			max = LATER_MAX_MS;
		b->pause_ms = b->pause_ms * 2 < max ? b->pause_ms * 2 : max;
	}
	b->tried_ms = now_ms;
	b->due_ms = now_ms + vary(b->pause_ms);
}

void ssh_backoff_now(struct ssh_backoff *b)
{
	b->due_ms = 0;
}

uint64_t ssh_backoff_due_ms(const struct ssh_backoff *b)
{
	return b->due_ms;
}

void ssh_backoff_hurry(struct ssh_backoff *b)
{
	uint64_t soonest = b->tried_ms + PAUSE_MIN_MS;

	if (b->due_ms > soonest)
		b->due_ms = soonest;
}
