/* SPDX-License-Identifier: Apache-2.0 */
/* A client's message: read, answered, and the answer is whole and no client's. */
#include <errno.h>
#include <string.h>

#include "netstack/base/bytes.h"
#include "netstack/base/loop.h"
#include "netstack/dhcp6_server.h"
#include "tests/fuzz/cursor.h"
#include "tests/support/fake_loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct ipaddr own = { { 0xfd, [15] = 0x20 } };

static int on_address(void *arg, const struct mac *mac, const char *name, bool is_taken,
		      struct ipaddr *out)
{
	(void)mac;
	(void)is_taken;
	check(strlen(name) < LEASE_NAME_SIZE);
	*out = own;
	return *(const bool *)arg ? -ENOSPC : 0;
}

/* Options that fill their place exactly. */
static void check_options(const uint8_t *at, const uint8_t *end)
{
	while (at != end) {
		check(end - at >= 4);
		check(end - at - 4 >= get_be16(at + 2));
		if (get_be16(at) == 3)
			check_options(at + 4 + 12, at + 4 + get_be16(at + 2));
		at += 4 + get_be16(at + 2);
	}
}

static void on_reply(void *arg, const struct mac *mac, const struct ipaddr *to, const void *message,
		     size_t len)
{
	struct dhcp6_request request;
	const uint8_t *m = message;

	(void)arg;
	(void)mac;
	(void)to;
	check(len >= 4 && len <= DHCP6_REPLY_MAX);
	check(m[0] == DHCP6_ADVERTISE || m[0] == DHCP6_REPLY);
	check_options(m + 4, m + len);
	check(dhcp6_parse(message, len, &request) < 0);
}

static const struct dhcp6_server_owner owner = { .address = on_address, .reply = on_reply };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = { data, size };
	bool is_full = take8(&c) & 1;
	const struct dhcp6_server_config config = {
		.settings = { .server = { "\0\3\0\1\x52", 5 }, .lease_s = 600 },
		.prefix = { { 0xfd } },
		.owner = &owner,
		.arg = &is_full,
	};
	const struct mac mac = { { 2, 0, 0, 0, 0, 1 } };
	struct dhcp6_server *server;
	struct loop *loop;

	check(loop_new(&loop) == 0);
	check(dhcp6_server_new(loop, &config, &server) == 0);
	while (c.left) { /* a few messages, each in memory of its size */
		const uint8_t *bytes;
		size_t len = take_bytes(&c, take16(&c) % 1500U, &bytes);
		uint8_t *exact = malloc(len + 1);

		check(exact != NULL);
		memcpy(exact, bytes, len);
		dhcp6_server_receive(server, &mac, &own, exact, len);
		free(exact);
	}
	dhcp6_server_free(server);
	loop_free(loop);
	return 0;
}
