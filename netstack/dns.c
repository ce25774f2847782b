/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/dns.h"

#include <errno.h>
#include <string.h>

#include "netstack/base/bytes.h"

#define FLAG_RESPONSE 0x8000U
#define FLAG_OPCODE 0x7800U
#define FLAG_AUTHORITATIVE 0x0400U
#define FLAG_RECURSION_DESIRED 0x0100U
#define FLAG_RECURSION_AVAILABLE 0x0080U
#define CLASS_IN 1
#define HOST_TTL_S 5

/* Names compare without regard to ASCII case, and to that alone (RFC 4343);
 * tolower() knows other letters. */
static char lower(uint8_t c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* Returns the offset behind the name, or 0. Queries do not compress names. */
static size_t parse_name(const uint8_t *m, size_t len, size_t at, char name[DNS_NAME_SIZE])
{
	size_t n = 0;

	while (at < len && m[at] != 0) {
		size_t label = m[at++];

		if (label > 63 || at + label > len || n + label + 2 > DNS_NAME_SIZE)
			return 0;
		if (n)
			name[n++] = '.';
		for (size_t i = 0; i < label; i++)
			name[n++] = lower(m[at + i]);
		at += label;
	}
	name[n] = '\0';
	return at < len ? at + 1 : 0;
}

int dns_parse_query(const uint8_t *m, size_t len, struct dns_question *out)
{
	size_t at;

	if (len < DNS_HEADER_SIZE || get_be16(m + 2) & (FLAG_RESPONSE | FLAG_OPCODE) ||
	    get_be16(m + 4) != 1)
		return -EINVAL;
	out->id = get_be16(m);
	at = parse_name(m, len, DNS_HEADER_SIZE, out->name);
	if (at == 0 || at + 4 > len || get_be16(m + at + 2) != CLASS_IN)
		return -EINVAL;
	out->type = get_be16(m + at);
	out->end = at + 4;
	return 0;
}

/* Labels of 1 to 63 bytes, as parse_name() makes them. */
static size_t write_name(uint8_t *at, const char *name)
{
	size_t n = 0;

	while (*name) {
		size_t label = strcspn(name, ".");

		at[n++] = (uint8_t)label;
		memcpy(at + n, name, label);
		n += label;
		name += label;
		name += *name == '.';
	}
	at[n++] = 0;
	return n;
}

static size_t write_data(uint8_t *at, const struct dns_answer *answer)
{
	size_t size = ipaddr_is_v4(&answer->address) ? 4 : 16;

	if (answer->has_name)
		return write_name(at, answer->name);
	memcpy(at, answer->address.b + 16 - size, size);
	return size;
}

size_t dns_write_reply(const uint8_t *query, const struct dns_question *q,
		       const struct dns_answer *answer, uint8_t reply[static DNS_REPLY_MAX])
{
	uint16_t flags = (uint16_t)(FLAG_RESPONSE | FLAG_RECURSION_AVAILABLE | answer->rcode |
				    (get_be16(query + 2) & FLAG_RECURSION_DESIRED));
	uint8_t *at = reply + q->end;
	size_t size;

	if (answer->rcode != DNS_RCODE_SERVFAIL)
		flags |= FLAG_AUTHORITATIVE;
	memcpy(reply, query, q->end);
	put_be16(reply + 2, flags);
	memset(reply + 6, 0, 6);
	if (!answer->has_address && !answer->has_name)
		return q->end;
	put_be16(reply + 6, 1);
	put_be16(at, 0xc000 | DNS_HEADER_SIZE); /* the name of the question */
	put_be16(at + 2, q->type);
	put_be16(at + 4, CLASS_IN);
	put_be32(at + 6, HOST_TTL_S);
	size = write_data(at + 12, answer);
	put_be16(at + 10, (uint16_t)size);
	return q->end + 12 + size;
}

/* --- reverse names -------------------------------------------------------- */

/* Four numbers, the last one first. */
static bool parse_reverse4(const char *name, struct ipaddr *out)
{
	uint8_t bytes[4];

	for (int i = 3; i >= 0; i--) {
		unsigned int value = 0, n = 0;

		for (; n < 3 && name[n] >= '0' && name[n] <= '9'; n++)
			value = value * 10 + (unsigned int)(name[n] - '0');
		if (n == 0 || value > 255 || name[n] != '.')
			return false;
		bytes[i] = (uint8_t)value;
		name += n + 1;
	}
	*out = ipaddr_from_v4(bytes);
	return strcmp(name, "in-addr.arpa") == 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 32 hex digits, the last one first. */
static bool parse_reverse6(const char *name, struct ipaddr *out)
{
	uint8_t bytes[16] = { 0 };

	for (int i = 31; i >= 0; i--) {
		int digit = hex_digit(name[0]);

		if (digit < 0 || name[1] != '.')
			return false;
		bytes[i / 2] |= (uint8_t)(i % 2 ? digit : digit << 4);
		name += 2;
	}
	*out = ipaddr_from_v6(bytes);
	return strcmp(name, "ip6.arpa") == 0;
}

bool dns_parse_reverse(const char *name, struct ipaddr *out)
{
	return parse_reverse4(name, out) || parse_reverse6(name, out);
}

/* A line "nameserver ADDRESS"; what follows the address is ignored. */
static bool parse_resolver(const char *line, size_t len, struct endpoint *out)
{
	static const char keyword[] = "nameserver";
	const size_t keyword_len = sizeof(keyword) - 1;
	char address[ADDR_TEXT_SIZE] = "";
	size_t n;

	if (len <= keyword_len || strncmp(line, keyword, keyword_len) != 0 ||
	    !strchr(" \t", line[keyword_len]))
		return false;
	line += keyword_len;
	line += strspn(line, " \t");
	n = strcspn(line, " \t\r\n#;");
	if (n < sizeof(address))
		memcpy(address, line, n);
	out->port = 53;
	return ipaddr_parse(address, &out->addr) == 0;
}

bool dns_find_resolver(const char *text, struct endpoint *out)
{
	while (*text) {
		size_t len = strcspn(text, "\n");

		if (parse_resolver(text, len, out))
			return true;
		text += len;
		text += *text == '\n';
	}
	return false;
}
