/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A client of a UNIX socket that never blocks and knows nothing of what it
 * sends: for servers that run in the same process. */
#include <stdbool.h>
#include <stddef.h>

struct loop;

struct client {
	int fd;
	const char *out;
	size_t out_len, out_done;
	char in[65536];
	size_t in_len;
	bool is_over;
};

/* -1 with errno, EAGAIN for one that has to be tried again. */
int http_client_dial(const char *path);
/* Fails the test if it cannot. out stays the caller's and in place. */
struct client *client_new(const char *path, const char *out, size_t len);
void client_free(struct client *c);
/* A condition for run_until(): sends and receives what can be (in ends with
 * NUL); whether the server has closed. */
bool client_step(void *client);
/* All that the server says, until it closes; free() it. */
char *http_client_ask(struct loop *loop, const char *path, const char *request, size_t len);
