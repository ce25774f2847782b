/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/lease.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/bytes.h"

#define LINE_MAX_SIZE 256

static uint32_t number_of(const struct ipaddr *addr)
{
	return get_be32(ipaddr_v4_bytes(addr));
}

static struct ipaddr address_of(uint32_t number)
{
	uint8_t bytes[4];

	put_be32(bytes, number);
	return ipaddr_from_v4(bytes);
}

void lease_table_init(struct lease_table *t, const struct lease_range *range)
{
	t->range = *range;
	t->n = t->n_reserved = 0;
}

void lease_reserve(struct lease_table *t, const struct ipaddr *addr)
{
	assert(t->n_reserved < LEASE_MAX_RESERVED);
	t->reserved[t->n_reserved++] = *addr;
}

static bool is_reserved(const struct lease_table *t, const struct ipaddr *addr)
{
	for (unsigned int i = 0; i < t->n_reserved; i++) {
		if (ipaddr_equal(&t->reserved[i], addr))
			return true;
	}
	return false;
}

static bool is_in_range(const struct lease_table *t, const struct ipaddr *addr)
{
	return ipaddr_is_v4(addr) && number_of(addr) >= number_of(&t->range.first) &&
	       number_of(addr) <= number_of(&t->range.last) && !is_reserved(t, addr);
}

/* --- finding -------------------------------------------------------------- */

static struct lease *find_mac(struct lease_table *t, const struct mac *mac)
{
	for (unsigned int i = 0; i < t->n; i++) {
		struct lease *l = &t->leases[i];

		if (l->state != LEASE_DECLINED && mac_equal(&l->client.mac, mac))
			return l;
	}
	return NULL;
}

struct lease *lease_find(struct lease_table *t, const struct lease_client *client)
{
	struct lease *l = find_mac(t, &client->mac);

	for (unsigned int i = 0; !l && client->id_len && i < t->n; i++) {
		struct lease *with_id = &t->leases[i];

		if (with_id->state != LEASE_DECLINED && !with_id->is_static &&
		    with_id->client.id_len == client->id_len &&
		    memcmp(with_id->client.id, client->id, client->id_len) == 0)
			l = with_id;
	}
	return l;
}

struct lease *lease_of_address(struct lease_table *t, const struct ipaddr *addr)
{
	for (unsigned int i = 0; i < t->n; i++) {
		if (ipaddr_equal(&t->leases[i].addr, addr))
			return &t->leases[i];
	}
	return NULL;
}

struct lease *lease_of_name(struct lease_table *t, const char *name)
{
	for (unsigned int i = 0; i < t->n; i++) {
		if (*name && strcmp(t->leases[i].name, name) == 0)
			return &t->leases[i];
	}
	return NULL;
}

/* --- giving --------------------------------------------------------------- */

static struct lease *add(struct lease_table *t, const struct ipaddr *addr)
{
	struct lease *l = &t->leases[t->n];

	if (t->n == LEASE_MAX)
		return NULL;
	t->n++;
	*l = (struct lease){ .addr = *addr };
	return l;
}

int lease_add_static(struct lease_table *t, const struct mac *mac, const struct ipaddr *addr,
		     const char *name)
{
	struct lease *l;

	if (find_mac(t, mac) || lease_of_address(t, addr) || is_reserved(t, addr))
		return -EEXIST;
	l = add(t, addr);
	if (!l)
		return -ENOSPC;
	l->is_static = true;
	l->state = LEASE_BOUND;
	l->client.mac = *mac;
	return *name ? lease_set_name(t, l, name) : 0;
}

/* One that nobody has had: the number behind the last address given is tried
 * first only where all before it are taken, so small numbers are used again. */
static struct lease *choose_new(struct lease_table *t)
{
	uint32_t first = number_of(&t->range.first), last = number_of(&t->range.last);

	/* of so many numbers one at least is free */
	if (last - first > t->n + t->n_reserved)
		last = first + t->n + t->n_reserved;
	for (uint32_t n = first; n <= last; n++) {
		struct ipaddr addr = address_of(n);

		if (is_in_range(t, &addr) && !lease_of_address(t, &addr))
			return add(t, &addr);
	}
	return NULL;
}

