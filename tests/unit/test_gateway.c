/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent/gateway.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define HEAD "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"

/* As the kernel prints an address: as a number of this machine. */
static const char *hex(const char *address, char out[static 9])
{
	struct in_addr a;

	assert_int_equal(inet_pton(AF_INET, address, &a), 1);
	(void)snprintf(out, 9, "%08X", a.s_addr);
	return out;
}

struct route {
	const char *destination, *gateway, *mask;
	unsigned int flags;
};

static bool leads_by(const struct route *routes, size_t n, const char *address)
{
	char text[1024] = HEAD, a[9], b[9], c[9];
	size_t len = sizeof(HEAD) - 1;
	struct ipaddr addr;

	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"eth0\t%s\t%s\t%04X\t0\t0\t0\t%s\t0\t0\t0\n",
					hex(routes[i].destination, a), hex(routes[i].gateway, b),
					routes[i].flags, hex(routes[i].mask, c));
	assert_int_equal(ipaddr_parse(address, &addr), 0);
	return gateway_in_text(text, &addr);
}

static void the_default_gateway_is_found(void **state)
{
	static const struct route routes[] = {
		{ "192.168.5.0", "0.0.0.0", "255.255.255.0", 1 },
		{ "10.0.0.0", "192.168.5.9", "255.0.0.0", 3 },
		{ "0.0.0.0", "192.168.5.2", "0.0.0.0", 3 },
		{ "0.0.0.0", "10.1.1.1", "0.0.0.0", 3 },
	};

	(void)state;
	assert_true(leads_by(routes, 4, "192.168.5.2"));
	assert_true(leads_by(routes, 4, "10.1.1.1"));
	assert_false(leads_by(routes, 4, "192.168.5.9")); /* not the default */
	assert_false(leads_by(routes, 4, "0.0.0.0"));
	assert_false(leads_by(routes, 4, "127.0.0.1"));
	assert_false(leads_by(routes, 4, "::1"));
}

static void routes_that_lead_nowhere_do_not_count(void **state)
{
	static const struct route routes[] = {
		{ "0.0.0.0", "192.168.5.2", "0.0.0.0", 2 },   /* down */
		{ "0.0.0.0", "192.168.5.3", "0.0.0.0", 1 },   /* on the link */
		{ "0.0.0.0", "192.168.5.4", "128.0.0.0", 3 }, /* half of the world */
	};

	(void)state;
	assert_false(leads_by(routes, 3, "192.168.5.2"));
	assert_false(leads_by(routes, 3, "192.168.5.3"));
	assert_false(leads_by(routes, 3, "192.168.5.4"));
	assert_false(leads_by(NULL, 0, "192.168.5.2"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_default_gateway_is_found),
		cmocka_unit_test(routes_that_lead_nowhere_do_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
