/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/vhost_user/virtqueue.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/virtio_driver.h"

#define SIZE 16U
#define RAM_SIZE (64U << 10)
#define MAX_PIECES 32U

struct fixture {
	struct guest_ram ram;
	struct guest_memory *memory;
	struct driver_ring driver;
	struct virtqueue device;
	size_t free_at; /* memory behind the ring */
	struct iovec iov[MAX_PIECES];
	struct virtqueue_chain chain;
};

static void start(struct fixture *f, bool has_event_idx, bool has_indirect)
{
	struct virtqueue_layout layout = driver_ring_layout(&f->driver);

	layout.has_event_idx = has_event_idx;
	layout.has_indirect = has_indirect;
	virtqueue_stop(&f->device);
	assert_int_equal(virtqueue_start(&f->device, f->memory, &layout), 0);
}

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	guest_ram_init(&f.ram, RAM_SIZE);
	f.memory = guest_ram_map(&f.ram);
	f.free_at = driver_ring_init(&f.driver, &f.ram, SIZE, 0);
	start(&f, false, true);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	virtqueue_stop(&f->device);
	guest_memory_unref(f->memory);
	guest_ram_deinit(&f->ram);
	return 0;
}

static uint64_t addr(const struct fixture *f, size_t offset)
{
	return RAM_GUEST_ADDR + f->free_at + offset;
}

static struct driver_desc desc(uint64_t at, uint32_t len, uint16_t flags, uint16_t next)
{
	return (struct driver_desc){ at, len, flags, next };
}

static int pop(struct fixture *f)
{
	return virtqueue_pop(&f->device, f->iov, MAX_PIECES, &f->chain);
}

/* ---- what goes well ---- */

static void an_empty_ring_gives_nothing(void **state)
{
	assert_int_equal(pop(*state), 0);
}

static void a_chain_comes_in_its_order_read_before_written(void **state)
{
	struct fixture *f = *state;

	driver_ring_set(&f->driver, 3, desc(addr(f, 0), 10, DESC_NEXT, 7));
	driver_ring_set(&f->driver, 7, desc(addr(f, 100), 20, DESC_NEXT, 1));
	driver_ring_set(&f->driver, 1, desc(addr(f, 200), 30, DESC_WRITE, 0));
	driver_ring_offer(&f->driver, 3);

	assert_int_equal(pop(f), 1);
	assert_int_equal(f->chain.head, 3);
	assert_int_equal(f->chain.n_out, 2);
	assert_int_equal(f->chain.out_len, 30);
	assert_int_equal(f->chain.n_in, 1);
	assert_int_equal(f->chain.in_len, 30);
	assert_int_equal(f->iov[1].iov_len, 20);
	((uint8_t *)f->iov[2].iov_base)[0] = 99;
	assert_int_equal(f->ram.bytes[f->free_at + 200], 99);
	assert_int_equal(pop(f), 0);
}

static void an_indirect_table_is_a_chain(void **state)
{
	struct fixture *f = *state;

	driver_table_set(&f->ram, f->free_at, 0, desc(addr(f, 512), 12, DESC_NEXT, 2));
	driver_table_set(&f->ram, f->free_at, 2, desc(addr(f, 1024), 700, 0, 0));
	driver_ring_set(&f->driver, 0, desc(addr(f, 0), 48, DESC_INDIRECT, 0));
	driver_ring_offer(&f->driver, 0);

	assert_int_equal(pop(f), 1);
	assert_int_equal(f->chain.n_out, 2);
	assert_int_equal(f->chain.out_len, 712);
}

static void a_piece_without_bytes_is_left_out(void **state)
{
	struct fixture *f = *state;

	driver_ring_set(&f->driver, 0, desc(0, 0, DESC_NEXT, 1));
	driver_ring_set(&f->driver, 1, desc(addr(f, 0), 5, 0, 0));
	driver_ring_offer(&f->driver, 0);

	assert_int_equal(pop(f), 1);
	assert_int_equal(f->chain.n_out, 1);
}

static void a_chain_given_back_is_seen_once_published(void **state)
{
	struct fixture *f = *state;
	uint32_t head, len;

	driver_ring_set(&f->driver, 5, desc(addr(f, 0), 100, DESC_WRITE, 0));
	driver_ring_offer(&f->driver, 5);
	assert_int_equal(pop(f), 1);
	virtqueue_push(&f->device, f->chain.head, 77);
	assert_false(driver_ring_take(&f->driver, &head, &len));

	assert_true(virtqueue_publish(&f->device));
	assert_true(driver_ring_take(&f->driver, &head, &len));
	assert_int_equal(head, 5);
	assert_int_equal(len, 77);
	assert_false(virtqueue_publish(&f->device));
}

