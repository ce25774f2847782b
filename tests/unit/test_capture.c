/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/capture.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "netstack/frame.h"
#include "tests/support/captured_stderr.h"

#define HEADER_SIZE 24
#define RECORD_SIZE 16

static char path[] = "/tmp/netfwd-capture-XXXXXX";

static int setup(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	if (fd < 0)
		return -1;
	return write(fd, "old", 3) == 3 ? close(fd) : -1;
}

static int teardown(void **state)
{
	(void)state;
	(void)unlink(path);
	strcpy(path + strlen(path) - 6, "XXXXXX");
	return 0;
}

static size_t contents(uint8_t *to, size_t size)
{
	FILE *file = fopen(path, "r");
	size_t n;

	assert_non_null(file);
	n = fread(to, 1, size, file);
	assert_true(n < size);
	(void)fclose(file);
	return n;
}

static uint32_t word(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

/* Not time(): the kernel's coarse clock behind it may be a tick, so a second, late. */
static uint32_t wall_seconds(void)
{
	struct timespec now;

	assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
	return (uint32_t)now.tv_sec;
}

/* A capture begins with its header, before any frame has come. */
static void a_reader_can_start_at_once(void **state)
{
	uint8_t bytes[100];
	uint16_t version[2];
	struct capture *c;
	struct stat st;

	(void)state;
	assert_int_equal(capture_new(path, &c), 0);

	assert_int_equal(contents(bytes, sizeof(bytes)), HEADER_SIZE);
	assert_int_equal(word(bytes), 0xa1b23c4d); /* nanoseconds, our byte order */
	memcpy(version, bytes + 4, sizeof(version));
	assert_int_equal(version[0], 2);
	assert_int_equal(version[1], 4);
	assert_int_equal(word(bytes + 8), 0);  /* UTC */
	assert_int_equal(word(bytes + 12), 0); /* accuracy */
	assert_int_equal(word(bytes + 16), FRAME_MAX_SIZE);
	assert_int_equal(word(bytes + 20), 1); /* LINKTYPE_ETHERNET */
	assert_int_equal(stat(path, &st), 0);
	capture_free(c);
}

static void frames_follow_whole(void **state)
{
	static uint8_t data[FRAME_MAX_SIZE], bytes[2 * FRAME_MAX_SIZE];
	struct frame frame;
	struct capture *c;
	const uint8_t *at = bytes + HEADER_SIZE;
	uint32_t before = wall_seconds();
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 3);
	assert_int_equal(capture_new(path, &c), 0);
	frame_init(&frame); /* scattered */
	frame_add(&frame, data, 14);
	frame_add(&frame, data + 14, 0);
	frame_add(&frame, data + 14, 46);
	capture_frame(c, &frame);
	frame_init(&frame); /* the largest */
	frame_add(&frame, data, sizeof(data));
	capture_frame(c, &frame);
	capture_flush(c);

	n = contents(bytes, sizeof(bytes));
	assert_int_equal(n, HEADER_SIZE + RECORD_SIZE + 60 + RECORD_SIZE + sizeof(data));
	assert_true(word(at) >= before && word(at) <= wall_seconds());
	assert_true(word(at + 4) < 1000000000);
	assert_int_equal(word(at + 8), 60);
	assert_int_equal(word(at + 12), 60);
	assert_memory_equal(at + RECORD_SIZE, data, 60);
	at += RECORD_SIZE + 60;
	assert_int_equal(word(at + 8), sizeof(data));
	assert_int_equal(word(at + 12), sizeof(data));
	assert_memory_equal(at + RECORD_SIZE, data, sizeof(data));
	capture_free(c);
}

static void freeing_a_capture_writes_what_is_left(void **state)
{
	uint8_t data[60] = { 1 }, bytes[200];
	struct frame frame;
	struct capture *c;

	(void)state;
	assert_int_equal(capture_new(path, &c), 0);
	frame_init(&frame);
	frame_add(&frame, data, sizeof(data));
	capture_frame(c, &frame);
	capture_free(c);
	assert_int_equal(contents(bytes, sizeof(bytes)), HEADER_SIZE + RECORD_SIZE + 60);
	capture_free(NULL);
}

static void only_the_owner_may_read_it(void **state)
{
	struct capture *c;
	struct stat st;

	(void)state;
	assert_int_equal(unlink(path), 0);
	assert_int_equal(capture_new(path, &c), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	capture_free(c);
}

static void a_bad_path_is_an_error(void **state)
{
	struct capture *c;

	(void)state;
	assert_int_equal(capture_new("/nonexistent/x.pcap", &c), -ENOENT);
	assert_int_equal(capture_new("/tmp", &c), -EISDIR);
}

static void capture_some(struct capture *c)
{
	static uint8_t data[5000];
	struct frame frame;

	frame_init(&frame);
	frame_add(&frame, data, sizeof(data));
	for (int i = 0; i < 10; i++) {
		capture_frame(c, &frame);
		capture_flush(c);
	}
}

/* What could not be written leaves no hole in the middle of the file. */
static void a_full_disk_ends_the_capture(void **state)
{
	static const struct rlimit small = { 12000, RLIM_INFINITY };
	static const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	struct capture *c;
	struct stat st;

	(void)state;
	assert_int_equal(capture_new(path, &c), 0);
	assert_int_equal(captured_stderr_start(), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	capture_some(c);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
	capture_some(c);
	capture_free(c);

	assert_string_equal(captured_stderr_text(),
			    "netfwd: error: capture ended: File too large\n");
	captured_stderr_stop();
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, small.rlim_cur);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_reader_can_start_at_once),
		TEST(frames_follow_whole),
		TEST(freeing_a_capture_writes_what_is_left),
		TEST(only_the_owner_may_read_it),
		TEST(a_bad_path_is_an_error),
		TEST(a_full_disk_ends_the_capture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
