/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A question to a resolver, as a guest writes it (RFC 1035, section 4). */
#include <stddef.h>
#include <stdint.h>

/* For a name of dots and letters, with recursion desired; returns its length, at most
 * 18 more than the name's. */
size_t dns_query_make(uint8_t *m, uint16_t id, const char *name, uint16_t type);
