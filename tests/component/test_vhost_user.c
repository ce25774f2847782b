/* SPDX-License-Identifier: Apache-2.0 */
/* vhost_user/backend.c, message.c and server.c with a front end that sends
 * messages, right and wrong ones; the device is a link. */
#include <errno.h>
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
#include "netstack/link_vhost_user.h"
#include "tests/support/fake_loop.h"
#include "tests/support/front_end.h"
#include "tests/support/link_probe.h"
#include "tests/support/unix_address.h"

#define MTU 65520
/* VERSION_1, PROTOCOL_FEATURES, INDIRECT_DESC, MRG_RXBUF, the offloads */
#define PLAIN (1ULL << 32 | 1ULL << 30 | 1ULL << 28 | 1ULL << 15)
#define OFFLOADS (PLAIN | 3U | 3U << 7 | 3U << 11)

struct fixture {
	struct loop *loop;
	struct link_probe probe;
	struct front_end fe;
	char dir[32], path[64];
};

static const struct link_vhost_user_config config = { .mtu = MTU, .mac = { { 2, 3, 4, 5, 6, 7 } } };

static void settle(struct fixture *f)
{
	fake_loop_settle(f->loop);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct link *link;

	*state = f;
	memcpy(f->dir, "/tmp/netfwd-test-XXXXXX", 24);
	if (!mkdtemp(f->dir) || loop_new(&f->loop) < 0)
		return -1;
	(void)snprintf(f->path, sizeof(f->path), "%s/sock", f->dir);
	if (link_vhost_user_listen(f->loop, f->path, &config, &link) < 0)
		return -1;
	link_probe_attach(&f->probe, link);
	front_end_init(&f->fe, unix_connected(SOCK_STREAM, f->path), PLAIN);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	link_free(f->probe.link);
	loop_free(f->loop);
	front_end_deinit(&f->fe);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static void start(struct fixture *f)
{
	front_end_start_like_qemu(&f->fe);
	settle(f);
	assert_true(f->probe.is_up);
}

static void features_and_configuration_are_told(void **state)
{
	struct fixture *f = *state;
	struct {
		uint32_t offset, size, flags;
		uint8_t bytes[12];
	} space = { 0, 12, 0, { 0 } };
	uint64_t features = 0;

	front_end_send(&f->fe, VHOST_GET_FEATURES, NULL, 0, -1);
	settle(f);
	assert_int_equal(front_end_receive(&f->fe, &features, sizeof(features)), 8);
	assert_int_equal(features & OFFLOADS, OFFLOADS);
	front_end_send(&f->fe, VHOST_GET_CONFIG, &space, sizeof(space), -1);
	settle(f);
	assert_int_equal(front_end_receive(&f->fe, &space, sizeof(space)), sizeof(space));
	assert_memory_equal(space.bytes, config.mac.b, 6);
	assert_int_equal(space.bytes[6], 1); /* link up */
	assert_int_equal(space.bytes[10] | space.bytes[11] << 8, MTU);
	/* past the end there is nothing */
	space.offset = 8;
	front_end_send(&f->fe, VHOST_GET_CONFIG, &space, sizeof(space), -1);
	settle(f);
	assert_int_equal(front_end_receive(&f->fe, &space, sizeof(space)), 0);
	assert_true(f->fe.fd >= 0);
}

/* What is acknowledged with an error, and the connection goes on. */
static void assert_refused(struct fixture *f, enum vhost_request request, const void *payload,
			   size_t size)
{
	uint64_t answer = 0;

	front_end_send_ack(&f->fe, request, payload, size, -1);
	settle(f);
	assert_int_equal(front_end_receive(&f->fe, &answer, sizeof(answer)), sizeof(answer));
	assert_int_not_equal(answer, 0);
}

static void messages_that_ask_too_much_are_refused(void **state)
{
	struct fixture *f = *state;
	const uint64_t too_many = UINT64_MAX;
	const uint32_t no_queue[2] = { 2, 64 }, bad_size[2] = { 0, 3 }, zero[10] = { 0 };
	const uint32_t logged[10] = { 0, 1 };

	front_end_negotiate(&f->fe);
	settle(f);
	assert_refused(f, VHOST_SET_FEATURES, &too_many, 8);
	assert_refused(f, VHOST_SET_PROTOCOL_FEATURES, &too_many, 8);
	assert_refused(f, VHOST_SET_VRING_NUM, no_queue, 8);
	assert_refused(f, VHOST_SET_VRING_NUM, bad_size, 8);
	assert_refused(f, VHOST_SET_VRING_NUM, bad_size, 4);
	assert_refused(f, VHOST_SET_VRING_ADDR, no_queue, 8);
	assert_refused(f, VHOST_SET_VRING_ADDR, logged, 40);
	assert_refused(f, VHOST_SET_VRING_ENABLE, no_queue, 8);
	assert_refused(f, VHOST_SET_VRING_KICK, zero, 8); /* without descriptor */
	assert_refused(f, VHOST_SET_VRING_CALL, zero, 8);
	assert_refused(f, VHOST_SET_MEM_TABLE, zero, 8);
	assert_refused(f, VHOST_SET_MEM_TABLE, zero, 4);
	assert_refused(f, VHOST_SET_BACKEND_REQ_FD, zero, 0);
	assert_refused(f, (enum vhost_request)99, zero, 8);

	start(f); /* no harm was done */
}

static void a_ring_outside_the_memory_is_refused(void **state)
{
	struct fixture *f = *state;
	uint64_t answer = 0;
	struct {
		uint32_t index, flags;
		uint64_t desc, used, avail, log;
	} addr = { 0, 0, 16, 16, 16, 0 };

	start(f);
	front_end_send_ack(&f->fe, VHOST_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	settle(f);
	assert_int_equal(front_end_receive(&f->fe, &answer, sizeof(answer)), sizeof(answer));
	assert_int_equal(answer, EINVAL);
	assert_false(f->probe.is_up);
}

static void a_front_end_that_is_none_is_disconnected(void **state)
{
	static const uint32_t bad[][3] = {
		{ VHOST_GET_FEATURES, 2, 0 },			  /* version */
		{ VHOST_GET_FEATURES, 1 | VHOST_FLAG_REPLY, 0 },  /* an answer */
		{ VHOST_GET_FEATURES, 1, VHOST_MAX_PAYLOAD + 1 }, /* size */
		{ 0xffffffff, 1, 0 },				  /* unknown */
	};
	struct fixture *f = *state;
	uint8_t byte;

	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(send(f->fe.fd, bad[i], sizeof(bad[i]), 0), sizeof(bad[i]));
		settle(f);
		assert_int_equal(recv(f->fe.fd, &byte, 1, MSG_DONTWAIT), 0);
		close(f->fe.fd);
		f->fe.fd = unix_connected(SOCK_STREAM, f->path);
	}
	start(f);
}

static void a_message_in_pieces_is_one(void **state)
{
	const uint32_t message[5] = { VHOST_SET_FEATURES, 1 | VHOST_FLAG_NEED_REPLY, 8, 0, 0 };
	struct fixture *f = *state;
	uint64_t answer = 1;

	for (unsigned int i = 0; i < sizeof(message); i++) {
		assert_int_equal(send(f->fe.fd, (const uint8_t *)message + i, 1, 0), 1);
		settle(f);
	}
	assert_int_equal(front_end_receive(&f->fe, &answer, sizeof(answer)), sizeof(answer));
	assert_int_equal(answer, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(features_and_configuration_are_told),
		TEST(messages_that_ask_too_much_are_refused),
		TEST(a_ring_outside_the_memory_is_refused),
		TEST(a_front_end_that_is_none_is_disconnected),
		TEST(a_message_in_pieces_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
