/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU as a child process; a shell script plays QEMU. */
#include "forwarder/qemu.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "forwarder/qemu_probe.h"
#include "netstack/base/loop.h"
#include "tests/support/run_until.h"

struct fixture {
	struct loop *loop;
	struct qemu *qemu;
	struct qemu_ends ends;
	enum qemu_nic nic;
	bool has_vsock, needs_vsock;
	int link_fd;
	int status; /* -1: still running */
	char script[64];
};

static void on_exit_status(void *arg, int status)
{
	struct fixture *t = arg;

	t->status = status;
}

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));
	int fd;

	assert_int_equal(loop_new(&t->loop), 0);
	t->link_fd = -1;
	t->status = -1;
	(void)snprintf(t->script, sizeof(t->script), "/tmp/netfwd-test-XXXXXX");
	fd = mkstemp(t->script);
	assert_true(fd >= 0);
	close(fd);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	qemu_free(t->qemu);
	if (t->link_fd >= 0)
		close(t->link_fd);
	loop_free(t->loop);
	unlink(t->script);
	free(t);
	return 0;
}

static void write_script(struct fixture *t, const char *body)
{
	FILE *file = fopen(t->script, "w");

	assert_non_null(file);
	assert_true(fprintf(file, "#!/bin/bash\n%s\n", body) > 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(t->script, 0700), 0);
}

static int prepare(struct fixture *t, char *argv[])
{
	const struct qemu_config config = {
		.argv = argv,
		.mtu = 1500,
		.nic = t->nic,
		.nic_path = "/run/nic,1",
		.vsock_path = t->has_vsock ? "/run/v" : NULL,
		.needs_vsock = t->needs_vsock,
		.on_exit = on_exit_status,
		.arg = t,
	};

	int r = qemu_new(t->loop, &config, &t->ends, &t->qemu);

	t->link_fd = t->ends.link_fd;
	return r;
}

static void start(struct fixture *t, const char *body)
{
	char *argv[] = { t->script, NULL };

	write_script(t, body);
	assert_int_equal(prepare(t, argv), 0);
	assert_int_equal(qemu_start(t->qemu), 0);
}

static bool has_exited(void *arg)
{
	const struct fixture *t = arg;

	return t->status >= 0;
}

/* The text that the script sends over the descriptor it was told of. */
static void expect_on_link(struct fixture *t, const char *want)
{
	char got[512];
	ssize_t n = recv(t->link_fd, got, sizeof(got) - 1, 0);

	assert_true(n > 0);
	got[n] = '\0';
	assert_string_equal(got, want);
}

/* $1 -netdev $2 ...,addr.str=N */
#define FD_OF_NETDEV "fd=${2##*=}; "

static void the_child_gets_our_arguments_and_a_working_descriptor(void **state)
{
	struct fixture *t = *state;

	start(t, FD_OF_NETDEV "printf '%s' \"$1 $3 ${4%%,mac=*} ${4##*,}\" >&$fd; exit 7");
	run_until(t->loop, has_exited, t);
	expect_on_link(t, "-netdev -device virtio-net-pci,netdev=netfwd0 host_mtu=1500");
	assert_int_equal(t->status, 7);
}

static void a_guest_that_shares_its_memory_gets_both_devices(void **state)
{
	struct fixture *t = *state;
	char option[] = "-m", size[] = "1G", got[2048];
	char *argv[] = { t->script, option, size, NULL };
	FILE *file;

	t->nic = QEMU_NIC_VHOST_USER;
	t->has_vsock = t->needs_vsock = true;
	write_script(t, "printf '%s ' \"${@%%,mac=*}\" >$0.out");
	assert_int_equal(prepare(t, argv), 0);
	assert_int_equal(t->link_fd, -1);
	assert_true(t->ends.has_vsock);
	assert_int_equal(qemu_start(t->qemu), 0);
	run_until(t->loop, has_exited, t);
	(void)snprintf(got, sizeof(got), "%s.out", t->script);
	file = fopen(got, "r");
	assert_non_null(file);
	(void)unlink(got);
	assert_non_null(fgets(got, sizeof(got), file));
	(void)fclose(file);
	assert_string_equal(got, "-m 1G "
				 "-object memory-backend-memfd,id=netfwd-memory,share=on,size=1G "
				 "-machine memory-backend=netfwd-memory "
				 "-chardev socket,id=netfwd-nic,path=/run/nic,,1 "
				 "-netdev vhost-user,id=netfwd0,chardev=netfwd-nic "
				 "-device virtio-net-pci,vectors=0,netdev=netfwd0 "
				 "-chardev socket,id=netfwd-vsock,path=/run/v "
				 "-device vhost-user-vsock-pci,chardev=netfwd-vsock,vectors=0 ");
}

