/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of sock_diag: whatever they are, only sockets with a port come out. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/sock_diag.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void on_socket(void *arg, const struct sock_diag_socket *socket)
{
	size_t *n = arg;

	check(socket->local.port != 0);
	check(socket->proto == FORWARD_UDP || !socket->is_connected);
	(*n)++;
}

static void on_gone(void *arg, uint64_t cookie)
{
	size_t *n = arg;

	(void)cookie;
	(*n)++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	void *copy = malloc(size ? size : 1); /* aligned, and its end is guarded */
	size_t n = 0;
	int r;

	check(copy != NULL);
	memcpy(copy, data, size);
	r = sock_diag_parse(copy, size, 1, on_socket, &n);
	check(r <= 1 && r > -4096);
	check(n <= size / 16);
	n = 0;
	r = sock_diag_parse_gone(copy, size, on_gone, &n);
	check(r == 0 || r == -EPROTO);
	check(n <= size / 16);
	free(copy);
	return 0;
}
