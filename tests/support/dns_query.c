/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/dns_query.h"

#include <string.h>

#include "netstack/base/bytes.h"
#include "netstack/dns.h"

size_t dns_query_make(uint8_t *m, uint16_t id, const char *name, uint16_t type)
{
	size_t at = DNS_HEADER_SIZE;

	memset(m, 0, DNS_HEADER_SIZE);
	put_be16(m, id);
	m[2] = 1; /* recursion desired */
	m[5] = 1;
	while (*name) {
		size_t n = strcspn(name, ".");

		m[at++] = (uint8_t)n;
		memcpy(m + at, name, n);
		at += n;
		name += n + (name[n] == '.');
	}
	m[at++] = 0;
	put_be16(m + at, type);
	put_be16(m + at + 2, 1);
	return at + 4;
}
