/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/relay_pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Enough for one system call to be cheap beside the bytes it moves. Without
 * privileges a user's pipes have 64 MiB in all, and then the size they are made with. */
#define PIPE_SIZE (512UL * 1024UL)

int relay_pipe_open(struct relay_pipe *p)
{
	int ends[2], size;

	if (p->has_failed)
		return -EMFILE;
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
		p->has_failed = true;
		return -errno;
	}
	(void)fcntl(ends[1], F_SETPIPE_SZ, PIPE_SIZE);
	size = fcntl(ends[1], F_GETPIPE_SZ);
	p->read_end = ends[0];
	p->write_end = ends[1];
	p->size = size > 0 ? (size_t)size : PIPE_SIZE;
	p->len = 0;
	return 0;
}

void relay_pipe_close(struct relay_pipe *p)
{
	if (!relay_pipe_is_open(p))
		return;
	close(p->read_end);
	close(p->write_end);
	p->read_end = p->write_end = -1;
}
