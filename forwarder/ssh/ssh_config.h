/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Where the guest's SSH server is and who we are to it. Read by several threads,
 * written by none. */
#include <stdbool.h>
#include <stdint.h>

struct ssh_target {
	const char *host; /* a name or an address, by the kernel's TCP */
	unsigned int port;
	/* Or, where this is not NULL: called on the loop thread, a non-blocking socket
	 * that leads to it, or will; the caller's. 0 or -errno. */
	int (*dial)(void *arg, int *fd);
	void *arg;
	const char *name; /* of where that leads, for people */
};

enum ssh_host_keys {
	SSH_HOST_KEYS_ACCEPT_NEW, /* the first that is seen is kept */
	SSH_HOST_KEYS_YES,	  /* only what is in the file */
	SSH_HOST_KEYS_NO,	  /* any */
};

struct ssh_config {
	/* The second is for when the first does not work, which each session tries
	 * first; it is there or not. */
	struct ssh_target targets[2];
	unsigned int n_targets;

	const char *user;
	const char *identity_file; /* NULL: the user's own keys, in key_dir */
	const char *key_dir;	   /* ~/.ssh, or NULL */
	const char *agent_path;	   /* $SSH_AUTH_SOCK, or NULL */

	enum ssh_host_keys host_keys;
	const char *known_hosts; /* the file */
	const char *host_name;	 /* what the server is called in it */

	/* After so long without a byte from the server it is asked; after so many
	 * times without an answer it is given up. */
	unsigned int keepalive_s, keepalive_count;
};

#define SSH_TEXT_SIZE 320 /* of a line for people */

/* Each step up to being logged in, so that a server that stalls is left. */
#define SSH_CONNECT_MS 5000
#define SSH_EXCHANGE_MS 10000
/* The first target, where the second is known to work: less than dials wait for. */
#define SSH_AGAIN_MS 3000
#define SSH_LOGIN_MS 30000
