/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Where guests are plugged in: the link or links that the options ask for, and a QEMU
 * of ours with its devices. */
#include <stdbool.h>

struct app_link;
struct loop;
struct options;
struct qemu;
struct shared_links;
struct stack;
struct stack_config;

struct app_link_setup {	     /* what it points to outlives it */
	struct stack *stack; /* gets the links */
	const struct stack_config *network;
	struct options *options; /* completed: with the sockets that were chosen */
	void (*on_qemu_exit)(void *arg, int status);
	void *arg;
};

/* Descriptors that the options say were inherited. To be called before anything is
 * opened: the number might be given to a descriptor of ours then. 0 or -EBADF, after
 * a line for each that is not there. */
int app_link_check_inherited(const struct options *options);

/* Opens them; QEMU is not started. -errno, logged. */
int app_link_new(struct loop *loop, const struct app_link_setup *setup, struct app_link **out);
/* After the users of its shared links. The links themselves are the stack's. Accepts
 * NULL. */
void app_link_free(struct app_link *link);

/* QEMU ends, and then on_qemu_exit() is called; false: it does not run. */
bool app_link_stop_qemu(struct app_link *link);
/* If there is one. 0 or -errno, logged. */
int app_link_start_qemu(struct app_link *link);
/* Our end of the agent's port that QEMU gives to the guest, the caller's from now
 * on; -1: there is none. */
int app_link_take_agent_fd(struct app_link *link);
struct shared_links *app_link_shared(struct app_link *link); /* NULL: a single guest */
