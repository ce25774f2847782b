/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rpc/serial_session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define HOST_TAG 11
#define GUEST_TAG 22

/* A frame on the line, with room for a tag. */
struct sent {
	struct serial_frame frame;
	uint8_t payload[SERIAL_TAG_SIZE];
};

static struct sent control(const struct serial_session *from, enum serial_type type)
{
	struct sent sent = { .frame = serial_session_control(from, type) };

	serial_tag_write(from->ours, sent.payload);
	return sent;
}

static enum serial_event deliver(struct serial_session *to, struct sent *sent,
				 enum serial_reply *reply)
{
	sent->frame.payload = sent->payload;
	return serial_session_receive(to, &sent->frame, GUEST_TAG, reply);
}

static enum serial_event data(struct serial_session *from, struct serial_session *to)
{
	struct serial_frame frame = serial_session_data(from, 0);
	enum serial_reply reply;

	return serial_session_receive(to, &frame, 0, &reply);
}

static void connect_both(struct serial_session *host, struct serial_session *guest, uint64_t tag)
{
	enum serial_reply reply;
	struct sent sent;

	serial_session_call(host, tag);
	sent = control(host, SERIAL_CALL);
	assert_int_equal(deliver(guest, &sent, &reply), SERIAL_EVENT_OPENED);
	assert_int_equal(reply, SERIAL_REPLY_ANSWER);
	sent = control(guest, SERIAL_ANSWER);
	assert_int_equal(deliver(host, &sent, &reply), SERIAL_EVENT_OPENED);
	assert_int_equal(reply, SERIAL_REPLY_NONE);
}

static void a_call_that_is_answered_is_a_session(void **state)
{
	struct serial_session host = serial_session_host(), guest = serial_session_guest();

	(void)state;
	connect_both(&host, &guest, HOST_TAG);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(data(&host, &guest), SERIAL_EVENT_DATA);
		assert_int_equal(data(&guest, &host), SERIAL_EVENT_DATA);
	}
}

static void data_of_an_earlier_session_is_stale(void **state)
{
	struct serial_session host = serial_session_host(), guest = serial_session_guest();
	struct serial_session old_host, old_guest;

	(void)state;
	connect_both(&host, &guest, HOST_TAG);
	old_host = host;
	old_guest = guest;
	guest = serial_session_guest();
	guest.ours = 0;
	serial_session_call(&host, HOST_TAG + 1);
	assert_int_equal(data(&old_guest, &host), SERIAL_EVENT_STALE);
	assert_int_equal(data(&old_host, &guest), SERIAL_EVENT_STALE);
	assert_int_equal(host.state, SERIAL_CALLING);
}

static void an_answer_to_an_earlier_call_is_stale(void **state)
{
	struct serial_session host = serial_session_host(), guest = serial_session_guest();
	enum serial_reply reply;
	struct sent call, answer;

	(void)state;
	serial_session_call(&host, HOST_TAG);
	call = control(&host, SERIAL_CALL);
	assert_int_equal(deliver(&guest, &call, &reply), SERIAL_EVENT_OPENED);
	answer = control(&guest, SERIAL_ANSWER);
	serial_session_call(&host, HOST_TAG + 1);
	assert_int_equal(deliver(&host, &answer, &reply), SERIAL_EVENT_STALE);
	assert_int_equal(host.state, SERIAL_CALLING);
}

static void a_guest_that_starts_ends_the_session_or_is_called_again(void **state)
{
	struct serial_session host = serial_session_host(), guest = serial_session_guest();
	enum serial_reply reply;
	struct sent hello;

	(void)state;
	hello = control(&guest, SERIAL_HELLO);
	assert_int_equal(deliver(&host, &hello, &reply), SERIAL_EVENT_STALE);
	assert_int_equal(reply, SERIAL_REPLY_NONE);

	serial_session_call(&host, HOST_TAG);
	assert_int_equal(deliver(&host, &hello, &reply), SERIAL_EVENT_STALE);
	assert_int_equal(reply, SERIAL_REPLY_CALL);

	connect_both(&host, &guest, HOST_TAG);
	assert_int_equal(deliver(&host, &hello, &reply), SERIAL_EVENT_LOST);
	assert_int_equal(host.state, SERIAL_IDLE);
}

static void a_call_heard_twice_is_one_session(void **state)
{
	struct serial_session host = serial_session_host(), guest = serial_session_guest();
	enum serial_reply reply;
	struct sent call;

	(void)state;
	connect_both(&host, &guest, HOST_TAG);
	assert_int_equal(data(&guest, &host), SERIAL_EVENT_DATA);
	call = control(&(struct serial_session){ .ours = HOST_TAG }, SERIAL_CALL);
	assert_int_equal(deliver(&guest, &call, &reply), SERIAL_EVENT_STALE);
	assert_int_equal(reply, SERIAL_REPLY_ANSWER);
	assert_int_equal(data(&guest, &host), SERIAL_EVENT_DATA);
}

static void a_missing_frame_ends_the_session(void **state)
{
	struct serial_session host = serial_session_host(), guest = serial_session_guest();

	(void)state;
	connect_both(&host, &guest, HOST_TAG);
	(void)serial_session_data(&host, 10); /* lost */
	assert_int_equal(data(&host, &guest), SERIAL_EVENT_LOST);
	assert_int_equal(guest.state, SERIAL_IDLE);
}

static void each_direction_ends_by_itself(void **state)
{
	struct serial_session host = serial_session_host(), guest = serial_session_guest();
	enum serial_reply reply;
	struct sent end, close;

	(void)state;
	connect_both(&host, &guest, HOST_TAG);
	end = control(&host, SERIAL_END);
	assert_int_equal(deliver(&guest, &end, &reply), SERIAL_EVENT_ENDED);
	assert_int_equal(data(&guest, &host), SERIAL_EVENT_DATA);
	close = control(&guest, SERIAL_CLOSE);
	assert_int_equal(deliver(&host, &close, &reply), SERIAL_EVENT_CLOSED);
	assert_int_equal(deliver(&host, &close, &reply), SERIAL_EVENT_STALE);
}

static void a_guest_does_not_call_and_a_host_does_not_answer(void **state)
{
	struct serial_session host = serial_session_host(), guest = serial_session_guest();
	enum serial_reply reply;
	struct sent frame;

	(void)state;
	frame = control(&(struct serial_session){ .ours = 5 }, SERIAL_CALL);
	assert_int_equal(deliver(&host, &frame, &reply), SERIAL_EVENT_STALE);
	assert_int_equal(reply, SERIAL_REPLY_NONE);
	frame = control(&(struct serial_session){ .ours = 5 }, SERIAL_ANSWER);
	assert_int_equal(deliver(&guest, &frame, &reply), SERIAL_EVENT_STALE);
	frame = control(&(struct serial_session){ .ours = 0 }, SERIAL_CALL);
	assert_int_equal(deliver(&guest, &frame, &reply), SERIAL_EVENT_STALE);
	assert_int_equal(guest.state, SERIAL_IDLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_that_is_answered_is_a_session),
		cmocka_unit_test(data_of_an_earlier_session_is_stale),
		cmocka_unit_test(an_answer_to_an_earlier_call_is_stale),
		cmocka_unit_test(a_guest_that_starts_ends_the_session_or_is_called_again),
		cmocka_unit_test(a_call_heard_twice_is_one_session),
		cmocka_unit_test(a_missing_frame_ends_the_session),
		cmocka_unit_test(each_direction_ends_by_itself),
		cmocka_unit_test(a_guest_does_not_call_and_a_host_does_not_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
