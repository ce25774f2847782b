/* SPDX-License-Identifier: Apache-2.0 */
/* For LD_PRELOAD: a machine whose clocks jump. The file in $JUMPING_CLOCK has two
 * numbers of 64 bits: nanoseconds that CLOCK_REALTIME and CLOCK_BOOTTIME are ahead of
 * the machine's own. Whoever writes to it sets the one, and as many seconds of suspend
 * pass by the other. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Of REALTIME, BOOTTIME. Other libraries ask for the time before our constructor. */
static const volatile int64_t none[2], *ahead = none;

__attribute__((constructor)) static void open_file(void)
{
	const char *path = getenv("JUMPING_CLOCK");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *mem = fd < 0 ? MAP_FAILED : mmap(NULL, 16, PROT_READ, MAP_SHARED, fd, 0);

	if (mem == MAP_FAILED)
		abort();
	close(fd);
	ahead = mem;
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): libc's are reserved */

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	int r = (int)syscall(SYS_clock_gettime, clock, ts);
	int64_t add = 0;

	if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
		add = ahead[0];
	else if (clock == CLOCK_BOOTTIME)
		add = ahead[1];
	add += ts->tv_nsec;
	ts->tv_sec += add / 1000000000;
	ts->tv_nsec = add % 1000000000;
	if (ts->tv_nsec < 0) {
		ts->tv_sec--;
		ts->tv_nsec += 1000000000;
	}
	return r;
}

time_t time(time_t *out)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	if (out)
		*out = ts.tv_sec;
	return ts.tv_sec;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void)zone;
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
