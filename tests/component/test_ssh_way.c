/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh_way.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/config.h"
#include "forwarder/ssh/known_hosts.h"
#include "forwarder/state_dir.h"

static char home[] = "/tmp/netfwd-test.XXXXXX";
static const struct state_env env = { .home = home };

static int make_home(void **state)
{
	(void)state;
	return mkdtemp(home) ? 0 : -1;
}

static int remove_home(void **state)
{
	static const char *const made[] = { "/.local/state/netfwd", "/.local/state", "/.local",
					    "" };

	(void)state;
	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
		char path[128];

		snprintf(path, sizeof(path), "%s%s", home, made[i]);
		rmdir(path);
	}
	return 0;
}

static void keys_are_kept_for_each_configuration_by_itself(void **state)
{
	const struct config config = { .ssh.port = 0 };
	struct options a = { .config = &config, .config_path = "/etc/a.yaml" };
	struct options b = { .config = &config, .config_path = "/srv/a.yaml" };
	char path_a[SSH_WAY_PATH_SIZE], path_b[SSH_WAY_PATH_SIZE], start[128];

	(void)state;
	assert_int_equal(ssh_way_known_hosts(&a, &env, path_a), 0);
	assert_int_equal(ssh_way_known_hosts(&b, &env, path_b), 0);
	assert_string_not_equal(path_a, path_b);
	snprintf(start, sizeof(start), "%s/.local/state/netfwd/a.yaml-", home);
	assert_ptr_equal(strstr(path_a, start), path_a);
	assert_string_equal(path_a + strlen(path_a) - 12, ".known_hosts");
	/* and found again */
	assert_int_equal(ssh_way_known_hosts(&a, &env, path_b), 0);
	assert_string_equal(path_a, path_b);
}

static void where_they_are_kept_can_be_said(void **state)
{
	char given[] = "/k/known_hosts";
	const struct config config = { .ssh.known_hosts = given };
	struct options o = { .config = &config, .config_path = "/etc/a.yaml" };
	char path[SSH_WAY_PATH_SIZE];

	(void)state;
	assert_int_equal(ssh_way_known_hosts(&o, &env, path), 0);
	assert_string_equal(path, given);
}

static const uint8_t ed25519[] = "\0\0\0\x0bssh-ed25519\0\0\0\x04\x01\x02\x03\x04";

static void a_key_is_added_once(void **state)
{
	const struct known_host_key key = { ed25519, sizeof(ed25519) - 1 };
	char path[64];
	struct stat st;
	char *line;
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/known_hosts", home);
	assert_int_equal(known_hosts_check(path, "guest", &key, &line), KNOWN_HOST_NEW);
	assert_int_equal(known_hosts_add(path, line), 0);
	free(line);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(known_hosts_check(path, "guest", &key, &line), KNOWN_HOST_SAME);
	free(line);
	/* a last line without its end is not continued */
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(write(fd, "# by hand", 9), 9);
	close(fd);
	assert_int_equal(known_hosts_check(path, "other", &key, &line), KNOWN_HOST_NEW);
	assert_int_equal(known_hosts_add(path, line), 0);
	free(line);
	assert_int_equal(known_hosts_check(path, "other", &key, &line), KNOWN_HOST_SAME);
	free(line);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_kept_for_each_configuration_by_itself),
		cmocka_unit_test(where_they_are_kept_can_be_said),
		cmocka_unit_test(a_key_is_added_once),
	};

	return cmocka_run_group_tests(tests, make_home, remove_home);
}