/* The one that ended first, or is declined for no reason any more. */
static struct lease *choose_ended(struct lease_table *t, uint64_t now_s)
{
	struct lease *oldest = NULL;

	for (unsigned int i = 0; i < t->n; i++) {
		struct lease *l = &t->leases[i];

		if (!l->is_static && l->until_s <= now_s && is_in_range(t, &l->addr) &&
		    (!oldest || l->until_s < oldest->until_s))
			oldest = l;
	}
	return oldest;
}

static struct lease *choose_wanted(struct lease_table *t, const struct ipaddr *wanted)
{
	if (ipaddr_is_any(wanted) || !is_in_range(t, wanted) || lease_of_address(t, wanted))
		return NULL;
	return add(t, wanted);
}

struct lease *lease_choose(struct lease_table *t, const struct lease_client *client,
			   const struct ipaddr *wanted, uint64_t now_s)
{
	struct lease *l = lease_find(t, client);

	if (l)
		return l;
	l = choose_wanted(t, wanted);
	if (!l)
		l = choose_new(t);
	if (!l)
		l = choose_ended(t, now_s);
	if (!l)
		return NULL;
	*l = (struct lease){
		.state = LEASE_OFFERED,
		.addr = l->addr,
		.client = *client,
		.until_s = now_s + LEASE_OFFER_S,
	};
	return l;
}

void lease_bind(struct lease *lease, const struct lease_client *client, uint64_t until_s)
{
	lease->state = LEASE_BOUND;
	lease->client = *client;
	lease->until_s = until_s;
}

/* With LEASE_MAX_DECLINED of them, the oldest may be given again. */
static void limit_declined(struct lease_table *t, uint64_t now_s)
{
	struct lease *oldest = NULL;
	unsigned int n = 0;

	for (unsigned int i = 0; i < t->n; i++) {
		struct lease *l = &t->leases[i];

		if (l->state != LEASE_DECLINED || l->until_s <= now_s)
			continue;
		n++;
		if (!oldest || l->until_s < oldest->until_s)
			oldest = l;
	}
	if (n >= LEASE_MAX_DECLINED)
		oldest->until_s = now_s;
}

void lease_decline(struct lease_table *t, const struct ipaddr *addr, uint64_t now_s)
{
	struct lease *l = lease_of_address(t, addr);

	if (!l && is_in_range(t, addr))
		l = add(t, addr);
	if (!l || l->is_static)
		return;
	limit_declined(t, now_s);
	*l = (struct lease){
		.state = LEASE_DECLINED,
		.addr = l->addr,
		.until_s = now_s + LEASE_DECLINED_S,
	};
}

/* --- names ---------------------------------------------------------------- */

/* Letters, digits and hyphens, no hyphen at either end. */
static int first_label(const char *text, char label[LEASE_NAME_SIZE])
{
	size_t len = strcspn(text, ".");

	if (len == 0 || len >= LEASE_NAME_SIZE || text[0] == '-' || text[len - 1] == '-')
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
			return -EINVAL;
		label[i] = c;
	}
	label[len] = '\0';
	return 0;
}

int lease_set_name(struct lease_table *t, struct lease *lease, const char *text)
{
	char label[LEASE_NAME_SIZE];
	const struct lease *other;

	lease->name[0] = '\0';
	if (first_label(text, label) < 0)
		return -EINVAL;
	other = lease_of_name(t, label);
	if ((other && other != lease) || strcmp(label, "host") == 0)
		return -EEXIST;
	memcpy(lease->name, label, sizeof(label));
	return 0;
}

/* --- as text -------------------------------------------------------------- */

#define HEX_SIZE (2 * LEASE_CLIENT_ID_MAX + 1)

