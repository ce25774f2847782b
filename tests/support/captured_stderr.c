/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/captured_stderr.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int memory = -1, original = -1;
static off_t seen;

int captured_stderr_start(void)
{
	memory = memfd_create("stderr", MFD_CLOEXEC);
	original = dup(STDERR_FILENO);
	seen = 0;
	return memory < 0 || original < 0 || dup2(memory, STDERR_FILENO) < 0 ? -1 : 0;
}

const char *captured_stderr_text(void)
{
	static char text[16384];
	ssize_t n = pread(memory, text, sizeof(text) - 1, seen);

	if (n < 0)
		abort();
	text[n] = '\0';
	seen += n;
	return text;
}

void captured_stderr_stop(void)
{
	(void)dup2(original, STDERR_FILENO);
	close(original);
	close(memory);
}
