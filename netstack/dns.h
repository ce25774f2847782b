/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* DNS messages (RFC 1035), as far as a relay that knows a few names must read
 * them. Pure; the guest's bytes are checked here. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netstack/addr.h"

#define DNS_HEADER_SIZE 12U
#define DNS_NAME_SIZE 254U /* longest name as text (RFC 1035, 2.3.4), with NUL */
#define DNS_TYPE_A 1
#define DNS_TYPE_PTR 12
#define DNS_TYPE_AAAA 28
#define DNS_RCODE_OK 0
#define DNS_RCODE_SERVFAIL 2
#define DNS_RCODE_NXDOMAIN 3

struct dns_question {
	uint16_t id;
	char name[DNS_NAME_SIZE]; /* lower case, labels joined by dots, no final one */
	uint16_t type;
	size_t end; /* offset behind the question */
};

/* A query with exactly one question of class IN. -EINVAL otherwise. */
int dns_parse_query(const uint8_t *message, size_t len, struct dns_question *out);

/* What is said to a question: an address, a name, or neither. */
struct dns_answer {
	uint8_t rcode;
	bool has_address, has_name;
	struct ipaddr address;	  /* for A and AAAA */
	char name[DNS_NAME_SIZE]; /* for PTR, as in struct dns_question */
};

/* `query` is the message the question came in. Returns the reply's length; it
 * takes at most DNS_REPLY_MAX bytes of `reply`. */
#define DNS_REPLY_MAX (DNS_HEADER_SIZE + 2U * (DNS_NAME_SIZE + 2U) + 4U + 12U)
size_t dns_write_reply(const uint8_t *query, const struct dns_question *q,
		       const struct dns_answer *answer, uint8_t reply[static DNS_REPLY_MAX]);

/* The address that a name of in-addr.arpa (RFC 1035, section 3.5) or ip6.arpa
 * (RFC 3596, section 2.5) stands for. False if it is no whole one. */
bool dns_parse_reverse(const char *name, struct ipaddr *out);

/* The first resolver of a resolv.conf(5) text: port 53. False if none. */
bool dns_find_resolver(const char *resolv_conf, struct endpoint *out);