/* "-" for nothing. */
static void format_hex(const uint8_t *bytes, size_t n, char text[static HEX_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	if (n == 0)
		text[0] = '-';
	text[n ? 2 * n : 1] = '\0';
}

static int format_line(const struct lease *l, char line[static LINE_MAX_SIZE])
{
	char addr[ADDR_TEXT_SIZE], mac[MAC_TEXT_SIZE], id[HEX_SIZE];

	format_hex(l->client.id, l->client.id_len, id);
	return snprintf(line, LINE_MAX_SIZE, "%s %s %" PRIu64 " %s %s\n",
			ipaddr_format(&l->addr, addr), mac_format(&l->client.mac, mac), l->until_s,
			id, *l->name ? l->name : "-");
}

size_t lease_format(const struct lease_table *t, char *text, size_t size)
{
	size_t len = 0;

	for (unsigned int i = 0; i < t->n; i++) {
		char line[LINE_MAX_SIZE];
		size_t n;

		if (t->leases[i].state != LEASE_BOUND || t->leases[i].is_static)
			continue;
		n = (size_t)format_line(&t->leases[i], line);
		if (len + n < size)
			memcpy(text + len, line, n + 1);
		len += n;
	}
	if (len == 0 && size)
		text[0] = '\0';
	return len;
}

static int parse_hex(const char *text, struct lease_client *client)
{
	static const char digits[] = "0123456789abcdef";
	size_t len = strlen(text);

	client->id_len = 0;
	if (strcmp(text, "-") == 0)
		return 0;
	if (len % 2 || len > 2 * (size_t)LEASE_CLIENT_ID_MAX || strspn(text, digits) != len)
		return -EINVAL;
	for (size_t i = 0; i < len / 2; i++) {
		ptrdiff_t high = strchr(digits, text[2 * i]) - digits;
		ptrdiff_t low = strchr(digits, text[2 * i + 1]) - digits;

		client->id[i] = (uint8_t)(high << 4 | low);
	}
	client->id_len = (uint8_t)(len / 2);
	return 0;
}

static int parse_time(const char *text, uint64_t *out)
{
	size_t len = strlen(text);

	if (len == 0 || len > 19 || strspn(text, "0123456789") != len)
		return -EINVAL;
	*out = strtoull(text, NULL, 10);
	return 0;
}

enum { FIELD_ADDRESS, FIELD_MAC, FIELD_UNTIL, FIELD_ID, FIELD_NAME, N_FIELDS };

/* Cuts the line up. */
static int split(char *line, char *fields[static N_FIELDS])
{
	char *rest = line;

	for (int i = 0; i < N_FIELDS; i++) {
		fields[i] = strsep(&rest, " ");
		if (!fields[i])
			return -EINVAL;
	}
	return rest ? -EINVAL : 0;
}

static int parse_line(struct lease_table *t, char *line)
{
	struct lease_client client = { .id_len = 0 };
	char *fields[N_FIELDS];
	struct ipaddr addr;
	struct lease *l;
	uint64_t until_s;

	if (split(line, fields) < 0 || ipaddr_parse(fields[FIELD_ADDRESS], &addr) < 0 ||
	    mac_parse(fields[FIELD_MAC], &client.mac) < 0 ||
	    parse_time(fields[FIELD_UNTIL], &until_s) < 0 ||
	    parse_hex(fields[FIELD_ID], &client) < 0)
		return -EINVAL;
	if (!is_in_range(t, &addr) || lease_of_address(t, &addr) || find_mac(t, &client.mac))
		return -EEXIST;
	l = add(t, &addr);
	if (!l)
		return -ENOSPC;
	lease_bind(l, &client, until_s);
	if (strcmp(fields[FIELD_NAME], "-") != 0) /* or it has none until it tells one */
		(void)lease_set_name(t, l, fields[FIELD_NAME]);
	return 0;
}

unsigned int lease_parse(struct lease_table *t, const char *text)
{
	unsigned int n_bad = 0;

	while (*text) {
		size_t len = strcspn(text, "\n");
		char line[LINE_MAX_SIZE];

		(void)snprintf(line, sizeof(line), "%.*s", (int)(len < 255 ? len : 255), text);
		if (len && parse_line(t, line) < 0)
			n_bad++;
		text += len;
		text += *text == '\n';
	}
	return n_bad;
}
