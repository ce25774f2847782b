/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The bodies of requests to the control socket, as plain data that keeps its
 * promises. Pure. Strict: a member that is not known, missing or of another type
 * is an error that names it. */
#include <stddef.h>

#include "forwarder/forward_spec.h"
#include "forwarder/rule.h"

#define CONTROL_ERROR_SIZE 512

/* "auto", "direct", "netns", "ssh" or "grpc". 0 or -EINVAL. */
int control_via_parse(const char *name, enum rule_via *out);

/* {"proto":"tcp","host":"127.0.0.1:8080","guest":"80","via":"direct"}, host and
 * guest as in --forward: [ADDR:]PORT[-LAST]; via may be missing. */
struct control_forward {
	struct forward_spec spec;
	enum rule_via via; /* RULE_VIA_DEFAULT: not said */
};

/* 0, or -EINVAL with a line that says what is wrong. */
int control_decode_forward(const char *body, size_t len, struct control_forward *out,
			   char error[static CONTROL_ERROR_SIZE]);

/* {"added":[{"protocol":"tcp","ip":"0.0.0.0","port":80},...],"removed":[...]},
 * either may be missing. What an agent says has changed since its last report;
 * the removals come first. */
struct control_report {
	struct rule_listener *listeners; /* the added, then the removed */
	size_t n_added, n_removed;
};

#define CONTROL_LISTENERS_MAX 100000 /* in one report, added and removed together */
#define CONTROL_REPORT_SIZE_MAX (8U << 20)

/* 0, or -EINVAL with a line that names the entry: "added[3].port: ...";
 * -E2BIG for too many entries, -ENOMEM. */
int control_decode_report(const char *body, size_t len, struct control_report *out,
			  char error[static CONTROL_ERROR_SIZE]);
void control_report_deinit(struct control_report *report);
