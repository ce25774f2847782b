/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Who the default gateway is: /proc/net/route (proc(5)), IPv4. */
#include <stdbool.h>

#include "netstack/addr.h"

/* Whether some default route of the text leads by this address. Pure. */
bool gateway_in_text(const char *routes, const struct ipaddr *addr);
/* The same of this machine, as of now: addresses come by DHCP. */
bool gateway_is(const struct ipaddr *addr);
