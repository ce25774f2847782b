/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "netstack/base/log.h"
#include "netstack/frame.h"

struct capture {
	FILE *file; /* NULL after a write error */
	bool is_dirty;
};

struct pcap_header {
	uint32_t magic;
	uint16_t major, minor;
	int32_t timezone;
	uint32_t accuracy, snaplen, linktype;
};

struct pcap_record {
	uint32_t sec, nsec, captured, length;
};

int capture_new(const char *path, struct capture **out)
{
	const struct pcap_header header = {
		.magic = 0xa1b23c4d, /* nanoseconds, in our byte order */
		.major = 2,
		.minor = 4,
		.snaplen = FRAME_MAX_SIZE,
		.linktype = 1,
	};
	struct capture *c = calloc(1, sizeof(*c));
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int r = -errno;

	if (!c || fd < 0) {
		free(c);
		if (fd >= 0)
			close(fd);
		return fd < 0 ? r : -ENOMEM;
	}
	c->file = fdopen(fd, "w");
	if (!c->file) {
		r = -errno;
		close(fd);
		free(c);
		return r;
	}
	fwrite(&header, sizeof(header), 1, c->file);
	c->is_dirty = true;
	capture_flush(c);
	*out = c;
	return 0;
}

void capture_frame(struct capture *c, const struct frame *frame)
{
	struct pcap_record record = {
		.captured = (uint32_t)frame->len,
		.length = (uint32_t)frame->len,
	};
	struct timespec now;

	if (!c->file)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	record.sec = (uint32_t)now.tv_sec;
	record.nsec = (uint32_t)now.tv_nsec;
	fwrite(&record, sizeof(record), 1, c->file);
	for (int i = 0; i < frame->n_refs; i++)
		fwrite(frame->refs[i].iov_base, 1, frame->refs[i].iov_len, c->file);
	c->is_dirty = true;
}

void capture_flush(struct capture *c)
{
	if (!c->is_dirty || !c->file)
		return;
	c->is_dirty = false;
	if (fflush(c->file) == 0 && !ferror(c->file))
		return;
	log_error("capture ended: %s", strerror(errno));
	(void)fclose(c->file);
	c->file = NULL;
}

void capture_free(struct capture *c)
{
	if (!c)
		return;
	if (c->file)
		(void)fclose(c->file);
	free(c);
}
