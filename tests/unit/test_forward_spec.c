/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/forward_spec.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct good_case {
	const char *text;
	const char *proto;
	const char *host;
	const char *guest; /* [::]:PORT when the address is left out */
	unsigned int n_ports;
};

static const struct good_case good_cases[] = {
	{ "tcp:127.0.0.1:8080:80", "tcp", "127.0.0.1:8080", "[::]:80", 1 },
	{ "udp:127.0.0.1:5353:53", "udp", "127.0.0.1:5353", "[::]:53", 1 },
	{ "tcp:8080:80", "tcp", "127.0.0.1:8080", "[::]:80", 1 },
	{ "tcp:1:65535", "tcp", "127.0.0.1:1", "[::]:65535", 1 },
	{ "udp:[::1]:53:5353", "udp", "[::1]:53", "[::]:5353", 1 },
	{ "tcp:[::]:53:53", "tcp", "[::]:53", "[::]:53", 1 },
	{ "tcp:0.0.0.0:80:80", "tcp", "0.0.0.0:80", "[::]:80", 1 },
	{ "tcp:127.0.0.1:9000-9010:9000-9010", "tcp", "127.0.0.1:9000", "[::]:9000", 11 },
	{ "udp:9000-9001:53-54", "udp", "127.0.0.1:9000", "[::]:53", 2 },
	{ "tcp:1-65535:1-65535", "tcp", "127.0.0.1:1", "[::]:1", 65535 },
	{ "tcp:80-80:8080", "tcp", "127.0.0.1:80", "[::]:8080", 1 },
	{ "tcp:0080:00081", "tcp", "127.0.0.1:80", "[::]:81", 1 },
	{ "tcp:8080:192.168.5.16:80", "tcp", "127.0.0.1:8080", "192.168.5.16:80", 1 },
	{ "tcp:127.0.0.2:8080:192.168.5.16:80", "tcp", "127.0.0.2:8080", "192.168.5.16:80", 1 },
	{ "tcp:[::1]:8080:[fd00:c0a8:5::15]:80-80", "tcp", "[::1]:8080", "[fd00:c0a8:5::15]:80",
	  1 },
};

static void good_texts_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good_cases) / sizeof(good_cases[0]); i++) {
		const struct good_case *c = &good_cases[i];
		char error[FORWARD_SPEC_ERROR_SIZE] = "", text[ADDR_TEXT_SIZE];
		struct forward_spec spec;

		assert_int_equal(forward_spec_parse(c->text, &spec, error), 0);
		assert_string_equal(error, "");
		assert_string_equal(forward_proto_name(spec.proto), c->proto);
		assert_string_equal(endpoint_format(&spec.host, text), c->host);
		assert_string_equal(endpoint_format(&spec.guest, text), c->guest);
		assert_int_equal(spec.n_ports, c->n_ports);
	}
}

#define PORT_RULE "must be 1 to 65535, or a range such as 9000-9010"
#define ADDRESS_RULE "must be an address such as 127.0.0.1 or [::1] (names are not looked up)"
#define SHAPE "PROTO:[HOSTADDR:]HOSTPORT:[GUESTADDR:]GUESTPORT"

