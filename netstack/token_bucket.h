/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A rate limit: so many per second on average, so many at once. Pure. */
#include <stdbool.h>
#include <stdint.h>

struct token_bucket {
	uint32_t per_second, burst;
	uint64_t level_m; /* thousandths of a token */
	uint64_t filled_ms;
};

static inline void token_bucket_init(struct token_bucket *b, uint32_t per_second, uint32_t burst,
				     uint64_t now_ms)
{
	*b = (struct token_bucket){ per_second, burst, burst * UINT64_C(1000), now_ms };
}

/* Takes one if there is one. */
static inline bool token_bucket_take(struct token_bucket *b, uint64_t now_ms)
{
	uint64_t full_m = b->burst * UINT64_C(1000);
	uint64_t elapsed_ms = now_ms - b->filled_ms;

	/* what fills it from empty is as good as any longer time */
	if (elapsed_ms >= full_m)
		elapsed_ms = full_m;
	b->level_m += elapsed_ms * b->per_second;
	if (b->level_m > full_m)
		b->level_m = full_m;
	b->filled_ms = now_ms;
	if (b->level_m < 1000)
		return false;
	b->level_m -= 1000;
	return true;
}
