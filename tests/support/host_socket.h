/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Servers on the host, for tests in a network of their own. Sockets do not
 * block. Errors abort the test. */
#include <stdint.h>

#include "netstack/addr.h"

/* Listens on an address, port 0 being any: *port is the one it got. */
int host_listen(const char *address, uint16_t *port);
/* The next connection, or -1 if nobody has connected yet. */
int host_accept(int listener);
/* How many descriptors this process has open. */
unsigned int host_descriptors(void);