static void memory_that_is_decided_over_cannot_be_shared(void **state)
{
	struct fixture *t = *state;
	char option[] = "-numa", value[] = "node";
	char *argv[] = { t->script, option, value, NULL };

	write_script(t, "exit 0");
	t->nic = QEMU_NIC_VHOST_USER;
	assert_int_equal(prepare(t, argv), -EINVAL);
	t->nic = QEMU_NIC_AUTO;
	t->has_vsock = t->needs_vsock = true;
	assert_int_equal(prepare(t, argv), 0);
	assert_true(t->link_fd >= 0);
	assert_false(t->ends.has_vsock);
}

static void what_this_qemu_has_decides_over_the_nic(void **state)
{
	struct fixture *t = *state;
	char *argv[] = { t->script, NULL };

	t->nic = QEMU_NIC_AUTO;
	write_script(t, "printf 'Available netdev backend types:\\nstream\\nvhost-user\\n'");
	assert_int_equal(prepare(t, argv), 0);
	assert_int_equal(t->link_fd, -1);
	qemu_free(t->qemu);
	write_script(t, "printf 'stream\\nvhost-user-x\\n'");
	assert_int_equal(prepare(t, argv), 0);
	assert_true(t->link_fd >= 0);
}

static void a_vsock_comes_along_where_qemu_has_it_and_shares_its_memory(void **state)
{
	struct fixture *t = *state;
	char *argv[] = { t->script, NULL };

	t->has_vsock = true;
	t->nic = QEMU_NIC_VHOST_USER;
	write_script(t, "echo \"${2%,help} options:\"");
	assert_int_equal(prepare(t, argv), 0);
	assert_true(t->ends.has_vsock);
	qemu_free(t->qemu);
	write_script(t, "exit 1"); /* there is no such device */
	assert_int_equal(prepare(t, argv), 0);
	assert_false(t->ends.has_vsock);
	qemu_free(t->qemu);
	t->nic = QEMU_NIC_STREAM;
	write_script(t, "echo \"${2%,help} options:\"");
	assert_int_equal(prepare(t, argv), 0);
	assert_false(t->ends.has_vsock);
}

/* ... -device D -chardev socket,id=I,fd=N -device PORT */
static void the_child_gets_a_port_for_the_agent(void **state)
{
	struct fixture *t = *state;
	char *argv[] = { t->script, NULL };
	char got[512];
	int agent_fd = -1;
	const struct qemu_config config = {
		.argv = argv,
		.mtu = 1500,
		.agent_fd = &agent_fd,
		.on_exit = on_exit_status,
		.arg = t,
	};
	ssize_t n;

	write_script(t, "fd=${8##*=}; printf '%s' \"$5 $6 $7 $9 ${10}\" >&$fd");
	assert_int_equal(qemu_new(t->loop, &config, &t->ends, &t->qemu), 0);
	t->link_fd = t->ends.link_fd;
	assert_int_equal(qemu_start(t->qemu), 0);
	run_until(t->loop, has_exited, t);
	n = recv(agent_fd, got, sizeof(got) - 1, 0);
	assert_true(n > 0);
	got[n] = '\0';
	assert_string_equal(got, "-device virtio-serial-pci,id=netfwd-serial0 -chardev -device "
				 "virtserialport,bus=netfwd-serial0.0,chardev=netfwd-agent0,"
				 "name=io.netfwd.agent.0");
	assert_int_equal(recv(agent_fd, got, sizeof(got), 0), 0); /* only QEMU had it */
	close(agent_fd);
}

static void the_users_arguments_come_first_and_unchanged(void **state)
{
	struct fixture *t = *state;
	char with_blank[] = "a b", option[] = "-m";
	char *argv[] = { t->script, option, with_blank, NULL };

	write_script(t, "fd=${4##*=}; printf '%s' \"$#|$1|$2|$3\" >&$fd");
	assert_int_equal(prepare(t, argv), 0);
	assert_int_equal(qemu_start(t->qemu), 0);
	run_until(t->loop, has_exited, t);
	expect_on_link(t, "6|-m|a b|-netdev");
	assert_int_equal(t->status, 0);
}

static void a_device_of_the_users_is_not_added_twice(void **state)
{
	struct fixture *t = *state;
	char option[] = "-device", device[] = "e1000,netdev=netfwd0";
	char *argv[] = { t->script, option, device, NULL };

	write_script(t, "fd=${4##*=}; printf '%s' \"$#|$3\" >&$fd");
	assert_int_equal(prepare(t, argv), 0);
	assert_int_equal(qemu_start(t->qemu), 0);
	run_until(t->loop, has_exited, t);
	expect_on_link(t, "4|-netdev");
}

