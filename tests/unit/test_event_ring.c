/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/event_ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
	struct event_ring ring;
	struct event_reader reader;
	char text[4096];
};

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){ .text = "" };
	event_reader_init(&f.reader, &f.ring);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	event_reader_deinit(&f->reader);
	event_ring_deinit(&f->ring);
	return 0;
}

static void add(struct fixture *f, unsigned int first, unsigned int n)
{
	for (unsigned int i = first; i < first + n; i++) {
		char text[32];

		(void)snprintf(text, sizeof(text), "{%u}", i);
		event_ring_add(&f->ring, text);
	}
}

static const char *read_up_to(struct fixture *f, size_t max)
{
	size_t len = event_reader_read(&f->reader, f->text, max);

	assert_true(len <= max);
	f->text[len] = '\0';
	return f->text;
}

static void a_reader_gets_each_event_once(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(read_up_to(f, 100), "");
	add(f, 1, 2);
	assert_string_equal(read_up_to(f, 100), "{1}\n{2}\n");
	assert_string_equal(read_up_to(f, 100), "");
	add(f, 3, 1);
	assert_string_equal(read_up_to(f, 100), "{3}\n");
}

static void a_line_may_be_read_in_pieces(void **state)
{
	struct fixture *f = *state;

	add(f, 10, 2);
	assert_string_equal(read_up_to(f, 1), "{");
	assert_string_equal(read_up_to(f, 2), "10");
	assert_string_equal(read_up_to(f, 6), "}\n{11}");
	assert_string_equal(read_up_to(f, 6), "\n");
	assert_string_equal(read_up_to(f, 6), "");
}

static void a_slow_reader_is_told_what_it_missed(void **state)
{
	struct fixture *f = *state;
	const char *rest;

	add(f, 0, 1);
	assert_string_equal(read_up_to(f, 2), "{0");
	add(f, 1, EVENT_RING_SIZE + 5); /* 1 to 5 are overwritten */
	rest = read_up_to(f, sizeof(f->text) - 1);
	assert_ptr_equal(strstr(rest, "}\n{\"event\":\"missed\",\"count\":\"5\"}\n{6}\n{7}\n"),
			 rest);
	assert_string_equal(rest + strlen(rest) - 6, "{261}\n");
}

static void a_new_reader_begins_with_what_is_kept(void **state)
{
	struct fixture *f = *state;

	add(f, 0, EVENT_RING_SIZE + 1);
	event_reader_init(&f->reader, &f->ring);
	assert_string_equal(read_up_to(f, 4), "{1}\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_reader_gets_each_event_once),
		TEST(a_line_may_be_read_in_pieces),
		TEST(a_slow_reader_is_told_what_it_missed),
		TEST(a_new_reader_begins_with_what_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