static void chains_put_back_come_again(void **state)
{
	struct fixture *f = *state;

	for (uint16_t i = 0; i < 3; i++) {
		driver_ring_set(&f->driver, i, desc(addr(f, 0), 1, 0, 0));
		driver_ring_offer(&f->driver, i);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(pop(f), 1);
	virtqueue_unpop(&f->device, 2);

	assert_int_equal(pop(f), 1);
	assert_int_equal(f->chain.head, 1);
}

static void the_ring_and_its_indexes_wrap_around(void **state)
{
	struct fixture *f = *state;
	uint32_t head, len;

	for (unsigned int i = 0; i < 3 * 65536; i++) {
		uint16_t at = (uint16_t)(i * 7 % SIZE);

		driver_ring_set(&f->driver, at, desc(addr(f, at), at + 1U, 0, 0));
		driver_ring_offer(&f->driver, at);
		assert_int_equal(pop(f), 1);
		assert_int_equal(f->chain.out_len, at + 1U);
		virtqueue_push(&f->device, f->chain.head, 0);
		(void)virtqueue_publish(&f->device);
		assert_true(driver_ring_take(&f->driver, &head, &len));
		assert_int_equal(head, at);
	}
}

static void a_buffer_over_the_border_of_two_regions_is_two_pieces(void **state)
{
	struct fixture *f = *state;
	struct virtqueue_layout layout = driver_ring_layout(&f->driver);
	const struct guest_region regions[] = {
		{ RAM_GUEST_ADDR, RAM_SIZE / 2, RAM_USER_ADDR, 0 },
		{ RAM_GUEST_ADDR + RAM_SIZE / 2, RAM_SIZE / 2, 1, RAM_SIZE / 2 },
	};
	const int fds[] = { f->ram.fd, f->ram.fd };
	struct guest_memory *memory;

	assert_int_equal(guest_memory_new(regions, fds, 2, &memory), 0);
	virtqueue_stop(&f->device);
	assert_int_equal(virtqueue_start(&f->device, memory, &layout), 0);
	guest_memory_unref(memory);
	driver_ring_set(&f->driver, 0, desc(RAM_GUEST_ADDR + RAM_SIZE / 2 - 10, 30, 0, 0));
	driver_ring_offer(&f->driver, 0);

	assert_int_equal(pop(f), 1);
	assert_int_equal(f->chain.n_out, 2);
	assert_int_equal(f->iov[0].iov_len, 10);
	assert_int_equal(f->iov[1].iov_len, 20);
}

static void what_was_under_way_at_a_restart_comes_again(void **state)
{
	struct fixture *f = *state;

	for (uint16_t i = 0; i < 3; i++) {
		driver_ring_set(&f->driver, i, desc(addr(f, 0), 1, 0, 0));
		driver_ring_offer(&f->driver, i);
		assert_int_equal(pop(f), 1);
	}
	virtqueue_push(&f->device, 0, 0);
	(void)virtqueue_publish(&f->device);
	start(f, false, true);

	assert_int_equal(pop(f), 1);
	assert_int_equal(f->chain.head, 1);
}

/* ---- signals and kicks ---- */

static bool give_back_one(struct fixture *f)
{
	driver_ring_set(&f->driver, 0, desc(addr(f, 0), 1, 0, 0));
	driver_ring_offer(&f->driver, 0);
	assert_int_equal(pop(f), 1);
	virtqueue_push(&f->device, 0, 0);
	return virtqueue_publish(&f->device);
}

static void a_driver_that_wants_no_signal_gets_none(void **state)
{
	struct fixture *f = *state;

	assert_true(give_back_one(f));
	*driver_avail_flags(&f->driver) = 1;
	assert_false(give_back_one(f));
	*driver_avail_flags(&f->driver) = 0;
	assert_true(give_back_one(f));
}

static void a_signal_comes_when_the_index_asked_for_is_reached(void **state)
{
	struct fixture *f = *state;

	start(f, true, false);
	assert_true(give_back_one(f)); /* the first always */
	*driver_used_event(&f->driver) = 2;
	assert_false(give_back_one(f));
	assert_true(give_back_one(f));
	assert_false(give_back_one(f));
}

static void kicks_are_asked_for_by_flag_or_index(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(*driver_used_flags(&f->driver), 1);
	assert_false(virtqueue_enable_kicks(&f->device));
	assert_int_equal(*driver_used_flags(&f->driver), 0);
	virtqueue_disable_kicks(&f->device);
	assert_int_equal(*driver_used_flags(&f->driver), 1);

	(void)give_back_one(f);
	start(f, true, false);
	assert_false(virtqueue_enable_kicks(&f->device));
	assert_int_equal(*driver_avail_event(&f->driver), 1);
}

static void chains_that_came_before_kicks_were_asked_for_are_told(void **state)
{
	struct fixture *f = *state;

	driver_ring_set(&f->driver, 0, desc(addr(f, 0), 1, 0, 0));
	driver_ring_offer(&f->driver, 0);
	assert_true(virtqueue_enable_kicks(&f->device));
}

/* ---- a driver that lies ---- */

/* The queue says what is wrong, and gives nothing any more. */
static void assert_fault(struct fixture *f, const char *fault)
{
	assert_int_equal(pop(f), -EPROTO);
	assert_string_equal(f->device.fault, fault);
	driver_ring_set(&f->driver, 0, desc(addr(f, 0), 1, 0, 0));
	driver_ring_offer(&f->driver, 0);
	assert_int_equal(pop(f), -EPROTO);
}

static void a_chain_that_is_a_loop_is_a_fault(void **state)
{
	struct fixture *f = *state;

	driver_ring_set(&f->driver, 0, desc(addr(f, 0), 1, DESC_NEXT, 1));
	driver_ring_set(&f->driver, 1, desc(addr(f, 0), 1, DESC_NEXT, 0));
	driver_ring_offer(&f->driver, 0);
	assert_fault(f, "a chain that is a loop");
}

static void an_indirect_loop_is_a_fault(void **state)
{
	struct fixture *f = *state;

	driver_table_set(&f->ram, f->free_at, 0, desc(addr(f, 0), 0, DESC_NEXT, 0));
	driver_ring_set(&f->driver, 0, desc(addr(f, 0), 16, DESC_INDIRECT, 0));
	driver_ring_offer(&f->driver, 0);
	assert_fault(f, "a chain that is a loop");
}

static void a_head_or_link_outside_the_table_is_a_fault(void **state)
{
	struct fixture *f = *state;

	driver_ring_offer(&f->driver, SIZE);
	assert_fault(f, "a descriptor that does not exist");
	start(f, false, true);
	f->driver.next_avail = 0;
	driver_ring_set(&f->driver, 2, desc(addr(f, 0), 1, DESC_NEXT, 0xffff));
	driver_ring_offer(&f->driver, 2);
	assert_fault(f, "a descriptor that does not exist");
}

static void a_wild_address_is_a_fault(void **state)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
	} wild[] = {
		{ 0, 1 },
		{ RAM_GUEST_ADDR - 1, 2 },
		{ RAM_GUEST_ADDR + RAM_SIZE - 1, 2 },
		{ RAM_GUEST_ADDR, RAM_SIZE + 1 },
		{ RAM_GUEST_ADDR, UINT32_MAX },
		{ UINT64_MAX, UINT32_MAX },
	};
	struct fixture *f = *state;

	for (unsigned int i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
		start(f, false, true);
		f->driver.next_avail = 0;
		driver_ring_set(&f->driver, 0, desc(wild[i].addr, wild[i].len, 0, 0));
		driver_ring_offer(&f->driver, 0);
		assert_fault(f, "a buffer outside the guest's memory");
	}
}

