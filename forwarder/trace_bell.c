/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/trace_bell.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_PROCESSORS 1024

/* The event on one processor. The ring is what makes the descriptor readable.
 * It is mapped read-only, so that the kernel overwrites what nobody reads. */
struct tap {
	int fd;
	void *ring;
	uint64_t seen; /* bytes that were ever written into the ring */
};

struct trace_bell {
	int epoll; /* of all taps */
	unsigned int n;
	struct tap taps[];
};

static size_t ring_size(void)
{
	return 2 * (size_t)sysconf(_SC_PAGESIZE); /* the kernel's page, and one of records */
}

/* A tracefs of our own, seen by nobody else and gone with the descriptor. */
static int open_detached_tracefs(void)
{
	int fs = fsopen("tracefs", FSOPEN_CLOEXEC), dir;

	if (fs < 0)
		return -errno;
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		dir = -1;
	else
		dir = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (dir < 0)
		dir = -errno;
	close(fs);
	return dir;
}

static int open_id(const char *event)
{
	static const char *const mounts[] = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" };
	char path[128];
	int dir, fd;

	(void)snprintf(path, sizeof(path), "events/%s/id", event);
	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		dir = open(mounts[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
		fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
		if (dir >= 0)
			close(dir);
		if (fd >= 0)
			return fd;
	}
	dir = open_detached_tracefs();
	if (dir < 0)
		return dir;
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	close(dir);
	return fd;
}

static int read_id(const char *event, uint64_t *id)
{
	char text[32], *end;
	int fd = open_id(event);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return n < 0 ? -errno : -EPROTO;
	text[n] = '\0';
	*id = strtoull(text, &end, 10);
	return end > text ? 0 : -EPROTO;
}

static int open_event(uint64_t id, int processor)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.config = id,
		.sample_period = 1,
		.wakeup_events = 1,
		.disabled = 1, /* until the filter is in */
	};

	return (int)syscall(SYS_perf_event_open, &attr, -1, processor, -1, PERF_FLAG_FD_CLOEXEC);
}

static void close_tap(struct tap *tap)
{
	if (tap->ring != MAP_FAILED)
		(void)munmap(tap->ring, ring_size());
	close(tap->fd);
}

static int start_tap(struct tap *tap, const char *filter, int epoll, const char **step)
{
	struct epoll_event event = { .events = EPOLLIN };

	tap->ring = mmap(NULL, ring_size(), PROT_READ, MAP_SHARED, tap->fd, 0);
	*step = "map an event's ring";
	if (tap->ring == MAP_FAILED)
		return -errno;
	*step = "filter events";
	if (ioctl(tap->fd, PERF_EVENT_IOC_SET_FILTER, filter) < 0)
		return -errno;
	*step = "start events";
	if (ioctl(tap->fd, PERF_EVENT_IOC_ENABLE, 0) < 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, tap->fd, &event) < 0)
		return -errno;
	return 0;
}

static int add_taps(struct trace_bell *bell, const struct trace_bell_spec *spec, int n_processors,
		    const char **step)
{
	uint64_t id = 0;
	int r = read_id(spec->event, &id);

	*step = "find the event in tracefs";
	for (int i = 0; i < n_processors && r == 0; i++) {
		struct tap *tap = &bell->taps[bell->n];

		tap->fd = open_event(id, i);
		if (tap->fd < 0 && errno == ENODEV) /* switched off */
			continue;
		*step = "open the event";
		if (tap->fd < 0)
			return -errno;
		r = start_tap(tap, spec->filter, bell->epoll, step);
		bell->n++;
	}
	return r;
}

int trace_bell_new(const struct trace_bell_spec *spec, struct trace_bell **out, const char **step)
{
	long n = sysconf(_SC_NPROCESSORS_CONF);
	struct trace_bell *bell;
	int r;

	if (n < 1 || n > MAX_PROCESSORS) {
		*step = "count the processors";
		return -ERANGE;
	}
	bell = calloc(1, sizeof(*bell) + (size_t)n * sizeof(bell->taps[0]));
	*step = "allocate";
	if (!bell)
		return -ENOMEM;
	bell->epoll = epoll_create1(EPOLL_CLOEXEC);
	r = bell->epoll < 0 ? -errno : add_taps(bell, spec, (int)n, step);
	if (r < 0) {
		trace_bell_free(bell);
		return r;
	}
	*out = bell;
	return 0;
}

void trace_bell_free(struct trace_bell *bell)
{
	if (!bell)
		return;
	for (unsigned int i = 0; i < bell->n; i++)
		close_tap(&bell->taps[i]);
	if (bell->epoll >= 0)
		close(bell->epoll);
	free(bell);
}

int trace_bell_fd(const struct trace_bell *bell)
{
	return bell->epoll;
}

bool trace_bell_take(struct trace_bell *bell)
{
	struct epoll_event events[16];
	bool has_rung = false;

	while (epoll_wait(bell->epoll, events, 16, 0) == 16)
		;
	for (unsigned int i = 0; i < bell->n; i++) {
		struct tap *tap = &bell->taps[i];
		const struct perf_event_mmap_page *page = tap->ring;
		uint64_t written = __atomic_load_n(&page->data_head, __ATOMIC_ACQUIRE);

		has_rung = has_rung || written != tap->seen;
		tap->seen = written;
	}
	return has_rung;
}
