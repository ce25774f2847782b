/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Waiting for something that the kernel or a peer does. Nothing is asserted of
 * how long it takes, but a test that waits in vain fails. */
#include <unistd.h>

#define PATIENCE_STEPS 20000
#define PATIENCE_STEP_US 500

/* Turns the fake loop until the condition holds. Needs cmocka.h and
 * fake_loop.h. */
#define UNTIL(loop, condition)                                                \
	do {                                                                  \
		int steps_ = 0;                                               \
		fake_loop_settle(loop);                                       \
		while (!(condition)) {                                        \
			if (++steps_ > PATIENCE_STEPS)                        \
				fail_msg("in vain: %s", #condition);          \
			usleep(PATIENCE_STEP_US);                             \
			fake_loop_settle(loop);                               \
		}                                                             \
	} while (0)
