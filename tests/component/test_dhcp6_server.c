/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/dhcp6_server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/bytes.h"
#include "netstack/base/loop.h"
#include "tests/support/fake_loop.h"

#define NOTHING 0
#define SUCCESS 0
#define NO_ADDRESS 2
#define NOT_ON_LINK 4
#define NONE 99 /* no status */

struct fixture {
	struct loop *loop;
	struct dhcp6_server *server;
	bool is_full; /* no address is left */
	/* the last that was sent */
	uint8_t type;
	unsigned int status, ia_status;
	struct ipaddr given; /* any: none */
	bool was_taken;
};

static const struct mac mac = { { 2, 0, 0, 0, 0, 1 } };
static const struct ipaddr from = { { 0xfe, 0x80, [15] = 9 } };
static const struct ipaddr own = { { 0xfd, [15] = 0x20 } };

static int on_address(void *arg, const struct mac *of, const char *name, bool is_taken,
		      struct ipaddr *out)
{
	struct fixture *f = arg;

	assert_true(mac_equal(of, &mac));
	assert_string_equal(name, "");
	f->was_taken = is_taken;
	*out = own;
	return f->is_full ? -ENOSPC : 0;
}

static void read_ia(struct fixture *f, const uint8_t *at, const uint8_t *end)
{
	for (at += 12; at < end; at += 4U + get_be16(at + 2)) {
		if (get_be16(at) == 13)
			f->ia_status = get_be16(at + 4);
		else if (get_be16(at) == 5 && get_be32(at + 4 + 16))
			f->given = ipaddr_from_v6(at + 4);
	}
}

static void on_reply(void *arg, const struct mac *to_mac, const struct ipaddr *to,
		     const void *message, size_t len)
{
	const uint8_t *m = message, *end = m + len;
	struct fixture *f = arg;

	assert_true(mac_equal(to_mac, &mac));
	assert_true(ipaddr_equal(to, &from));
	f->type = m[0];
	for (const uint8_t *at = m + 4; at < end; at += 4U + get_be16(at + 2)) {
		if (get_be16(at) == 13)
			f->status = get_be16(at + 4);
		else if (get_be16(at) == 3)
			read_ia(f, at + 4, at + 4 + get_be16(at + 2));
	}
}

static const struct dhcp6_server_owner owner = { .address = on_address, .reply = on_reply };

static int setup(void **state)
{
	static struct fixture f;
	const struct dhcp6_server_config config = {
		.settings = { .server = { "\0\3\0\1\x52", 5 }, .lease_s = 600 },
		.prefix = { { 0xfd } },
		.owner = &owner,
		.arg = &f,
	};

	memset(&f, 0, sizeof(f));
	*state = &f;
	if (loop_new(&f.loop) < 0)
		return -1;
	return dhcp6_server_new(f.loop, &config, &f.server);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	dhcp6_server_free(f->server);
	loop_free(f->loop);
	return 0;
}

#define CLIENT "\0\1\0\4\0\1\xaa\xbb"
#define SERVER "\0\2\0\5\0\3\0\1\x52"
#define IA "\0\3\0\x0c\0\0\0\7\0\0\0\0\0\0\0\0"
#define IA_HERE                                                                            \
	"\0\3\0\x28\0\0\0\7\0\0\0\0\0\0\0\0\0\5\0\x18\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10" \
	"\0\0\0\0\0\0\0\0"
#define IA_ELSEWHERE                                                                       \
	"\0\3\0\x28\0\0\0\7\0\0\0\0\0\0\0\0\0\5\0\x18\xfd\0\1\0\0\0\0\0\0\0\0\0\0\0\0\x10" \
	"\0\0\0\0\0\0\0\0"

static void say(struct fixture *f, const char *message, size_t len)
{
	f->type = NOTHING;
	f->status = f->ia_status = NONE;
	f->given = IPADDR_V6_ANY;
	f->was_taken = false;
	dhcp6_server_receive(f->server, &mac, &from, (const uint8_t *)message, len);
}

#define SAY(f, message) say((f), (message), sizeof(message) - 1)

static void a_guest_gets_its_address_in_two_steps(void **state)
{
	struct fixture *f = *state;

	SAY(f, "\1\0\0\1" CLIENT IA);
	assert_int_equal(f->type, DHCP6_ADVERTISE);
	assert_true(ipaddr_equal(&f->given, &own));
	assert_false(f->was_taken);
	SAY(f, "\3\0\0\2" CLIENT SERVER IA);
	assert_int_equal(f->type, DHCP6_REPLY);
	assert_true(ipaddr_equal(&f->given, &own));
	assert_true(f->was_taken);
}

