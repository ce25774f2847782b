/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The other end of the control socket, for the verbs: one request, and its
 * answer waited for. */
#include <stdbool.h>
#include <stddef.h>

struct control_call {
	const char *socket; /* path; NULL: the user's own, in the runtime directory */
	const char *method, *path;
	const char *body; /* NULL: none */
	bool is_endless;  /* the answer may take any time, and go on */
	/* Gets the body of an answer with status 200, as it comes. */
	void (*on_body)(void *arg, const char *data, size_t len);
	void *arg;
};

#define CONTROL_CLIENT_ERROR_SIZE 1024

/* 0 after an answer with status 200; else -errno with a line: nobody serves the
 * socket, it is another user's, the answer is an error (its text; -EREMOTEIO),
 * is no HTTP (-EPROTO), breaks off, or does not come within 30 seconds. The text
 * may hold anything the server sent; print it as log_error() does. */
int control_client_call(const struct control_call *call,
			char error[static CONTROL_CLIENT_ERROR_SIZE]);
