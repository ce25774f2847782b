/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/events.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/log.h"

static char line[256];

/* In place of the real one, which the linker then leaves out. */
void log_event(const char *name, ...)
{
	size_t len = (size_t)snprintf(line, sizeof(line), "%s", name);
	const char *key;
	va_list ap;

	va_start(ap, name);
	while ((key = va_arg(ap, const char *)) != NULL)
		len += (size_t)snprintf(line + len, sizeof(line) - len, " %s=%s", key,
					va_arg(ap, const char *));
	va_end(ap);
}

static void each_event_has_its_name_and_keys(void **state)
{
	const struct forward_route tcp = {
		.proto = FORWARD_TCP,
		.host = { IPADDR_V4(127, 0, 0, 1), 8080 },
		.guest = { IPADDR_V4(192, 168, 5, 15), 80 },
	};
	const struct forward_route udp = {
		.proto = FORWARD_UDP,
		.host = { { { [15] = 1 } }, 53 },
		.guest = { { { 0xfd, [15] = 0x15 } }, 5353 },
	};

	(void)state;
	event_forwarding(&tcp);
	assert_string_equal(line,
			    "forwarding protocol=tcp host=127.0.0.1:8080 guest=192.168.5.15:80");
	event_stopping(&udp);
	assert_string_equal(line, "stopping protocol=udp host=[::1]:53 guest=[fd00::15]:5353");
	event_failed(&tcp, "in use");
	assert_string_equal(
		line, "failed protocol=tcp host=127.0.0.1:8080 guest=192.168.5.15:80 error=in use");
	event_not_forwarding(&udp, "a rule");
	assert_string_equal(line, "not-forwarding protocol=udp host=[::1]:53 "
				  "guest=[fd00::15]:5353 error=a rule");
}

static void sockets_and_reverse_forwards_are_told_apart(void **state)
{
	const struct forward_route socket = {
		.host_socket = "/run/a.sock",
		.guest_socket = "/run/b.sock",
		.is_reverse = true,
	};
	const struct forward_route not_there = { .guest = { IPADDR_V4(127, 0, 0, 1), 80 } };

	(void)state;
	event_failed(&socket, "gone");
	assert_string_equal(line, "failed protocol=tcp host=/run/a.sock guest=/run/b.sock "
				  "reverse=true error=gone");
	event_not_forwarding(&not_there, "a rule");
	assert_string_equal(line, "not-forwarding protocol=tcp guest=127.0.0.1:80 error=a rule");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_event_has_its_name_and_keys),
		cmocka_unit_test(sockets_and_reverse_forwards_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
