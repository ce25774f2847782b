/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/tunnel.h"

#include <stdio.h>

void tunnel_set_state(struct tunnel *t, enum tunnel_state state, const char *error)
{
	(void)snprintf(t->error, sizeof(t->error), "%s", error);
	t->state = state;
	if (t->changed)
		t->changed(t->changed_arg);
}
