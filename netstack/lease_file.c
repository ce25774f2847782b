/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/lease_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "netstack/base/log.h"
#include "netstack/lease.h"

/* A line for each, and as much again for comments that a user may have made. */
#define MAX_SIZE (LEASE_MAX * (size_t)512)

/* Reads until the end; -EFBIG if it is further than MAX_SIZE. */
static ssize_t read_all(int fd, char *text)
{
	size_t len = 0;

	while (len < MAX_SIZE) {
		ssize_t n = read(fd, text + len, MAX_SIZE - len);

		if (n < 0)
			return -errno;
		if (n == 0)
			return (ssize_t)len;
		len += (size_t)n;
	}
	return -EFBIG;
}

int lease_file_read(const char *path, struct lease_table *table)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	unsigned int n_bad;
	ssize_t len;
	char *text;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	text = malloc(MAX_SIZE + 1);
	len = text ? read_all(fd, text) : -ENOMEM;
	close(fd);
	if (len >= 0) {
		text[len] = '\0';
		n_bad = lease_parse(table, text);
		if (n_bad)
			log_warn("%s: %u leases are of no use any more and left out", path, n_bad);
	}
	free(text);
	return len < 0 ? (int)len : 0;
}

static int write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

static int replace(const char *path, const char *text, size_t len)
{
	char temporary[PATH_MAX];
	int fd, r;

	if (snprintf(temporary, sizeof(temporary), "%s.new", path) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, text, len);
	close(fd);
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(temporary);
	return r;
}

int lease_file_write(const char *path, const struct lease_table *table)
{
	char *text = malloc(MAX_SIZE);
	int r;

	if (!text)
		return -ENOMEM;
	r = replace(path, text, lease_format(table, text, MAX_SIZE));
	free(text);
	return r;
}
