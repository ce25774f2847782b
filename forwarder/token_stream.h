/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A stream that shows a token to the agent before anything else is written. It is
 * the other stream with that put in front; an agent that hangs up before it has
 * said anything is taken to have refused the token: -EACCES. */
#include "netstack/stream.h"

struct agent_token;

/* Takes inner; on error (-ENOMEM) it is reset. The token is copied. */
int token_stream_new(struct stream *inner, const struct agent_token *token, struct stream **out);
