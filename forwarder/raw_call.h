/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The host's first words on a raw flow (raw_header.h): sends the header once the
 * connection is there, and waits for the agent's answer. All on the loop thread. */

struct loop;
struct raw_call;
struct rpc_open;
struct stream;

/* Longer than the agent tries to connect. */
#define RAW_CALL_PATIENCE_MS 20000

/* Called once, after the call is gone. 0: agent, past the answer, is the owner's;
 * -errno of the guest; or -ENOTCONN: the agent was not reached, or is none. */
typedef void raw_call_fn(void *arg, int error, struct stream *agent);

struct raw_call_owner {
	raw_call_fn *answered;
	void *arg;
};

/* Takes agent, which may still be connecting; on error (-ENOMEM) it is reset.
 * answered() is not called before this has returned. */
int raw_call_new(struct loop *loop, struct stream *agent, const struct rpc_open *open,
		 const struct raw_call_owner *owner, struct raw_call **out);
void raw_call_free(struct raw_call *call); /* resets the connection; accepts NULL */
