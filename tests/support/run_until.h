/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Runs a loop, the real or the fake one, until a condition holds; it is looked
 * at before every sleep, and may do things itself. The test fails when that
 * takes absurdly long. */
#include <stdbool.h>

struct loop;

typedef bool condition_fn(void *arg);
void run_until(struct loop *loop, condition_fn *condition, void *arg);
/* A few rounds, for what must not happen. */
void run_a_little(struct loop *loop);
