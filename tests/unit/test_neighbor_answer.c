/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/neighbor_answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/wire.h"

/* As the guest itself would answer. */
static void assert_answer(const uint8_t *question, size_t len, const struct ipaddr *guest,
			  const uint8_t *expected, size_t expected_len)
{
	uint8_t answer[NEIGHBOR_ANSWER_SIZE], *exact = malloc(len);
	struct ipaddr target;

	memcpy(exact, question, len);
	assert_true(neighbor_is_question(exact, len, &target));
	assert_true(ipaddr_equal(&target, guest));
	assert_int_equal(neighbor_answer(exact, &wire_guest_mac, answer), expected_len);
	assert_memory_equal(answer, expected, expected_len);
	free(exact);
}

static void an_arp_request_is_answered(void **state)
{
	struct wire reply = wire_to(&wire_gateway4, 0, 0), request = wire_back(&reply);
	uint8_t question[64], expected[64];
	size_t len;

	(void)state;
	request.dst_mac = wire_broadcast_mac;
	len = wire_arp(question, &request, 1);
	assert_answer(question, len, &wire_guest4, expected, wire_arp(expected, &reply, 2));
}

static void a_solicitation_is_answered(void **state)
{
	struct wire reply = wire_to(&wire_gateway6, 0, 0), request = wire_back(&reply);
	uint8_t question[100], expected[100], message[32] = { 135, [24] = 1, [25] = 1 };
	size_t len, expected_len = wire_neighbor_advertisement(expected, &reply);

	(void)state;
	memcpy(message + 8, wire_guest6.b, 16);
	len = wire_icmp(question, &request, message, sizeof(message));
	assert_answer(question, len, &wire_guest6, expected, expected_len);
}

static void everything_else_is_no_question(void **state)
{
	struct wire w = wire_to(&wire_gateway4, 1, 2), six = wire_to(&wire_gateway6, 1, 2);
	uint8_t bytes[100], message[24] = { 136 };
	struct ipaddr target;

	(void)state;
	assert_false(neighbor_is_question(bytes, wire_arp(bytes, &w, 2), &target));
	assert_false(neighbor_is_question(bytes, wire_arp(bytes, &w, 1) - 1, &target));
	assert_false(neighbor_is_question(bytes, wire_udp(bytes, &w, "x", 1), &target));
	assert_false(neighbor_is_question(bytes, wire_udp(bytes, &six, "x", 1), &target));
	assert_false(neighbor_is_question(bytes, wire_icmp(bytes, &six, message, sizeof(message)),
					  &target));
	message[0] = 135;
	assert_false(neighbor_is_question(
		bytes, wire_icmp(bytes, &six, message, sizeof(message)) - 1, &target));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_arp_request_is_answered),
		cmocka_unit_test(a_solicitation_is_answered),
		cmocka_unit_test(everything_else_is_no_question),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
