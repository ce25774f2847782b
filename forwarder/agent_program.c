/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent_program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define NAME "netfwd-agent"
#define MACHINE_MAX 32
#define SIZE_MAX_BYTES (64L * 1024 * 1024)

/* A word that is safe in the name of a file: it comes from the guest. */
static bool is_machine(const char *machine)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_-";
	size_t len = strspn(machine, allowed);

	return len > 0 && len <= MACHINE_MAX && machine[len] == '\0';
}

static bool is_ours(const char *machine)
{
	struct utsname here;

	return !machine || (uname(&here) == 0 && strcmp(here.machine, machine) == 0);
}

int agent_program_find(const char *machine, char path[static PATH_MAX])
{
	ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - sizeof(NAME) - MACHINE_MAX - 1);
	char *slash;

	if (len < 0)
		return -errno;
	if (machine && !is_machine(machine))
		return -EINVAL;
	path[len] = '\0';
	slash = strrchr(path, '/');
	(void)sprintf(slash ? slash + 1 : path, is_ours(machine) ? NAME : NAME "-%s", machine);
	return access(path, R_OK) < 0 ? -errno : 0;
}

static int read_all(int fd, uint8_t *bytes, size_t len)
{
	size_t n = 0;

	while (n < len) {
		ssize_t r = read(fd, bytes + n, len - n);

		if (r <= 0)
			return r < 0 ? -errno : -ENOEXEC;
		n += (size_t)r;
	}
	return 0;
}

static int read_file(int fd, uint8_t **out, size_t *len)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > SIZE_MAX_BYTES)
		return -ENOEXEC;
	*len = (size_t)st.st_size;
	*out = malloc(*len);
	if (!*out)
		return -ENOMEM;
	r = read_all(fd, *out, *len);
	if (r < 0)
		free(*out);
	return r;
}

int agent_program_read(const char *path, uint8_t **out, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = read_file(fd, out, len);
	close(fd);
	return r;
}
