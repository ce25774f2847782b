/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/known_hosts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "netstack/base/bytes.h"

/* Thousands of keys; a larger file is none of ours. */
#define FILE_SIZE_MAX (1024L * 1024)
#define KEY_SIZE_MAX 16384U
#define TYPE_SIZE_MAX 64U
#define SSH_PORT 22U

void known_host_name(const char *host, unsigned int port, char name[static KNOWN_HOST_NAME_SIZE])
{
	if (port == SSH_PORT)
		snprintf(name, KNOWN_HOST_NAME_SIZE, "%s", host);
	else
		snprintf(name, KNOWN_HOST_NAME_SIZE, "[%s]:%u", host, port);
}

/* RFC 4648, section 4. */
static char *write_base64(char *to, const uint8_t *bytes, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < len; i += 3) {
		size_t left = len - i;
		uint32_t v = (uint32_t)bytes[i] << 16;

		if (left > 1)
			v |= (uint32_t)bytes[i + 1] << 8;
		if (left > 2)
			v |= bytes[i + 2];
		*to++ = digits[v >> 18];
		*to++ = digits[v >> 12 & 63];
		*to++ = digits[v >> 6 & 63];
		*to++ = digits[v & 63];
		if (left < 3)
			to[-1] = '=';
		if (left < 2)
			to[-2] = '=';
	}
	return to;
}

/* The length of the type's name at the start of the key; 0 if it has none. */
static size_t type_len(const struct known_host_key *key)
{
	size_t len;

	if (key->len < 4 || key->len > KEY_SIZE_MAX)
		return 0;
	len = get_be32(key->bytes);
	if (len > TYPE_SIZE_MAX || len > key->len - 4)
		return 0;
	for (size_t i = 0; i < len; i++) {
		if (key->bytes[4 + i] <= ' ' || key->bytes[4 + i] > '~')
			return 0;
	}
	return len;
}

char *known_host_line(const char *name, const struct known_host_key *key)
{
	size_t n_type = type_len(key);
	size_t size = strlen(name) + n_type + key->len / 3 * 4 + 16;
	char *line, *end;

	if (n_type == 0)
		return NULL;
	line = malloc(size);
	if (!line)
		return NULL;
	end = line +
	      snprintf(line, size, "%s %.*s ", name, (int)n_type, (const char *)key->bytes + 4);
	end = write_base64(end, key->bytes, key->len);
	*end++ = '\n';
	*end = '\0';
	return line;
}

enum known_host known_hosts_search(const char *text, const char *line)
{
	size_t n_name = strcspn(line, " ") + 1, n_line = strlen(line) - 1;
	enum known_host found = KNOWN_HOST_NEW;

	while (*text) {
		size_t n = strcspn(text, "\n");

		if (strncmp(text, line, n_name) == 0) {
			/* a comment may follow */
			if (strncmp(text, line, n_line) == 0 &&
			    (n == n_line || text[n_line] == ' ' || text[n_line] == '\r'))
				return KNOWN_HOST_SAME;
			found = KNOWN_HOST_CHANGED;
		}
		text += n;
		if (*text == '\n')
			text++;
	}
	return found;
}

/* The file as allocated text, *out NULL if there is none. */
static int read_file(const char *path, char **out)
{
	FILE *file = fopen(path, "re");
	char *text;
	size_t n;

	*out = NULL;
	if (!file)
		return errno == ENOENT ? 0 : -errno;
	text = malloc(FILE_SIZE_MAX + 1);
	n = text ? fread(text, 1, FILE_SIZE_MAX + 1, file) : 0;
	if (!text || ferror(file) || n > FILE_SIZE_MAX) {
		int r = !text ? -ENOMEM : ferror(file) ? -EIO : -EFBIG;

		(void)fclose(file);
		free(text);
		return r;
	}
	(void)fclose(file);
	text[n] = '\0';
	*out = text;
	return 0;
}

int known_hosts_check(const char *path, const char *name, const struct known_host_key *key,
		      char **line)
{
	char *text;
	int r;

	*line = known_host_line(name, key);
	if (!*line)
		return -EBADMSG;
	r = read_file(path, &text);
	if (r < 0)
		return r;
	r = text ? (int)known_hosts_search(text, *line) : (int)KNOWN_HOST_NEW;
	free(text);
	return r;
}

/* The last line may have been written by hand, without its end. */
static bool ends_in_a_line(int fd)
{
	off_t end = lseek(fd, 0, SEEK_END);
	char last = '\n';

	return end <= 0 || pread(fd, &last, 1, end - 1) != 1 || last == '\n';
}

static int write_all(int fd, const char *text)
{
	size_t len = strlen(text);
	ssize_t n = write(fd, text, len);

	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -ENOSPC;
}

int known_hosts_add(const char *path, const char *line)
{
	int r = 0, fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (!ends_in_a_line(fd))
		r = write_all(fd, "\n");
	if (r == 0)
		r = write_all(fd, line);
	if (close(fd) < 0 && r == 0)
		r = -errno;
	return r;
}