static void or_at_once_if_it_says_so(void **state)
{
	struct fixture *f = *state;

	SAY(f, "\1\0\0\1" CLIENT IA "\0\x0e\0\0");
	assert_int_equal(f->type, DHCP6_REPLY);
	assert_true(ipaddr_equal(&f->given, &own));
	assert_true(f->was_taken);
}

static void it_keeps_it_by_renewing_and_rebinding(void **state)
{
	struct fixture *f = *state;

	SAY(f, "\5\0\0\1" CLIENT SERVER IA_HERE);
	assert_int_equal(f->type, DHCP6_REPLY);
	assert_true(ipaddr_equal(&f->given, &own)); /* and not the one it spoke of */
	SAY(f, "\6\0\0\1" CLIENT IA_HERE);
	assert_int_equal(f->type, DHCP6_REPLY);
	assert_true(f->was_taken);
}

static void a_guest_that_moved_is_told_so(void **state)
{
	struct fixture *f = *state;

	SAY(f, "\4\0\0\1" CLIENT IA_HERE);
	assert_int_equal(f->status, SUCCESS);
	SAY(f, "\4\0\0\1" CLIENT IA_ELSEWHERE);
	assert_int_equal(f->status, NOT_ON_LINK);
	SAY(f, "\4\0\0\1" CLIENT IA);
	assert_int_equal(f->type, NOTHING);
}

static void settings_alone_need_no_address(void **state)
{
	struct fixture *f = *state;

	f->is_full = true;
	SAY(f, "\x0b\0\0\1" CLIENT);
	assert_int_equal(f->type, DHCP6_REPLY);
	SAY(f, "\x0b\0\0\1"); /* nor a name */
	assert_int_equal(f->type, DHCP6_REPLY);
	assert_int_equal(dhcp6_server_counters(f->server)->exhausted, 0);
}

static void without_an_address_that_is_said(void **state)
{
	struct fixture *f = *state;

	f->is_full = true;
	SAY(f, "\1\0\0\1" CLIENT IA);
	assert_int_equal(f->type, DHCP6_ADVERTISE);
	assert_int_equal(f->ia_status, NO_ADDRESS);
	assert_int_equal(dhcp6_server_counters(f->server)->exhausted, 1);
}

static void an_address_that_was_declined_is_left_alone_for_a_while(void **state)
{
	struct fixture *f = *state;

	SAY(f, "\x09\0\0\1" CLIENT SERVER IA_HERE);
	assert_int_equal(f->status, SUCCESS);
	SAY(f, "\1\0\0\1" CLIENT IA);
	assert_int_equal(f->ia_status, NO_ADDRESS);
	fake_loop_advance(f->loop, 600 * 1000 + 1);
	SAY(f, "\1\0\0\1" CLIENT IA);
	assert_true(ipaddr_equal(&f->given, &own));
	assert_int_equal(dhcp6_server_counters(f->server)->declined, 1);
}

static void a_released_address_is_kept_for_the_guest(void **state)
{
	struct fixture *f = *state;

	SAY(f, "\x08\0\0\1" CLIENT SERVER IA_HERE);
	assert_int_equal(f->status, SUCCESS);
	SAY(f, "\1\0\0\1" CLIENT IA);
	assert_true(ipaddr_equal(&f->given, &own));
}

static void what_is_not_for_us_is_not_answered(void **state)
{
	struct fixture *f = *state;

	SAY(f, "\3\0\0\1" CLIENT "\0\2\0\5\0\3\0\1\x53" IA);
	assert_int_equal(f->type, NOTHING);
	SAY(f, "\3\0\0\1" CLIENT "\0\2\0\4\0\3\0\1" IA);
	assert_int_equal(f->type, NOTHING);
	SAY(f, "\3\0\0");
	assert_int_equal(f->type, NOTHING);
	assert_int_equal(dhcp6_server_counters(f->server)->foreign, 2);
	assert_int_equal(dhcp6_server_counters(f->server)->malformed, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_guest_gets_its_address_in_two_steps),
		TEST(or_at_once_if_it_says_so),
		TEST(it_keeps_it_by_renewing_and_rebinding),
		TEST(a_guest_that_moved_is_told_so),
		TEST(settings_alone_need_no_address),
		TEST(without_an_address_that_is_said),
		TEST(an_address_that_was_declined_is_left_alone_for_a_while),
		TEST(a_released_address_is_kept_for_the_guest),
		TEST(what_is_not_for_us_is_not_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
