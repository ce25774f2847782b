/* SPDX-License-Identifier: Apache-2.0 */
/* vsock/hybrid.c: programs with UNIX sockets on one side, a guest's driver on the
 * other. */
#include "netstack/vsock/hybrid.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "netstack/base/loop.h"
#include "netstack/unix_socket.h"
#include "netstack/vsock/device.h"
#include "tests/support/fake_loop.h"
#include "tests/support/unix_address.h"
#include "tests/support/vsock_guest.h"

#define FEATURES (1ULL << 32 | 1ULL << 30 | 1ULL << 28)

struct fixture {
	struct loop *loop;
	struct vsock *vsock;
	struct vsock_hybrid *hybrid;
	struct front_end fe;
	char dir[32], device[64], uds[64], of_port[80];
	struct vsock_packet packet;
	struct vsock_header header;
	int program;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	memcpy(f->dir, "/tmp/netfwd-test-XXXXXX", 24);
	if (!mkdtemp(f->dir) || loop_new(&f->loop) < 0)
		return -1;
	(void)snprintf(f->device, sizeof(f->device), "%s/device", f->dir);
	(void)snprintf(f->uds, sizeof(f->uds), "%s/v", f->dir);
	(void)snprintf(f->of_port, sizeof(f->of_port), "%s_77", f->uds);
	if (vsock_device_listen(f->loop, f->device,
				&(struct vsock_device_config){ .guest_cid = VSOCK_GUEST_CID },
				&f->vsock) < 0 ||
	    vsock_hybrid_new(f->loop, f->vsock, f->uds, &f->hybrid) < 0)
		return -1;
	front_end_init(&f->fe, unix_connected(SOCK_STREAM, f->device), FEATURES);
	front_end_start_like_uml(&f->fe);
	vsock_guest_offer(&f->fe, FRONT_END_RING);
	fake_loop_settle(f->loop);
	f->program = unix_connected(SOCK_STREAM, f->uds);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vsock_hybrid_free(f->hybrid);
	vsock_free(f->vsock);
	loop_free(f->loop);
	front_end_deinit(&f->fe);
	close(f->program);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static void say(struct fixture *f, const char *text)
{
	assert_int_equal(send(f->program, text, strlen(text), 0), strlen(text));
	fake_loop_settle(f->loop);
}

static void assert_hears(struct fixture *f, const char *text)
{
	char got[64] = "";

	fake_loop_settle(f->loop);
	assert_int_equal(recv(f->program, got, sizeof(got) - 1, MSG_DONTWAIT), strlen(text));
	assert_string_equal(got, text);
}

static void assert_closed(struct fixture *f)
{
	char byte;

	fake_loop_settle(f->loop);
	assert_true(recv(f->program, &byte, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN);
}

static void take_op(struct fixture *f, enum vsock_op op)
{
	fake_loop_settle(f->loop);
	assert_true(vsock_guest_take(&f->fe, &f->packet));
	assert_int_equal(f->packet.header.op, op);
}

static void guest_says(struct fixture *f, enum vsock_op op, const char *text)
{
	struct vsock_header h = vsock_guest_header(op, f->packet.header.src_port);

	h.len = (uint32_t)strlen(text);
	vsock_guest_send(&f->fe, &h, text);
	fake_loop_settle(f->loop);
}

static void a_program_reaches_the_guest(void **state)
{
	struct fixture *f = *state;
	char ok[32];

	say(f, "CONN");
	say(f, "ECT 1234\nfirst bytes"); /* behind the line, in the same piece */
	take_op(f, VSOCK_OP_REQUEST);
	assert_int_equal(f->packet.header.dst_port, 1234);
	(void)snprintf(ok, sizeof(ok), "OK %u\n", f->packet.header.src_port);
	guest_says(f, VSOCK_OP_RESPONSE, "");
	assert_hears(f, ok);
	take_op(f, VSOCK_OP_RW);
	assert_int_equal(f->packet.header.len, 11);
	assert_memory_equal(f->packet.payload, "first bytes", 11);
	guest_says(f, VSOCK_OP_RW, "answer");
	assert_hears(f, "answer");
}

static void a_refusal_closes_without_a_word(void **state)
{
	struct fixture *f = *state;

	say(f, "connect 1234\n"); /* in any case */
	take_op(f, VSOCK_OP_REQUEST);
	guest_says(f, VSOCK_OP_RST, "");
	assert_closed(f);
}

static void what_is_no_request_is_closed(void **state)
{
	static const char *const bad[] = {
		"GET / HTTP/1.0\n",	 "CONNECT \n",
		"CONNECT -1\n",		 "CONNECT 4294967295\n",
		"CONNECT 12x\n",	 "CONNECT  12\n",
		"CONNECT 99999999999\n", "CONNECT 000000000000000000000000000000001\n",
	};
	struct fixture *f = *state;

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		say(f, bad[i]);
		assert_closed(f);
		close(f->program);
		f->program = unix_connected(SOCK_STREAM, f->uds);
	}
	assert_false(vsock_guest_take(&f->fe, &f->packet));
}

static void a_program_that_says_nothing_is_closed_in_the_end(void **state)
{
	struct fixture *f = *state;

	say(f, "CONNECT");
	fake_loop_advance(f->loop, 11000);
	assert_closed(f);
}

static void a_program_that_leaves_meanwhile_is_forgotten(void **state)
{
	struct fixture *f = *state;

	say(f, "CONNECT 1234\n");
	take_op(f, VSOCK_OP_REQUEST);
	close(f->program);
	f->program = unix_connected(SOCK_STREAM, f->uds);
	guest_says(f, VSOCK_OP_RESPONSE, "");
	fake_loop_settle(f->loop);
	assert_true(vsock_guest_take(&f->fe, &f->packet)); /* the end, in one form or another */
}

static void a_guest_reaches_the_socket_of_the_port(void **state)
{
	struct fixture *f = *state;
	struct unix_socket server;
	char got[8] = "";
	int fd;

	f->packet.header.src_port = 77;
	guest_says(f, VSOCK_OP_REQUEST, "");
	take_op(f, VSOCK_OP_RST); /* nobody is there */

	assert_int_equal(unix_socket_listen(f->of_port, &server), 0);
	guest_says(f, VSOCK_OP_REQUEST, "");
	take_op(f, VSOCK_OP_RESPONSE);
	fd = accept(server.fd, NULL, NULL);
	assert_true(fd >= 0);
	guest_says(f, VSOCK_OP_RW, "hello");
	assert_int_equal(recv(fd, got, sizeof(got), MSG_DONTWAIT), 5);
	assert_string_equal(got, "hello");
	close(fd);
	unix_socket_close(&server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_program_reaches_the_guest),
		TEST(a_refusal_closes_without_a_word),
		TEST(what_is_no_request_is_closed),
		TEST(a_program_that_says_nothing_is_closed_in_the_end),
		TEST(a_program_that_leaves_meanwhile_is_forgotten),
		TEST(a_guest_reaches_the_socket_of_the_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
