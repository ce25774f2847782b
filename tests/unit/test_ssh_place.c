/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_place.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "forwarder/tunnel.h"

static void check(const struct tunnel_place *guest, const char *type, const void *message,
		  size_t len)
{
	struct ssh_place place;

	assert_int_equal(ssh_place_make(guest, &place), 0);
	assert_string_equal(place.type, type);
	assert_int_equal(place.len, len);
	assert_memory_equal(place.message, message, len);
}

static void a_port_is_asked_for_as_rfc_4254_has_it(void **state)
{
	static const char message[] = "\0\0\0\x08"
				      "10.0.0.1"
				      "\0\0\x1f\x90"
				      "\0\0\0\x09"
				      "127.0.0.1"
				      "\0\0\0\0";
	const struct tunnel_place guest = { .endpoint = { IPADDR_V4(10, 0, 0, 1), 8080 } };

	(void)state;
	check(&guest, "direct-tcpip", message, sizeof(message) - 1);
}

static void what_listens_on_all_addresses_is_asked_for_on_the_loopback(void **state)
{
	static const char v4[] = "\0\0\0\x09"
				 "127.0.0.1";
	static const char v6[] = "\0\0\0\x03"
				 "::1";
	const struct tunnel_place any4 = { .endpoint = { IPADDR_V4(0, 0, 0, 0), 1 } };
	const struct tunnel_place any6 = { .endpoint = { IPADDR_V6_ANY, 1 } };
	struct ssh_place place;

	(void)state;
	assert_int_equal(ssh_place_make(&any4, &place), 0);
	assert_memory_equal(place.message, v4, sizeof(v4) - 1);
	assert_int_equal(ssh_place_make(&any6, &place), 0);
	assert_memory_equal(place.message, v6, sizeof(v6) - 1);
}

static void a_socket_is_asked_for_as_openssh_has_it(void **state)
{
	static const char message[] = "\0\0\0\x02"
				      "/s"
				      "\0\0\0\0"
				      "\0\0\0\0";
	const struct tunnel_place guest = { .path = "/s" };

	(void)state;
	check(&guest, "direct-streamlocal@openssh.com", message, sizeof(message) - 1);
}

static void a_path_that_is_too_long_is_refused(void **state)
{
	char path[SSH_PLACE_SIZE + 1];
	const struct tunnel_place guest = { .path = path };
	struct ssh_place place;

	(void)state;
	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(ssh_place_make(&guest, &place), -ENAMETOOLONG);
}

static void a_command_is_kept_for_after_the_opening(void **state)
{
	char command[SSH_PLACE_SIZE + 2];
	struct ssh_place place;

	(void)state;
	assert_int_equal(ssh_place_command("exec true", &place), 0);
	assert_string_equal(place.type, "session");
	assert_true(place.is_command);
	assert_int_equal(place.len, 9);
	assert_memory_equal(place.message, "exec true", 9);
	memset(command, 'a', sizeof(command) - 1);
	command[sizeof(command) - 1] = '\0';
	assert_int_equal(ssh_place_command(command, &place), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_port_is_asked_for_as_rfc_4254_has_it),
		cmocka_unit_test(what_listens_on_all_addresses_is_asked_for_on_the_loopback),
		cmocka_unit_test(a_socket_is_asked_for_as_openssh_has_it),
		cmocka_unit_test(a_path_that_is_too_long_is_refused),
		cmocka_unit_test(a_command_is_kept_for_after_the_opening),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
