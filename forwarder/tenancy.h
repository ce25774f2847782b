/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Who gets which place on the host. The claims of one guest port for one place
 * are one tenant; the first tenant of an outlet holds it, the others wait or
 * move on to the next free port. */
#include "forwarder/outlet.h"

enum publication_state {
	PUBLICATION_FORWARDING,
	PUBLICATION_WAITING, /* another guest port has the host port */
	PUBLICATION_FAILED,  /* the host port cannot be had; tried again */
};
const char *publication_state_name(enum publication_state state);

struct publication_status {
	const struct publication *publication;
	struct endpoint host; /* differs from the publication's with next_free_port */
	enum publication_state state;
	const char *error;	       /* why not, or the last one of a dial; NULL: none */
	uint64_t retry_in_ms;	       /* when FAILED */
	bool is_also_open;	       /* ::1 is served */
	bool is_shared;		       /* counted with an earlier publication: */
	struct host_counters counters; /* zero when is_shared */
};

int outlets_new(struct loop *loop, const struct publisher_config *config,
		const struct publisher_dialer *dialer, struct outlets **out);
/* Without claims. Accepts NULL. */
void outlets_free(struct outlets *all);
void outlets_configure(struct outlets *all, const struct publisher_config *config);

/* Nothing happens to a listener before outlets_settle(). 0 or -ENOMEM. */
int outlets_add(struct outlets *all, struct claim *claim);
void outlets_remove(struct claim *claim);
void outlets_settle(struct outlets *all);
void outlets_status(const struct claim *claim, struct publication_status *out);