/* A descriptor that the user passes through us keeps its number. */
static void descriptors_of_the_users_are_left_alone(void **state)
{
	struct fixture *t = *state;
	char script[256];
	int passed[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, passed), 0);
	(void)snprintf(script, sizeof(script), "printf through >&%d", passed[1]);
	start(t, script);
	run_until(t->loop, has_exited, t);
	close(t->link_fd);
	t->link_fd = passed[0];
	expect_on_link(t, "through");
	close(passed[1]);
}

static bool is_end_of_link(void *arg)
{
	const struct fixture *t = arg;
	char byte;

	return recv(t->link_fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void when_the_child_ends_the_link_ends(void **state)
{
	struct fixture *t = *state;

	start(t, "exit 0");
	run_until(t->loop, is_end_of_link, t);
}

static void a_child_that_is_killed_has_the_status_of_a_shell(void **state)
{
	struct fixture *t = *state;

	start(t, "kill -KILL $$");
	run_until(t->loop, has_exited, t);
	assert_int_equal(t->status, 128 + 9);
}

static void stop_asks_the_child_to_end(void **state)
{
	struct fixture *t = *state;
	char ready[1];

	start(t, FD_OF_NETDEV "trap 'exit 3' TERM; printf r >&$fd; "
			      "while :; do sleep 0.05; done");
	assert_int_equal(recv(t->link_fd, ready, 1, 0), 1);
	qemu_stop(t->qemu);
	qemu_stop(t->qemu); /* twice is once */
	run_until(t->loop, has_exited, t);
	assert_int_equal(t->status, 3);
}

static void a_child_that_does_not_listen_is_killed(void **state)
{
	struct fixture *t = *state;
	char ready[1];

	start(t, FD_OF_NETDEV "trap '' TERM; printf r >&$fd; while :; do sleep 0.05; done");
	assert_int_equal(recv(t->link_fd, ready, 1, 0), 1);
	qemu_stop(t->qemu);
	run_until(t->loop, has_exited, t);
	assert_int_equal(t->status, 128 + 9);
}

static void a_program_that_is_not_there_is_an_error(void **state)
{
	struct fixture *t = *state;
	char program[] = "/nonexistent/qemu";
	char *argv[] = { program, NULL };

	assert_int_equal(prepare(t, argv), 0);
	assert_int_equal(qemu_start(t->qemu), -ENOENT);
}

static void arguments_that_cannot_be_used_are_an_error(void **state)
{
	struct fixture *t = *state;
	char option[] = "-daemonize";
	char *argv[] = { t->script, option, NULL };

	assert_int_equal(prepare(t, argv), -EINVAL);
	assert_null(t->qemu);
}

static void the_version_of_a_program_is_asked_for(void **state)
{
	struct fixture *t = *state;
	struct qemu_version version;

	write_script(t, "[ \"$1\" = --version ] && echo 'QEMU emulator version 8.2.2 (x)'");
	assert_int_equal(qemu_probe_version(t->script, &version), 0);
	assert_int_equal(version.major, 8);
	assert_int_equal(version.minor, 2);

	write_script(t, "echo what; exit 1");
	assert_int_equal(qemu_probe_version(t->script, &version), -EINVAL);
	write_script(t, "yes 'no version here'");
	assert_int_equal(qemu_probe_version(t->script, &version), -EINVAL);
	assert_int_equal(qemu_probe_version("/nonexistent/qemu", &version), -ENOENT);
}

static void a_program_that_does_not_answer_is_given_up(void **state)
{
	struct fixture *t = *state;
	struct qemu_version version;

	write_script(t, "exec sleep 1000");
	assert_int_equal(qemu_probe_version(t->script, &version), -ETIMEDOUT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_child_gets_our_arguments_and_a_working_descriptor),
		TEST(a_guest_that_shares_its_memory_gets_both_devices),
		TEST(memory_that_is_decided_over_cannot_be_shared),
		TEST(what_this_qemu_has_decides_over_the_nic),
		TEST(a_vsock_comes_along_where_qemu_has_it_and_shares_its_memory),
		TEST(the_child_gets_a_port_for_the_agent),
		TEST(the_users_arguments_come_first_and_unchanged),
		TEST(a_device_of_the_users_is_not_added_twice),
		TEST(descriptors_of_the_users_are_left_alone),
		TEST(when_the_child_ends_the_link_ends),
		TEST(a_child_that_is_killed_has_the_status_of_a_shell),
		TEST(stop_asks_the_child_to_end),
		TEST(a_child_that_does_not_listen_is_killed),
		TEST(a_program_that_is_not_there_is_an_error),
		TEST(arguments_that_cannot_be_used_are_an_error),
		TEST(the_version_of_a_program_is_asked_for),
		TEST(a_program_that_does_not_answer_is_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