static void an_index_too_far_ahead_is_a_fault(void **state)
{
	struct fixture *f = *state;

	/* also when it is looked at before a sleep: that must not go on for ever */
	*driver_avail_index(&f->driver) = SIZE + 1;
	assert_true(virtqueue_enable_kicks(&f->device));
	assert_fault(f, "an index that is ahead by more than the ring has");
	*driver_avail_index(&f->driver) = 0;
	f->driver.next_avail = 0;
	start(f, false, true);
	*driver_avail_index(&f->driver) = SIZE + 1;
	assert_fault(f, "an index that is ahead by more than the ring has");
	start(f, false, true);
	*driver_avail_index(&f->driver) = 0xffff; /* backwards */
	assert_fault(f, "an index that is ahead by more than the ring has");
}

static void a_buffer_to_be_read_behind_one_to_be_written_is_a_fault(void **state)
{
	struct fixture *f = *state;

	driver_ring_set(&f->driver, 0, desc(addr(f, 0), 1, DESC_NEXT | DESC_WRITE, 1));
	driver_ring_set(&f->driver, 1, desc(addr(f, 0), 1, 0, 0));
	driver_ring_offer(&f->driver, 0);
	assert_fault(f, "a buffer to be read behind one to be written");
}

/* A table at an address, of a length, with flags besides DESC_INDIRECT. */
static void assert_bad_table(struct fixture *f, struct driver_desc d, const char *fault)
{
	start(f, false, true);
	f->driver.next_avail = 0;
	d.flags |= DESC_INDIRECT;
	driver_ring_set(&f->driver, 0, d);
	driver_ring_offer(&f->driver, 0);
	assert_fault(f, fault);
}

