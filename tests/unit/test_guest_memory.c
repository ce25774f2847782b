/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/vhost_user/guest_memory.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/virtio_driver.h"

#define PAGE 4096U

struct fixture {
	struct guest_ram low, high;
};

static int setup(void **state)
{
	static struct fixture f;

	guest_ram_init(&f.low, 4 * PAGE);
	guest_ram_init(&f.high, 4 * PAGE);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	guest_ram_deinit(&f->low);
	guest_ram_deinit(&f->high);
	return 0;
}

/* Two pages of low at 0x1000, behind them, touching, two pages of high. */
static struct guest_memory *map_both(const struct fixture *f)
{
	const struct guest_region regions[] = {
		{ 0x1000, 2 * PAGE, 0x500000, PAGE },
		{ 0x1000 + 2 * PAGE, 2 * PAGE, 0x900000, 0 },
	};
	const int fds[] = { f->low.fd, f->high.fd };
	struct guest_memory *memory = NULL;

	assert_int_equal(guest_memory_new(regions, fds, 2, &memory), 0);
	return memory;
}

static void an_address_leads_to_the_bytes_of_its_region(void **state)
{
	const struct fixture *f = *state;
	struct guest_memory *memory = map_both(f);
	size_t len = 3;

	memcpy(f->low.bytes + PAGE + 5, "low", 3);
	memcpy(f->high.bytes, "high", 4);

	assert_memory_equal(guest_memory_at(memory, 0x1005, &len), "low", 3);
	assert_int_equal(len, 3);
	len = 4;
	assert_memory_equal(guest_memory_at(memory, 0x1000 + 2 * PAGE, &len), "high", 4);
	assert_memory_equal(guest_memory_at_user(memory, 0x500005, 3), "low", 3);
	assert_memory_equal(guest_memory_at_user(memory, 0x900000, 4), "high", 4);
	guest_memory_unref(memory);
}

static void a_piece_ends_with_its_region(void **state)
{
	struct guest_memory *memory = map_both(*state);
	size_t len = 2 * PAGE;

	assert_non_null(guest_memory_at(memory, 0x1000 + PAGE, &len));
	assert_int_equal(len, PAGE);
	assert_null(guest_memory_at_user(memory, 0x500000 + PAGE, PAGE + 1));
	guest_memory_unref(memory);
}

static void an_address_outside_leads_nowhere(void **state)
{
	static const uint64_t wild[] = { 0, 0xfff, 0x1000 + 4 * PAGE, UINT64_MAX, 1ULL << 63 };
	struct guest_memory *memory = map_both(*state);

	for (unsigned int i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
		size_t len = 1;

		assert_null(guest_memory_at(memory, wild[i], &len));
		assert_null(guest_memory_at_user(memory, wild[i], 1));
	}
	assert_null(guest_memory_at_user(memory, 0x500000, SIZE_MAX));
	guest_memory_unref(memory);
}

static void nothing_is_nowhere(void **state)
{
	struct guest_memory *memory = map_both(*state);
	size_t len = 0;

	assert_null(guest_memory_at(memory, 0x1000, &len));
	guest_memory_unref(memory);
}

static void the_memory_stays_while_somebody_refers_to_it(void **state)
{
	const struct fixture *f = *state;
	struct guest_memory *memory = map_both(f);
	size_t len = 1;
	uint8_t *byte = guest_memory_at(memory, 0x1000, &len);

	guest_memory_ref(memory);
	guest_memory_unref(memory);
	f->low.bytes[PAGE] = 42;
	assert_int_equal(*byte, 42);
	guest_memory_unref(memory);
}

static void a_table_that_cannot_be_is_refused(void **state)
{
	const struct fixture *f = *state;
	const struct {
		unsigned int n;
		struct guest_region regions[2];
	} bad[] = {
		{ 0, { { 0 } } },
		{ 1, { { 0, 0, 0, 0 } } },				/* empty */
		{ 1, { { 0, 5 * PAGE, 0, 0 } } },			/* behind the file's end */
		{ 1, { { 0, PAGE, 0, 4 * PAGE } } },			/* likewise */
		{ 1, { { UINT64_MAX - 5, PAGE, 0, 0 } } },		/* wraps around */
		{ 1, { { 0, PAGE, UINT64_MAX - 5, 0 } } },		/* likewise */
		{ 1, { { 0, PAGE, 0, UINT64_MAX - 5 } } },		/* likewise */
		{ 1, { { 0, UINT64_MAX, 0, 0 } } },			/* more than there is */
		{ 2, { { 0, PAGE, 0, 0 }, { 1, PAGE, 0x900000, 0 } } }, /* overlap */
		{ 2, { { 0, PAGE, 9, 0 }, { PAGE, PAGE, 10, 0 } } },	/* likewise */
	};
	const int fds[] = { f->low.fd, f->high.fd };
	struct guest_region many[GUEST_MEMORY_MAX_REGIONS + 1] = { { 0 } };
	struct guest_memory *memory = NULL;

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(guest_memory_new(bad[i].regions, fds, bad[i].n, &memory), -EINVAL);
	assert_int_equal(guest_memory_new(many, fds, GUEST_MEMORY_MAX_REGIONS + 1, &memory),
			 -EINVAL);
	assert_null(memory);
}

static void a_descriptor_that_is_no_file_is_refused(void **state)
{
	const struct guest_region region = { 0, PAGE, 0, 0 };
	struct guest_memory *memory = NULL;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(guest_memory_new(&region, fds, 1, &memory), -EINVAL);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_leads_to_the_bytes_of_its_region),
		cmocka_unit_test(a_piece_ends_with_its_region),
		cmocka_unit_test(an_address_outside_leads_nowhere),
		cmocka_unit_test(nothing_is_nowhere),
		cmocka_unit_test(the_memory_stays_while_somebody_refers_to_it),
		cmocka_unit_test(a_table_that_cannot_be_is_refused),
		cmocka_unit_test(a_descriptor_that_is_no_file_is_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
