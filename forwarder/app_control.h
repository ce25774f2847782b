/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the control socket can ask of a running netfwd: the ops of control.h over
 * the stack, the policy and what was exposed. */
struct app_control;
struct guest_set;
struct loop;
struct loopbacks;
struct options;
struct stack;
struct vsock;

/* All outlive it. */
struct app_control_setup {
	struct stack *stack;
	struct vsock *vsock; /* NULL: the guest has none */
	struct guest_set *guests;
	const struct options *options;
	struct loopbacks *loopbacks; /* NULL: there are none */
};

/* Opens the socket. 0 or -errno, logged. */
int app_control_new(struct loop *loop, const struct app_control_setup *setup,
		    struct app_control **out);
void app_control_free(struct app_control *control); /* accepts NULL */
