/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/proc_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define REST " 00000000:00000000 00:00000000 00000000     0        0 19207 1 0000000000000000 100"

static void check(const char *line, enum proc_net_order order, const char *expected)
{
	char text[ADDR_TEXT_SIZE];
	struct port_listener l;

	assert_true(proc_net_parse(line, order, &l));
	assert_int_equal(l.proto, FORWARD_TCP);
	assert_string_equal(endpoint_format(&l.guest, text), expected);
}

static void addresses_are_read_as_the_guests_processor_writes_them(void **state)
{
	(void)state;
	check("   0: 0100007F:1F90 00000000:0000 0A" REST, PROC_NET_LITTLE_ENDIAN,
	      "127.0.0.1:8080");
	check("   0: 7F000001:1F90 00000000:0000 0A" REST, PROC_NET_BIG_ENDIAN, "127.0.0.1:8080");
	check("1000: 00000000:0016 00000000:0000 0A" REST, PROC_NET_LITTLE_ENDIAN, "0.0.0.0:22");
	check("   1: 00000000000000000000000001000000:0019 00000000000000000000000000000000:0000 "
	      "0A" REST,
	      PROC_NET_LITTLE_ENDIAN, "[::1]:25");
	check("   1: 20010DB8000000000000000000000001:0019 00000000000000000000000000000000:0000 "
	      "0A" REST,
	      PROC_NET_BIG_ENDIAN, "[2001:db8::1]:25");
}

static void what_does_not_listen_or_makes_no_sense_is_left_out(void **state)
{
	static const char *const lines[] = {
		"   0: 0100007F:1F90 0100007F:8AE6 01" REST,
		"   0: 0100007F:0000 00000000:0000 0A" REST,
		"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt",
		"   0: 0100007F:1F90 00000000:0000 ",
		"   0: 0100007F:1F90 00000000",
		"   0: 0100007F:1F",
		"   0: 0100007F",
		"   0: 0100007G:1F90 00000000:0000 0A" REST,
		"   0: 0100007F0:1F90 00000000:0000 0A" REST,
		"   0: 127.0.0.1:8080 00000000:0000 0A" REST,
		"   0:",
		"0",
		"",
	};
	struct port_listener l;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (proc_net_parse(lines[i], PROC_NET_LITTLE_ENDIAN, &l))
			fail_msg("taken: %s", lines[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_read_as_the_guests_processor_writes_them),
		cmocka_unit_test(what_does_not_listen_or_makes_no_sense_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
