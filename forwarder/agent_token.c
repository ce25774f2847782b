/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent_token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char prefix[] = "netfwd-token ";

static int bad(const char *path, char *error, const char *why)
{
	(void)snprintf(error, AGENT_TOKEN_ERROR_SIZE, "%.120s: %s", path, why);
	return -EINVAL;
}

static size_t printable_len(const char *text)
{
	size_t n = 0;

	while (text[n] > ' ' && text[n] <= '~')
		n++;
	return n;
}

static ssize_t read_start(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
	int r = n < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	text[n < 0 ? 0 : n] = '\0';
	return r < 0 ? r : n;
}

int agent_token_read(const char *path, struct agent_token *out,
		     char error[static AGENT_TOKEN_ERROR_SIZE])
{
	char text[AGENT_TOKEN_MAX + 3];
	ssize_t n = read_start(path, text, sizeof(text));
	size_t len;

	if (n < 0) {
		(void)bad(path, error, strerror((int)-n));
		return (int)n;
	}
	len = printable_len(text);
	if (text[len] != '\0' && text[len] != '\n' && text[len] != '\r')
		return bad(path, error, "the token may have no blanks or control characters");
	if (len < AGENT_TOKEN_MIN || len > AGENT_TOKEN_MAX)
		return bad(path, error, "the first line must be a token of 16 to 128 characters");
	text[len] = '\0';
	out->len = (size_t)snprintf(out->line, sizeof(out->line), "%s%s\n", prefix, text);
	return 0;
}

bool agent_token_matches(const struct agent_token *token, const char *line, size_t len)
{
	unsigned char differs = len != token->len;

	for (size_t i = 0; i < token->len; i++)
		differs |= (unsigned char)(token->line[i] ^ (i < len ? line[i] : '\0'));
	return differs == 0;
}
