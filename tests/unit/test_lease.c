/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/lease.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/bytes.h"

#define NOW 1000000U

static struct lease_table t;

static struct ipaddr addr(uint8_t number)
{
	return (struct ipaddr)IPADDR_V4(192, 168, 105, number);
}

static struct lease_client client(uint32_t number)
{
	struct lease_client c = { .mac = { { 2 } } };

	put_be32(c.mac.b + 2, number);
	return c;
}

static struct lease_client client_with_id(uint32_t number, const char *id)
{
	struct lease_client c = client(number);

	c.id_len = (uint8_t)strlen(id);
	memcpy(c.id, id, c.id_len);
	return c;
}

static int setup(void **state)
{
	const struct lease_range range = { addr(16), addr(19) };
	const struct ipaddr gateway = addr(17);

	(void)state;
	lease_table_init(&t, &range);
	lease_reserve(&t, &gateway);
	return 0;
}

static struct lease *choose(const struct lease_client *c, uint64_t now)
{
	return lease_choose(&t, c, &IPADDR_V6_ANY, now);
}

/* Chooses and binds: the last byte of the address, or 0. */
static uint8_t give(uint32_t number, uint64_t now, uint64_t until)
{
	struct lease_client c = client(number);
	struct lease *l = choose(&c, now);

	if (!l)
		return 0;
	lease_bind(l, &c, until);
	return l->addr.b[15];
}

static void every_guest_has_an_address_of_its_own(void **state)
{
	(void)state;
	assert_int_equal(give(1, NOW, NOW + 10), 16);
	assert_int_equal(give(2, NOW, NOW + 10), 18); /* 17 is the gateway's */
	assert_int_equal(give(1, NOW, NOW + 10), 16); /* the same again */
	assert_int_equal(give(3, NOW, NOW + 10), 19);
	assert_int_equal(give(4, NOW, NOW + 10), 0); /* no more */
	assert_int_equal(give(2, NOW, NOW + 10), 18);
}

static void an_ended_lease_is_the_guests_until_it_is_needed(void **state)
{
	(void)state;
	give(1, NOW, NOW + 30);
	give(2, NOW, NOW + 10);
	assert_int_equal(give(3, NOW + 100, NOW + 200), 19); /* one that nobody had first */
	assert_int_equal(give(1, NOW + 100, NOW + 130), 16);
	assert_int_equal(give(4, NOW + 100, NOW + 300), 18); /* 2's ended first */
	assert_int_equal(give(2, NOW + 100, NOW + 300), 0);
	assert_int_equal(give(2, NOW + 130, NOW + 300), 16); /* 1's has ended by now */
}

static void an_offer_is_held_for_a_while(void **state)
{
	struct lease_client one = client(1);

	(void)state;
	assert_non_null(choose(&one, NOW));
	assert_int_equal(give(2, NOW, NOW + 1000), 18);
	assert_int_equal(give(3, NOW, NOW + 1000), 19);
	assert_int_equal(give(4, NOW + LEASE_OFFER_S - 1, NOW + 1000), 0);
	assert_int_equal(give(4, NOW + LEASE_OFFER_S, NOW + 1000), 16);
}

static void a_wish_is_granted_where_nobody_is(void **state)
{
	struct lease_client one = client(1), two = client(2), three = client(3);
	const struct ipaddr wanted = addr(19), gateway = addr(17), outside = addr(99);

	(void)state;
	assert_true(ipaddr_equal(&lease_choose(&t, &one, &wanted, NOW)->addr, &wanted));
	assert_int_equal(lease_choose(&t, &two, &wanted, NOW)->addr.b[15], 16);
	assert_int_equal(lease_choose(&t, &three, &gateway, NOW)->addr.b[15], 18);
	assert_null(lease_of_address(&t, &outside));
	assert_int_equal(lease_choose(&t, &three, &outside, NOW)->addr.b[15], 18);
}

static void a_client_is_known_by_its_id_with_another_card(void **state)
{
	struct lease_client old = client_with_id(1, "machine"), new = client_with_id(2, "machine");
	struct lease_client other = client_with_id(3, "machine2"), none = client(4);
	struct lease *l = choose(&old, NOW);

	(void)state;
	lease_bind(l, &old, NOW + 10);
	assert_ptr_equal(lease_find(&t, &new), l);
	assert_null(lease_find(&t, &other));
	assert_null(lease_find(&t, &none));
	lease_bind(l, &new, NOW + 10);
	assert_ptr_equal(lease_find(&t, &new), l);
}

static void a_static_lease_is_for_ever(void **state)
{
	struct lease_client one = client(1);
	const struct ipaddr outside = addr(200), inside = addr(16);

	(void)state;
	assert_int_equal(lease_add_static(&t, &one.mac, &outside, "Web.example"), 0);
	assert_int_equal(lease_add_static(&t, &one.mac, &inside, ""), -EEXIST);
	one = client(2);
	assert_int_equal(lease_add_static(&t, &one.mac, &outside, ""), -EEXIST);
	assert_int_equal(lease_add_static(&t, &one.mac, &inside, "web"), -EEXIST);
	assert_int_equal(give(1, NOW, NOW + 1), 200);
	lease_decline(&t, &outside, NOW);
	assert_int_equal(give(1, NOW + 1000, NOW + 2000), 200);
	assert_ptr_equal(lease_of_name(&t, "web"), lease_of_address(&t, &outside));
}

