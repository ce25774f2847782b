/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's query, and the host's resolv.conf. */
#include <string.h>

#include "netstack/dns.h"
#include "tests/fuzz/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_query(const uint8_t *message, size_t len)
{
	static const struct dns_answer host = { .has_address = true,
						.address = { { 0xfd, [15] = 2 } } };
	struct dns_question q;
	struct ipaddr addr;
	uint8_t *reply;

	if (dns_parse_query(message, len, &q) < 0)
		return;
	check(q.end <= len && q.end > DNS_HEADER_SIZE);
	check(strlen(q.name) < DNS_NAME_SIZE);
	(void)dns_parse_reverse(q.name, &addr);
	reply = malloc(DNS_REPLY_MAX);
	check(reply != NULL);
	check(dns_write_reply(message, &q, &host, reply) == q.end + 28);
	check(memcmp(reply + DNS_HEADER_SIZE, message + DNS_HEADER_SIZE, q.end - DNS_HEADER_SIZE) ==
	      0);
	check(dns_parse_query(reply, q.end + 28, &q) < 0); /* a response is no query */
	free(reply);
}

static void fuzz_resolv_conf(const uint8_t *bytes, size_t len)
{
	char *text = malloc(len + 1);
	struct endpoint found;

	check(text != NULL);
	memcpy(text, bytes, len);
	text[len] = '\0';
	if (dns_find_resolver(text, &found))
		check(found.port == 53 && strstr(text, "nameserver") != NULL);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] & 1)
		fuzz_resolv_conf(data + 1, size - 1);
	else
		fuzz_query(data + 1, size - 1);
	return 0;
}
