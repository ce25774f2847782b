/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What shows that a TCP connection to the agent comes from netfwd: before the
 * first byte of HTTP/2 it sends a line,
 *
 *   netfwd-token TOKEN\n
 *
 * with the secret that both ends read from a file. */
#include <stdbool.h>
#include <stddef.h>

#define AGENT_TOKEN_MAX 128
#define AGENT_TOKEN_MIN 16 /* characters; 32 hexadecimal digits are 128 bits */
#define AGENT_TOKEN_LINE_MAX (sizeof("netfwd-token \n") - 1 + AGENT_TOKEN_MAX)
#define AGENT_TOKEN_ERROR_SIZE 256

struct agent_token {
	char line[AGENT_TOKEN_LINE_MAX + 1]; /* as it is sent */
	size_t len;
};

/* From a file's first line: printable characters without blanks. 0 or -errno with
 * a line that says what is wrong. */
int agent_token_read(const char *path, struct agent_token *out,
		     char error[static AGENT_TOKEN_ERROR_SIZE]);
/* Whether the line, with its end, is that of the token. Takes the same time
 * wherever the two differ. */
bool agent_token_matches(const struct agent_token *token, const char *line, size_t len);