static const struct {
	const char *text;
	const char *error;
} bad_cases[] = {
	{ "", "protocol \"\" (character 1): must be tcp or udp" },
	{ "TCP:1:1", "protocol \"TCP\" (character 1): must be tcp or udp" },
	{ "tcp4:1:1", "protocol \"tcp4\" (character 1): must be tcp or udp" },
	{ "8080:80", "protocol \"8080\" (character 1): must be tcp or udp" },
	{ "tcp", "ends where the host port should follow (character 4): " SHAPE },
	{ "tcp:", "host port \"\" (character 5): " PORT_RULE },
	{ "tcp::80", "host port \"\" (character 5): " PORT_RULE },
	{ "tcp:80", "ends where the guest port should follow (character 7): " SHAPE },
	{ "tcp:80:", "guest port \"\" (character 8): " PORT_RULE },
	{ "tcp:0:80", "host port \"0\" (character 5): " PORT_RULE },
	{ "tcp:65536:80", "host port \"65536\" (character 5): " PORT_RULE },
	{ "tcp:4294967376:80", "host port \"4294967376\" (character 5): " PORT_RULE },
	{ "tcp:80:65536", "guest port \"65536\" (character 8): " PORT_RULE },
	{ "tcp:127.0.0.1:99999:80", "host port \"99999\" (character 15): " PORT_RULE },
	{ "tcp:-80:80", "host port \"-80\" (character 5): " PORT_RULE },
	{ "tcp:80-:80", "host port \"80-\" (character 5): " PORT_RULE },
	{ "tcp:80-90-95:80", "host port \"80-90-95\" (character 5): " PORT_RULE },
	{ "tcp:90-80:90-80", "host port \"90-80\" (character 5): the range ends before it starts" },
	{ "tcp:80-81:80-82",
	  "guest port \"80-82\" (character 11): must be as many ports as the host's: 2, not 3" },
	{ "tcp:80-81:80",
	  "guest port \"80\" (character 11): must be as many ports as the host's: 2, not 1" },
	{ "tcp:+80:80", "host address \"+80\" (character 5): " ADDRESS_RULE },
	{ "tcp:localhost:80:80", "host address \"localhost\" (character 5): " ADDRESS_RULE },
	{ "tcp:127.0.0:80:80", "host address \"127.0.0\" (character 5): " ADDRESS_RULE },
	{ "tcp:127.0.0.1", "ends where the host port should follow (character 14): " SHAPE },
	{ "tcp:[::1:80:80",
	  "host address \"[::1:80:80\" (character 5): the bracket must close before the colon" },
	{ "tcp:[::1]8080:80",
	  "host address \"[::1]8080\" (character 5): the bracket must close before the colon" },
	{ "tcp:[]:80:80", "host address \"[]\" (character 5): " ADDRESS_RULE },
	{ "tcp:[127.0.0.1]:80:80", "host address \"[127.0.0.1]\" (character 5): "
				   "IPv4 is written without brackets: 127.0.0.1" },
	{ "tcp:[::ffff:127.0.0.1]:80:80", "host address \"[::ffff:127.0.0.1]\" (character 5): "
					  "IPv4 is written without brackets: 127.0.0.1" },
	{ "tcp:224.0.0.1:80:80",
	  "host address \"224.0.0.1\" (character 5): is a multicast address" },
	{ "tcp:::1:80:80", "host port \"\" (character 5): " PORT_RULE },
	{ "tcp:80:127.0.0.1:80", "guest address \"127.0.0.1\" (character 8): is no address of a "
				 "guest; leave it out for the guest's own" },
	{ "tcp:80:[::]:80", "guest address \"[::]\" (character 8): is no address of a guest; "
			    "leave it out for the guest's own" },
	{ "tcp:80:80:90", "text \":90\" (character 10): nothing may follow the guest port" },
	{ "tcp:80:80 ", "guest address \"80 \" (character 8): " ADDRESS_RULE },
	{ "tcp:80:192.168.5.15:80:",
	  "text \":\" (character 23): nothing may follow the guest port" },
	{ "tcp:1111111111111111111111111111111111111111111111111111111111111111.2:80:80",
	  "host address \"1111111111111111111111111111111111111111111111111111111111111111\" "
	  "(character 5): too long for an address" },
};

static void bad_texts_are_refused_with_the_part_and_its_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad_cases) / sizeof(bad_cases[0]); i++) {
		char error[FORWARD_SPEC_ERROR_SIZE] = "";
		struct forward_spec spec;

		assert_int_equal(forward_spec_parse(bad_cases[i].text, &spec, error), -EINVAL);
		assert_string_equal(error, bad_cases[i].error);
	}
}

static const struct {
	const char *a, *b;
	unsigned int port; /* 0: no overlap */
} overlap_cases[] = {
	{ "tcp:80:80", "tcp:80:81", 80 },
	{ "tcp:80:80", "tcp:81:80", 0 },
	{ "tcp:80:80", "udp:80:80", 0 },
	{ "tcp:80:80", "tcp:[::1]:80:80", 0 },
	{ "tcp:80:80", "tcp:127.0.0.2:80:80", 0 },
	{ "tcp:80:80", "tcp:0.0.0.0:80:80", 80 },
	{ "tcp:80:80", "tcp:[::]:80:80", 0 },
	{ "tcp:[::1]:80:80", "tcp:[::]:80:80", 80 },
	{ "tcp:80-90:80-90", "tcp:90-99:90-99", 90 },
	{ "tcp:80-90:80-90", "tcp:85:1", 85 },
	{ "tcp:80-89:80-89", "tcp:90-99:90-99", 0 },
	{ "tcp:1-65535:1-65535", "tcp:65535:1", 65535 },
};

static void overlapping_host_ports_are_found_in_either_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(overlap_cases) / sizeof(overlap_cases[0]); i++) {
		char error[FORWARD_SPEC_ERROR_SIZE];
		unsigned int want = overlap_cases[i].port;
		struct forward_spec a, b;
		uint16_t port = 0;

		assert_int_equal(forward_spec_parse(overlap_cases[i].a, &a, error), 0);
		assert_int_equal(forward_spec_parse(overlap_cases[i].b, &b, error), 0);

		assert_int_equal(forward_spec_overlap(&a, &b, &port), want != 0);
		assert_int_equal(port, want);
		port = 0;
		assert_int_equal(forward_spec_overlap(&b, &a, &port), want != 0);
		assert_int_equal(port, want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_texts_are_read),
		cmocka_unit_test(bad_texts_are_refused_with_the_part_and_its_place),
		cmocka_unit_test(overlapping_host_ports_are_found_in_either_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
