/* SPDX-License-Identifier: Apache-2.0 */
/* Host ports that cannot be had, and what the user is told. */
#include "forwarder/listen_socket.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/port_owner.h"

static const struct ipaddr loopback4 = IPADDR_V4(127, 0, 0, 1);
static const struct ipaddr loopback6 = { { [15] = 1 } };
static const struct ipaddr any4 = IPADDR_V4(0, 0, 0, 0);
static const struct ipaddr any6 = { { 0 } };

/* Bound to a free port, which goes to *at; of TCP, listening. */
static int take_port(enum forward_proto proto, const struct ipaddr *addr, struct endpoint *at)
{
	struct endpoint host = { *addr, 0 };
	int fd = listen_socket_bind(proto, &host);

	assert_true(fd >= 0);
	assert_int_equal(listen_socket_address(fd, at), 0);
	assert_true(ipaddr_equal(&at->addr, addr));
	assert_true(at->port != 0);
	if (proto == FORWARD_TCP)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static const struct {
	enum forward_proto proto;
	const struct ipaddr *taken, *wanted;
} in_use_cases[] = {
	{ FORWARD_TCP, &loopback4, &loopback4 }, { FORWARD_TCP, &any4, &loopback4 },
	{ FORWARD_TCP, &loopback4, &any4 },	 { FORWARD_TCP, &loopback6, &loopback6 },
	{ FORWARD_TCP, &any6, &loopback6 },	 { FORWARD_UDP, &loopback4, &loopback4 },
	{ FORWARD_UDP, &any4, &loopback4 },	 { FORWARD_UDP, &loopback6, &any6 },
};

static void the_owner_of_a_port_in_use_is_named(void **state)
{
	char command[17] = "";

	(void)state;
	(void)prctl(PR_GET_NAME, command);
	for (size_t i = 0; i < sizeof(in_use_cases) / sizeof(in_use_cases[0]); i++) {
		enum forward_proto proto = in_use_cases[i].proto;
		char text[LISTEN_ERROR_SIZE], want[LISTEN_ERROR_SIZE], where[ADDR_TEXT_SIZE];
		struct endpoint taken, host;
		int fd = take_port(proto, in_use_cases[i].taken, &taken);

		host = (struct endpoint){ *in_use_cases[i].wanted, taken.port };
		assert_int_equal(listen_socket_bind(proto, &host), -EADDRINUSE);
		listen_socket_explain(proto, &host, -EADDRINUSE, text);
		(void)snprintf(want, sizeof(want),
			       "%s port %u of the host (%s) is in use by %s (pid %d); "
			       "stop that, or forward another host port",
			       forward_proto_name(proto), host.port, endpoint_format(&host, where),
			       command, (int)getpid());
		assert_string_equal(text, want);
		close(fd);
	}
}

static void the_two_families_do_not_share_a_port(void **state)
{
	enum forward_proto proto[] = { FORWARD_TCP, FORWARD_UDP };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct endpoint at;
		int fd4 = take_port(proto[i], &any4, &at), fd6;

		at.addr = any6;
		fd6 = listen_socket_bind(proto[i], &at);
		assert_true(fd6 >= 0);
		close(fd4);
		close(fd6);
	}
}

static void a_port_that_nobody_holds_has_no_owner(void **state)
{
	struct port_owner owner;
	struct endpoint at;
	int fd = take_port(FORWARD_TCP, &loopback4, &at);

	(void)state;
	assert_int_equal(port_owner_find(FORWARD_TCP, &at, &owner), 0);
	assert_int_equal(owner.pid, getpid());
	assert_int_equal(owner.uid, getuid());
	assert_int_equal(port_owner_find(FORWARD_UDP, &at, &owner), -ENOENT);
	close(fd);
	assert_int_equal(port_owner_find(FORWARD_TCP, &at, &owner), -ENOENT);
}

static void a_privileged_port_is_explained_by_its_sysctl(void **state)
{
	struct endpoint host = { loopback4, 1 };
	char text[LISTEN_ERROR_SIZE];
	char start[32];
	FILE *file = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");

	(void)state;
	assert_non_null(file);
	assert_non_null(fgets(start, sizeof(start), file));
	(void)fclose(file);
	if (strtoul(start, NULL, 10) <=
	    host.port) /* as in some containers: no port is privileged */
		skip();
	listen_socket_explain(FORWARD_TCP, &host, -EACCES, text);
	assert_non_null(strstr(text, "tcp port 1 of the host (127.0.0.1:1) is privileged; "
				     "forward a host port of "));
	assert_non_null(strstr(text, "sudo sysctl net.ipv4.ip_unprivileged_port_start=1"));
}

static void an_address_that_is_not_the_hosts_is_explained(void **state)
{
	struct endpoint host = { IPADDR_V4(192, 0, 2, 1), 8080 }; /* TEST-NET-1 */
	char text[LISTEN_ERROR_SIZE];

	(void)state;
	assert_int_equal(listen_socket_bind(FORWARD_TCP, &host), -EADDRNOTAVAIL);
	assert_string_equal(listen_socket_explain(FORWARD_TCP, &host, -EADDRNOTAVAIL, text),
			    "tcp port 8080 of the host (192.0.2.1:8080) cannot be had: no "
			    "interface has this address; use 127.0.0.1, or one that 'ip address' "
			    "lists");
}

static void any_other_error_is_passed_on_in_words(void **state)
{
	struct endpoint host = { loopback6, 53 };
	char text[LISTEN_ERROR_SIZE];

	(void)state;
	assert_string_equal(listen_socket_explain(FORWARD_UDP, &host, -EPERM, text),
			    "udp port 53 of the host ([::1]:53) cannot be had: "
			    "Operation not permitted");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_owner_of_a_port_in_use_is_named),
		cmocka_unit_test(the_two_families_do_not_share_a_port),
		cmocka_unit_test(a_port_that_nobody_holds_has_no_owner),
		cmocka_unit_test(a_privileged_port_is_explained_by_its_sysctl),
		cmocka_unit_test(an_address_that_is_not_the_hosts_is_explained),
		cmocka_unit_test(any_other_error_is_passed_on_in_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
