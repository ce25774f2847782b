/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The command line and the configuration file together. Pure. */
#include "forwarder/config.h"
#include "forwarder/options.h"

/* Takes from the file what the command line leaves open, and keeps config in
 * options->config: its strings are borrowed, so it must live longer. A guest on
 * the command line replaces the file's. 0, or -EINVAL with one line. */
int options_merge(struct options *options, const struct config *config,
		  char error[static OPTIONS_ERROR_SIZE]);

/* Before the merge: what the command line says of the guest; after it: all that is
 * known. */
enum config_guest_kind options_guest_kind(const struct options *options);

/* All rules in the order of matching: each --forward is a static rule through
 * the NIC and comes first, then the file's. config may be NULL. set->rules is
 * *rules, to be free()d; it borrows config's strings. 0 or -ENOMEM. */
int options_rules(const struct options *options, const struct config *config, struct rule **rules,
		  struct rule_set *set);
