/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What rules ask for whatever the guest listens on: static forwards, sockets of the
 * guest, and reverse forwards. Pure. */
#include "forwarder/publication.h"
#include "forwarder/reverse.h"
#include "forwarder/rule.h"

/* Adds what the set's rules make, one for each port; those of --forward are left out. */
void static_rules_list(const struct rule_set *set, struct publication_list *forwards,
		       struct reverse_list *reverse);
