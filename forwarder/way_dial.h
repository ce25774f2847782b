/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A stream to a guest that several ways may lead to: they are tried one after the
 * other until one is connected. The user has the stream from the start. */
#include <stdbool.h>

#include "forwarder/tunnel.h"

struct loop;

#define WAY_DIAL_MAX 8

struct way_dial_plan {
	/* Starts one try; as tunnel_ops.dial. */
	int (*try)(void *arg, unsigned int kind, const struct tunnel_place *guest,
		   struct stream **out);
	/* A try has failed: whether that is the answer, and no other way is to be tried. */
	bool (*is_final)(void *arg, unsigned int kind, int error);
	unsigned int (*limit_ms)(void *arg, unsigned int kind); /* when there are others */
	void *arg;						/* outlives the tries */
	unsigned int kinds[WAY_DIAL_MAX];			/* n of them */
	unsigned int n;
};

/* 0, or -errno of the last way when none could even be tried. Of the errors of
 * several ways, a refusal is what the stream tells in the end. */
int way_dial(struct loop *loop, const struct way_dial_plan *plan, const struct tunnel_place *guest,
	     struct stream **out);
