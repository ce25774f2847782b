/* SPDX-License-Identifier: Apache-2.0 */
/* A client's message, a file of leases, and a server with a few clients: no two of
 * them may have one address. */
#include <string.h>

#include "netstack/base/bytes.h"
#include "netstack/base/loop.h"
#include "netstack/dhcp_server.h"
#include "tests/fuzz/cursor.h"
#include "tests/support/fake_loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct dhcp_settings settings = {
	.server = IPADDR_V4(192, 168, 105, 1),
	.router = IPADDR_V4(192, 168, 105, 1),
	.dns = IPADDR_V4(192, 168, 105, 3),
	.prefix_bits = 24,
	.mtu = 1500,
	.lease_s = 600,
	.domain = "netfwd.internal",
};
static const struct lease_range range = { IPADDR_V4(192, 168, 105, 16),
					  IPADDR_V4(192, 168, 105, 21) };

static void fuzz_message(const uint8_t *data, size_t size)
{
	static const enum dhcp_type types[] = { DHCP_OFFER, DHCP_ACK, DHCP_NAK };
	uint8_t *exact = malloc(size + 1), reply[DHCP_REPLY_MAX];
	struct dhcp_request request;

	check(exact != NULL);
	memcpy(exact, data, size);
	if (dhcp_parse(exact, size, &request) == 0) {
		check(strlen(request.name) < LEASE_NAME_SIZE);
		check(request.client.id_len <= LEASE_CLIENT_ID_MAX);
		for (size_t i = 0; i < 3; i++) {
			const struct dhcp_reply r = { types[i], request.requested, "no" };
			size_t len = dhcp_write(&settings, &request, &r, reply);

			check(len >= 300 && len <= sizeof(reply));
			check(dhcp_parse(reply, len, &request) < 0); /* no client's */
		}
	}
	free(exact);
}

static void check_table(const struct lease_table *t)
{
	check(t->n <= LEASE_MAX);
	for (unsigned int i = 0; i < t->n; i++) {
		const struct lease *a = &t->leases[i];

		check(memcmp(a->addr.b, range.first.b, 16) >= 0 &&
		      memcmp(a->addr.b, range.last.b, 16) <= 0);
		for (unsigned int j = 0; j < i; j++) {
			const struct lease *b = &t->leases[j];

			check(!ipaddr_equal(&a->addr, &b->addr));
			check(a->state == LEASE_DECLINED || b->state == LEASE_DECLINED ||
			      !mac_equal(&a->client.mac, &b->client.mac));
			check(!*a->name || strcmp(a->name, b->name) != 0);
		}
	}
}

static void fuzz_file(const uint8_t *data, size_t size)
{
	static struct lease_table table, again;
	char *text = malloc(size + 1), *first = malloc(8192), *second = malloc(8192);

	check(text && first && second);
	memcpy(text, data, size);
	text[size] = '\0';
	lease_table_init(&table, &range);
	lease_table_init(&again, &range);
	(void)lease_parse(&table, text);
	check_table(&table);
	check(lease_format(&table, first, 8192) < 8192);
	check(lease_parse(&again, first) == 0);
	(void)lease_format(&again, second, 8192);
	check(strcmp(first, second) == 0);
	free(text);
	free(first);
	free(second);
}

static void on_reply(void *arg, const struct dhcp_destination *to, const void *message, size_t len)
{
	(void)arg;
	(void)to;
	(void)message;
	check(len <= DHCP_REPLY_MAX);
}

static void on_probe(void *arg, const struct ipaddr *addr)
{
	(void)arg;
	check(ipaddr_is_v4(addr));
}

static const char *on_name(void *arg, const struct mac *of)
{
	(void)arg;
	(void)of;
	return NULL;
}

static void on_changed(void *arg)
{
	(void)arg;
}

static const struct dhcp_server_owner owner = {
	.reply = on_reply,
	.probe = on_probe,
	.name = on_name,
	.changed = on_changed,
};

static void put_address(uint8_t **at, uint8_t option, uint8_t number)
{
	if (number == 0)
		return;
	memcpy(*at, (uint8_t[]){ option, 4, 192, 168, 105, number }, 6);
	*at += 6;
}

/* A message of one of eight clients, about one of a few addresses. */
static void say(struct dhcp_server *server, struct cursor *c)
{
	uint8_t m[340] = { 1, 1, 6 }, *at = m + 240, how = take8(c);
	struct mac from = { { 2, 0, 0, 0, 0, how & 7 } };

	put_be32(m + 236, 0x63825363);
	memcpy(m + 28, from.b, 6);
	memcpy(at, (uint8_t[]){ 53, 1, (uint8_t)(take8(c) % 9) }, 3);
	at += 3;
	if (how & 8)
		memcpy(m + 12, (uint8_t[]){ 192, 168, 105, (uint8_t)(14 + take8(c) % 10) }, 4);
	put_address(&at, 50, how & 16 ? (uint8_t)(14 + take8(c) % 10) : 0);
	put_address(&at, 54, how & 32 ? 1 : 0);
	if (how & 64) {
		memcpy(at, (uint8_t[]){ 61, 2, 0, take8(c) & 3 }, 4);
		at += 4;
	}
	if (how & 128) {
		memcpy(at, (uint8_t[]){ 12, 1, (uint8_t)('a' + (take8(c) & 3)) }, 3);
		at += 3;
	}
	*at++ = 255;
	dhcp_server_receive(server, &from, m, (size_t)(at - m));
}

static void fuzz_server(struct cursor *c)
{
	const struct dhcp_server_config config = {
		.settings = settings, .range = range, .probes = true, .owner = &owner
	};
	struct dhcp_server *server;
	struct loop *loop;

	check(loop_new(&loop) == 0);
	check(dhcp_server_new(loop, &config, &server) == 0);
	while (c->left) {
		uint8_t what = take8(c);
		struct ipaddr addr = IPADDR_V4(192, 168, 105, (uint8_t)(14 + what % 10));
		struct mac mac = { { 2, 0, 0, 0, 0, what >> 5 } };

		if (what & 16)
			say(server, c);
		else if (what & 8)
			fake_loop_advance(loop, (uint64_t)take8(c) * take8(c) * 10);
		else
			dhcp_server_saw(server, &addr, &mac);
		check_table(dhcp_server_leases(server));
	}
	dhcp_server_free(server);
	loop_free(loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = { data, size };
	uint8_t how = take8(&c);

	if (how % 3 == 0)
		fuzz_message(c.at, c.left);
	else if (how % 3 == 1)
		fuzz_file(c.at, c.left);
	else
		fuzz_server(&c);
	return 0;
}
