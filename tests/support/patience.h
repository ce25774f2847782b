/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Waiting for something that the kernel or a peer does, with a fake loop.
 * Nothing is asserted of how long it takes, but a test that waits in vain
 * fails. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/fake_loop.h"

#define PATIENCE_STEPS 20000
#define PATIENCE_STEP_US 500

static inline int patience_start(struct loop *loop)
{
	fake_loop_settle(loop);
	return 0;
}

static inline int patience_step(struct loop *loop, int steps, const char *condition)
{
	if (steps > PATIENCE_STEPS) {
		(void)fprintf(stderr, "waited in vain: %s\n", condition);
		abort();
	}
	usleep(PATIENCE_STEP_US);
	fake_loop_settle(loop);
	return steps + 1;
}

/* Turns the loop until the condition holds. */
#define UNTIL(loop, condition)                                 \
	for (int steps_ = patience_start(loop); !(condition);  \
	     steps_ = patience_step(loop, steps_, #condition)) \
	continue
