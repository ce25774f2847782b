/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/port_owner.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Lines of a little-endian machine; the files are in its byte order. */
static const struct {
	const char *line;
	enum forward_proto proto;
	const char *local;
	bool is_listening;
	uid_t uid;
	unsigned long inode;
} cases[] = {
	{ "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000"
	  "        0 4026531 1 0000000000000000 100 0 0 10 0\n",
	  FORWARD_TCP, "127.0.0.1:8080", true, 1000, 4026531 },
	{ "  12: 0100007F:D3A2 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0"
	  "        0 77 1 0000000000000000 20 4 30 10 -1\n",
	  FORWARD_TCP, "127.0.0.1:54178", false, 0, 77 },
	{ "   1: 00000000000000000000000001000000:0035 00000000000000000000000000000000:0000 0A "
	  "00000000:00000000 00:00000000 00000000   101        0 12345 1 0 100 0 0 10 0\n",
	  FORWARD_TCP, "[::1]:53", true, 101, 12345 },
	{ "   1: 0000000000000000FFFF00000100007F:0050 00000000000000000000000000000000:0000 0A "
	  "00000000:00000000 00:00000000 00000000     0        0 9 1 0 100 0 0 10 0\n",
	  FORWARD_TCP, "127.0.0.1:80", true, 0, 9 },
	{ " 2410: 00000000:14E9 00000000:0000 07 00000000:00000000 00:00000000 00000000   115"
	  "        0 24537 2 0000000000000000 0\n",
	  FORWARD_UDP, "0.0.0.0:5353", true, 115, 24537 },
};

static void lines_of_proc_net_are_read(void **state)
{
	(void)state;
	if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)
		skip();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[ADDR_TEXT_SIZE];
		struct proc_socket s;

		assert_int_equal(proc_socket_parse(cases[i].line, cases[i].proto, &s), 0);
		assert_string_equal(endpoint_format(&s.local, text), cases[i].local);
		assert_int_equal(s.is_listening, cases[i].is_listening);
		assert_int_equal(s.uid, cases[i].uid);
		assert_int_equal(s.inode, cases[i].inode);
	}
}

static void other_lines_are_refused(void **state)
{
	static const char *const lines[] = {
		"",
		"\n",
		"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid "
		" timeout inode\n",
		"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000",
		"   0: 0100007:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000"
		"        0 4026531 1",
		"   0: 0100007F0:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000"
		"        0 4026531 1",
		"   0: xxxxxxxx:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000"
		"        0 4026531 1",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct proc_socket s;

		assert_int_equal(proc_socket_parse(lines[i], FORWARD_TCP, &s), -EINVAL);
	}
}

static void a_known_process_is_named(void **state)
{
	struct port_owner owner = { .uid = 1000, .pid = 1234, .command = "nginx" };
	char text[PORT_OWNER_TEXT_SIZE];

	(void)state;
	assert_string_equal(port_owner_format(&owner, text), "nginx (pid 1234)");
}

static void of_an_unknown_process_the_user_is_named(void **state)
{
	struct port_owner root = { .uid = 0 }, nobody_at_all = { .uid = 3999999999U };
	char text[PORT_OWNER_TEXT_SIZE];

	(void)state;
	assert_string_equal(port_owner_format(&root, text), "a process of user root");
	assert_string_equal(port_owner_format(&nobody_at_all, text),
			    "a process of user id 3999999999");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_of_proc_net_are_read),
		cmocka_unit_test(other_lines_are_refused),
		cmocka_unit_test(a_known_process_is_named),
		cmocka_unit_test(of_an_unknown_process_the_user_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
