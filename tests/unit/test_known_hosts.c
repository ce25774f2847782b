/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/known_hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* As sent: string "ssh-ed25519", string of the key. */
static const uint8_t ed25519[] = "\0\0\0\x0bssh-ed25519\0\0\0\x04\x01\x02\x03\x04";
#define KEY(bytes) ((struct known_host_key){ bytes, sizeof(bytes) - 1 })

static char *line_of(const char *name)
{
	char *line = known_host_line(name, &KEY(ed25519));

	assert_non_null(line);
	return line;
}

static void a_line_is_what_sshd_documents(void **state)
{
	char *line = line_of("guest");

	(void)state;
	assert_string_equal(line, "guest ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAABAECAwQ=\n");
	free(line);
}

static void base64_of_every_length(void **state)
{
	static const struct {
		uint8_t bytes[8];
		size_t len;
		const char *line;
	} rows[] = {
		{ "\0\0\0\1a", 5, "h a AAAAAWE=\n" },
		{ "\0\0\0\1ab", 6, "h a AAAAAWFi\n" },
		{ "\0\0\0\1abc", 7, "h a AAAAAWFiYw==\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct known_host_key key = { rows[i].bytes, rows[i].len };
		char *line = known_host_line("h", &key);

		assert_non_null(line);
		assert_string_equal(line, rows[i].line);
		free(line);
	}
}

static void what_is_no_key_has_no_line(void **state)
{
	static const uint8_t rows[][8] = {
		"\0\0\0", /* not even a length */
		"\0\0\0\x05"
		"abc", /* longer than there is */
		"\xff\xff\xff\xff"
		"a",
		"\0\0\0\0",  /* no name */
		"\0\0\0\1 ", /* that would end the word */
		"\0\0\0\1\n",
	};
	static const size_t lengths[] = { 3, 7, 5, 4, 5, 5 };

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		const struct known_host_key key = { rows[i], lengths[i] };

		assert_null(known_host_line("h", &key));
	}
}

static void the_default_port_is_not_named(void **state)
{
	char name[KNOWN_HOST_NAME_SIZE];

	(void)state;
	known_host_name("10.0.0.1", 22, name);
	assert_string_equal(name, "10.0.0.1");
	known_host_name("::1", 2222, name);
	assert_string_equal(name, "[::1]:2222");
}

static void a_server_is_new_the_same_or_changed(void **state)
{
	static const struct {
		const char *text;
		enum known_host found;
	} rows[] = {
		{ "", KNOWN_HOST_NEW },
		{ "# guest ssh-ed25519 AAAA\n\nother ssh-ed25519 AAAA\n", KNOWN_HOST_NEW },
		{ "guest2 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAABAECAwQ=\n", KNOWN_HOST_NEW },
		{ "guest ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAABAECAwQ=\n", KNOWN_HOST_SAME },
		{ "x y z\nguest ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAABAECAwQ= me\r\n",
		  KNOWN_HOST_SAME },
		{ "guest ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAABAECAwQ=", KNOWN_HOST_SAME },
		{ "guest ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAABAECAwU=\n", KNOWN_HOST_CHANGED },
		{ "guest ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAABAECAwQ=A\n", KNOWN_HOST_CHANGED },
		/* another kind of key: what somebody has who has not the first */
		{ "guest ssh-rsa AAAA\n", KNOWN_HOST_CHANGED },
		{ "guest ssh-rsa AAAA\nguest ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAABAECAwQ=\n",
		  KNOWN_HOST_SAME },
	};
	char *line = line_of("guest");

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(known_hosts_search(rows[i].text, line), rows[i].found);
	free(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_is_what_sshd_documents),
		cmocka_unit_test(base64_of_every_length),
		cmocka_unit_test(what_is_no_key_has_no_line),
		cmocka_unit_test(the_default_port_is_not_named),
		cmocka_unit_test(a_server_is_new_the_same_or_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