static void a_declined_address_rests(void **state)
{
	const struct ipaddr first = addr(16);

	(void)state;
	give(1, NOW, NOW + 1000);
	lease_decline(&t, &first, NOW);
	assert_int_equal(give(1, NOW, NOW + 5000), 18);
	assert_int_equal(give(2, NOW, NOW + 5000), 19);
	assert_int_equal(give(3, NOW + LEASE_DECLINED_S - 1, NOW + 5000), 0);
	assert_int_equal(give(3, NOW + LEASE_DECLINED_S, NOW + 5000), 16);
}

static void nobody_can_decline_the_whole_range(void **state)
{
	const struct lease_range range = { addr(1), addr(100) };
	uint32_t n = 0;

	(void)state;
	lease_table_init(&t, &range);
	for (uint8_t i = 1; i <= 100; i++) {
		const struct ipaddr a = addr(i);

		lease_decline(&t, &a, NOW + i);
	}
	while (give(n + 1, NOW + 200, NOW + 5000))
		n++;
	assert_int_equal(n, 100 - LEASE_MAX_DECLINED);
}

static void a_name_is_one_label_and_one_guests(void **state)
{
	static const struct {
		const char *text, *name;
		int result;
	} cases[] = {
		{ "box", "box", 0 },
		{ "BOX-1", "box-1", 0 },
		{ "box.lan.example", "box", 0 },
		{ "box 1", "", -EINVAL },
		{ "b\xc3\xb6x", "", -EINVAL },
		{ "-box", "", -EINVAL },
		{ "box-", "", -EINVAL },
		{ ".", "", -EINVAL },
		{ "", "", -EINVAL },
		{ "host", "", -EEXIST },
		{ "taken", "", -EEXIST },
	};
	struct lease_client one = client(1), two = client(2);
	struct lease *l = choose(&one, NOW);

	(void)state;
	assert_int_equal(lease_set_name(&t, choose(&two, NOW), "taken"), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(lease_set_name(&t, l, cases[i].text), cases[i].result);
		assert_string_equal(l->name, cases[i].name);
	}
	assert_null(lease_of_name(&t, ""));
}

static void leases_survive_as_text(void **state)
{
	struct lease_client one = client_with_id(1, "\x01\x02\xff"), two = client(2);
	struct lease *l = choose(&one, NOW);
	char *text = malloc(4096), *again = malloc(4096);
	size_t len;

	(void)state;
	lease_bind(l, &one, NOW + 77);
	assert_int_equal(lease_set_name(&t, l, "box"), 0);
	choose(&two, NOW); /* but an offer */
	give(3, NOW, NOW + 1);
	len = lease_format(&t, text, 4096);
	assert_string_equal(text, "192.168.105.16 02:00:00:00:00:01 1000077 0102ff box\n"
				  "192.168.105.19 02:00:00:00:00:03 1000001 - -\n");
	assert_int_equal(len, strlen(text));

	setup(NULL);
	assert_int_equal(lease_parse(&t, text), 0);
	assert_int_equal(lease_format(&t, again, 4096), len);
	assert_string_equal(again, text);
	assert_ptr_equal(lease_find(&t, &one), lease_of_name(&t, "box"));
	free(text);
	free(again);
}

static void lines_that_are_none_are_left_out(void **state)
{
	static const char text[] = "192.168.105.16 02:00:00:00:00:01 5 - -\n"
				   "192.168.105.16 02:00:00:00:00:02 5 - -\n" /* given already */
				   "192.168.105.18 02:00:00:00:00:01 5 - -\n" /* has one already */
				   "192.168.105.17 02:00:00:00:00:03 5 - -\n" /* the gateway's */
				   "192.168.105.99 02:00:00:00:00:03 5 - -\n" /* out of range */
				   "192.168.105.18 02:00:00:00:00 5 - -\n"
				   "192.168.105.18 02:00:00:00:00:03 5 0 -\n"
				   "192.168.105.18 02:00:00:00:00:03 x - -\n"
				   "fd00::1 02:00:00:00:00:03 5 - -\n"
				   "\n"
				   "# a comment\n"
				   "192.168.105.18 02:00:00:00:00:03 5 - a_b";

	(void)state;
	assert_int_equal(lease_parse(&t, text), 9);
	assert_int_equal(t.n, 2);
	assert_string_equal(t.leases[1].name, "");
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_guest_has_an_address_of_its_own),
		TEST(an_ended_lease_is_the_guests_until_it_is_needed),
		TEST(an_offer_is_held_for_a_while),
		TEST(a_wish_is_granted_where_nobody_is),
		TEST(a_client_is_known_by_its_id_with_another_card),
		TEST(a_static_lease_is_for_ever),
		TEST(a_declined_address_rests),
		TEST(nobody_can_decline_the_whole_range),
		TEST(a_name_is_one_label_and_one_guests),
		TEST(leases_survive_as_text),
		TEST(lines_that_are_none_are_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
