/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* portForwardTypes: which way tcp and udp go, where a rule does not say. Pure. */
#include "forwarder/problems.h"
#include "forwarder/rule.h"

/* As written; RULE_VIA_DEFAULT: not given. Then tcp goes by SSH, udp by gRPC. */
struct rule_types_source {
	enum rule_via tcp, udp, any;
};

/* What the environment says, or NULL. */
struct rule_types_env {
	const char *ssh_port_forwarder; /* LIMA_SSH_PORT_FORWARDER, deprecated */
	const char *ssh_over_vsock;	/* LIMA_SSH_OVER_VSOCK, deprecated */
};

/* Writes set->types, for which set->rules matter: see rule_find_switch_off().
 * 0, or -EINVAL after all that is wrong was added to problems. */
int rule_types_resolve(const struct rule_types_source *source, const struct rule_types_env *env,
		       struct rule_set *set, struct problems *problems);

/* Whether SSH goes over vsock: the environment, if it says, else configured. */
enum rule_switch rule_types_over_vsock(enum rule_switch configured,
				       const struct rule_types_env *env, struct problems *problems);