static void an_indirect_table_that_cannot_be_is_a_fault(void **state)
{
	static const char size[] = "an indirect table of a wrong size";
	static const char outside[] = "an indirect table outside the guest's memory";
	static const char where[] = "an indirect table where none may be";
	struct fixture *f = *state;

	assert_bad_table(f, desc(addr(f, 0), 0, 0, 0), size);
	assert_bad_table(f, desc(addr(f, 0), 17, 0, 0), size);
	assert_bad_table(f, desc(addr(f, 0), 16 * (SIZE + 1), 0, 0), size);
	assert_bad_table(f, desc(addr(f, 0), 16, DESC_NEXT, 0), where);
	assert_bad_table(f, desc(0, 16, 0, 0), outside);
	assert_bad_table(f, desc(RAM_GUEST_ADDR + RAM_SIZE - 16, 32, 0, 0), outside);

	/* in another one */
	driver_table_set(&f->ram, f->free_at, 0, desc(addr(f, 0), 16, DESC_INDIRECT, 0));
	assert_bad_table(f, desc(addr(f, 0), 16, 0, 0), where);
}

static void an_indirect_table_that_was_not_agreed_is_a_fault(void **state)
{
	struct fixture *f = *state;

	start(f, false, false);
	driver_ring_set(&f->driver, 0, desc(addr(f, 0), 16, DESC_INDIRECT, 0));
	driver_ring_offer(&f->driver, 0);
	assert_fault(f, "an indirect table where none may be");
}

static void a_chain_of_too_many_pieces_stays(void **state)
{
	struct fixture *f = *state;

	for (uint16_t i = 0; i < 4; i++)
		driver_ring_set(&f->driver, i,
				desc(addr(f, i), 1, i < 3 ? DESC_NEXT : 0, (uint16_t)(i + 1)));
	driver_ring_offer(&f->driver, 0);

	assert_int_equal(virtqueue_pop(&f->device, f->iov, 3, &f->chain), -ENOBUFS);
	assert_int_equal(virtqueue_pop(&f->device, f->iov, 4, &f->chain), 1);
}

static void a_ring_that_cannot_be_is_refused(void **state)
{
	struct fixture *f = *state;
	const struct virtqueue_layout good = driver_ring_layout(&f->driver);
	struct virtqueue_layout bad[8];
	struct virtqueue q = { 0 };

	for (unsigned int i = 0; i < 8; i++)
		bad[i] = good;
	bad[0].size = 0;
	bad[1].size = 3;
	bad[2].size = 2 * VIRTQUEUE_MAX_SIZE;
	bad[3].desc = 0;
	bad[4].avail += 1; /* not aligned */
	bad[5].used += 2;
	bad[6].desc += 8;
	bad[7].used = RAM_USER_ADDR + RAM_SIZE - 16; /* its end is outside */
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(virtqueue_start(&q, f->memory, &bad[i]), -EINVAL);
	assert_null(q.memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_empty_ring_gives_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_chain_comes_in_its_order_read_before_written,
						setup, teardown),
		cmocka_unit_test_setup_teardown(an_indirect_table_is_a_chain, setup, teardown),
		cmocka_unit_test_setup_teardown(a_piece_without_bytes_is_left_out, setup, teardown),
		cmocka_unit_test_setup_teardown(a_chain_given_back_is_seen_once_published, setup,
						teardown),
		cmocka_unit_test_setup_teardown(chains_put_back_come_again, setup, teardown),
		cmocka_unit_test_setup_teardown(the_ring_and_its_indexes_wrap_around, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			a_buffer_over_the_border_of_two_regions_is_two_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_under_way_at_a_restart_comes_again, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_driver_that_wants_no_signal_gets_none, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_signal_comes_when_the_index_asked_for_is_reached,
						setup, teardown),
		cmocka_unit_test_setup_teardown(kicks_are_asked_for_by_flag_or_index, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			chains_that_came_before_kicks_were_asked_for_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(a_chain_that_is_a_loop_is_a_fault, setup, teardown),
		cmocka_unit_test_setup_teardown(an_indirect_loop_is_a_fault, setup, teardown),
		cmocka_unit_test_setup_teardown(a_head_or_link_outside_the_table_is_a_fault, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_wild_address_is_a_fault, setup, teardown),
		cmocka_unit_test_setup_teardown(an_index_too_far_ahead_is_a_fault, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_buffer_to_be_read_behind_one_to_be_written_is_a_fault, setup, teardown),
		cmocka_unit_test_setup_teardown(an_indirect_table_that_cannot_be_is_a_fault, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_indirect_table_that_was_not_agreed_is_a_fault,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_chain_of_too_many_pieces_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(a_ring_that_cannot_be_is_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
