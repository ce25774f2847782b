/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The one owner of what netfwd listens on in the guest: reverse forwards, which lead
 * to ports and sockets of the host. As the publisher does for the host, it compares
 * what is wanted with what there is. A place that cannot be had is tried again, from
 * RETRY_MIN_MS doubling to RETRY_MAX_MS, and at once when a way into the guest comes
 * up. Connections are never ended by what is wanted or not. All on the loop thread. */
#include "forwarder/host_listener.h"
#include "forwarder/publication.h"
#include "forwarder/rule.h"
#include "forwarder/tenancy.h"

struct loop;
struct reverses;
struct ways;

#define REVERSE_MAX 1024

struct reverse_forward {
	enum forward_proto proto;
	struct endpoint guest; /* where the guest's programs connect to; or */
	char guest_socket[PUBLICATION_PATH_SIZE];
	struct endpoint host; /* where the host's server is; or */
	char host_socket[PUBLICATION_PATH_SIZE];
	enum rule_via via;
	unsigned int rule_index;
};

/* Being made. */
struct reverse_list {
	struct reverse_forward items[REVERSE_MAX];
	unsigned int n, n_left_out;
};
void reverse_list_add(struct reverse_list *list, const struct reverse_forward *item);

/* guest_name: for events, outlives it; "" for the only guest. */
int reverses_new(struct loop *loop, struct ways *ways, const char *guest_name,
		 struct reverses **out);
/* Ends everything, with its events. Accepts NULL. */
void reverses_free(struct reverses *all);
/* The whole of what is wanted from now on. 0 or -ENOMEM: some is missing. */
int reverses_set(struct reverses *all, const struct reverse_list *list);
/* A way has come up, or gone. */
void reverses_retry(struct reverses *all);

struct reverse_status {
	const struct reverse_forward *forward;
	enum publication_state state;
	const char *via;   /* name of the tunnel; NULL: none */
	const char *error; /* NULL: none */
	struct host_counters counters;
};
typedef void reverses_each_fn(void *arg, const struct reverse_status *status);
void reverses_each(const struct reverses *all, reverses_each_fn *fn, void *arg);
