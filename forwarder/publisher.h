/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The one owner of what netfwd listens on at the host. Its users say what is
 * wanted, each the whole of it whenever that changes; the publisher compares
 * it with what there is and does the difference, all of one call together.
 *
 * Publications of one guest port for one host port share a listener, which goes
 * with the last of them: 0.0.0.0 and [::] of a container's port are one. A
 * listener nobody wants any more refuses clients at once and keeps its port for
 * the grace period, so that a restart in the guest does not lose it. A port
 * that is busy is tried again, from RETRY_MIN_MS doubling to RETRY_MAX_MS. When
 * two guests want one port, the first keeps it as long as it listens.
 *
 * Which way leads to the guest is asked at each connection. Connections are
 * never ended by what is published or not. All on the loop thread. */
#include "forwarder/tenancy.h"

struct loop;
struct publisher;

/* More than that of one source is left out, and said once. */
#define PUBLISHER_MAX_PER_SOURCE 4096

int publisher_new(struct loop *loop, const struct publisher_config *config,
		  const struct publisher_dialer *dialer, struct publisher **out);
/* Ends everything, with its events. Accepts NULL. */
void publisher_free(struct publisher *publisher);

/* The whole of what `source` ("config", "guest:NAME", "control") wants from now
 * on; n 0 is nothing. Sources add up, and duplicates are one. Those that were
 * there before have precedence when there are too many. 0, or -ENOMEM, and some
 * of what was added is missing. */
int publisher_set(struct publisher *publisher, const char *source, const struct publication *items,
		  unsigned int n);

/* For a reload; what is paused or waits to be tried again keeps its time. */
void publisher_configure(struct publisher *publisher, const struct publisher_config *config);

/* Every publication, in the order of sources and of their arrival. */
typedef void publisher_each_fn(void *arg, const char *source,
			       const struct publication_status *status);
void publisher_each(struct publisher *publisher, publisher_each_fn *fn, void *arg);
/* How many publications of the source were left out, by the last call. */
unsigned int publisher_left_out(const struct publisher *publisher, const char *source);
