/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Reading an input piece by piece: a target's small programs. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct cursor {
	const uint8_t *at;
	size_t left;
};

/* Zero behind the end. */
static inline uint8_t take8(struct cursor *c)
{
	if (c->left == 0)
		return 0;
	c->left--;
	return *c->at++;
}

static inline uint16_t take16(struct cursor *c)
{
	uint8_t high = take8(c);

	return (uint16_t)(high << 8 | take8(c));
}

/* Up to len bytes in place; returns how many there are. */
static inline size_t take_bytes(struct cursor *c, size_t len, const uint8_t **bytes)
{
	size_t n = len < c->left ? len : c->left;

	*bytes = c->at;
	c->at += n;
	c->left -= n;
	return n;
}

/* What must hold for every input. */
static inline void check(int holds)
{
	if (!holds)
		abort();
}
