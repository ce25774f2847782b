/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A stream that can be handed out before it is known what will carry it: until
 * then it is not connected. Afterwards it is the other stream in all but name,
 * with the same ways to save copying. */
#include "netstack/stream.h"

struct stream_late;

/* dropped() is called when the user ends the stream while nothing carries it.
 * 0 or -ENOMEM. */
int stream_late_new(void (*dropped)(void *arg), void *arg, struct stream_late **out);
/* The user's end, which frees it. */
struct stream *stream_late_stream(struct stream_late *late);

/* One of these, once, not from inside a call of the user. The user may have ended
 * the stream when they return. */
void stream_late_become(struct stream_late *late, struct stream *inner); /* takes it */
void stream_late_fail(struct stream_late *late, int error);
