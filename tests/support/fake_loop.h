/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* netstack/base/loop.h over poll(2) with a clock that only the test moves. A
 * test lists fake_loop.c among its sources; the linker then leaves the real
 * loop out. Signals and child processes are not part of it. */
#include <stdbool.h>
#include <stdint.h>

struct loop;

/* One round without sleeping. Whether any callback was called. */
bool fake_loop_turn(struct loop *loop);
/* Rounds until one in which nothing happens. Aborts if that does not come: a
 * watch or a timer that spins. */
void fake_loop_settle(struct loop *loop);
/* Moves the clock, stopping at every timer on the way, and settles there. */
void fake_loop_advance(struct loop *loop, uint64_t ms);
