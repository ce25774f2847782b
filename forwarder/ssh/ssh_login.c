/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_login.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ssh2_more.h>

#include "forwarder/ssh/known_hosts.h"
#include "forwarder/ssh/ssh_mailbox.h"
#include "forwarder/ssh/ssh_memory.h"
#include "forwarder/ssh/ssh_transport.h"

/* Servers close after six (sshd_config(5), MaxAuthTries). */
#define KEYS_MAX 5

/* What is offered, the best first. AES-GCM is what a session's speed rests on, CTR
 * is for servers without it; they have all had curve25519 for ten years. The last
 * two of the first list are no methods: they ask for signatures other than SHA-1 (RFC
 * 8308) and for a handshake that nobody can cut messages out of (CVE-2023-48795). */
static const struct {
	int method;
	const char *list;
} preferences[] = {
	{ LIBSSH2_METHOD_KEX,
	  "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,"
	  "ecdh-sha2-nistp521,ext-info-c,kex-strict-c-v00@openssh.com" },
	{ LIBSSH2_METHOD_HOSTKEY,
	  "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,"
	  "rsa-sha2-256" },
	{ LIBSSH2_METHOD_CRYPT_CS,
	  "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes256-ctr" },
	{ LIBSSH2_METHOD_CRYPT_SC,
	  "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes256-ctr" },
	{ LIBSSH2_METHOD_MAC_CS, "hmac-sha2-256,hmac-sha2-512" },
	{ LIBSSH2_METHOD_MAC_SC, "hmac-sha2-256,hmac-sha2-512" },
	{ LIBSSH2_METHOD_COMP_CS, "none" },
	{ LIBSSH2_METHOD_COMP_SC, "none" },
};

static int fail(struct ssh_login *l, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(struct ssh_login *l, int error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(l->error, sizeof(l->error), fmt, args);
	va_end(args);
	return error;
}

/* libssh2's last words. */
static const char *reason(const struct ssh_login *l)
{
	char *text = NULL;

	libssh2_session_last_error(l->session, &text, NULL, 0);
	return text && *text ? text : "no reason given";
}

/* After LIBSSH2_ERROR_EAGAIN: until calling again is worth it. */
static int wait_more(struct ssh_login *l, uint64_t deadline_ms)
{
	const struct ssh_wait wait = { l->transport->fd, l->mailbox, deadline_ms };
	int r = ssh_wait_for(&wait, ssh_transport_events(l->transport));

	if (r == 0)
		r = ssh_transport_flush(l->transport);
	ssh_transport_allow(l->transport, SIZE_MAX);
	return r;
}

static void *get_memory(size_t size, void **abstract)
{
	return ssh_memory_get(((struct ssh_transport *)*abstract)->memory, size);
}

static void *resize_memory(void *p, size_t size, void **abstract)
{
	return ssh_memory_resize(((struct ssh_transport *)*abstract)->memory, p, size);
}

static void free_memory(void *p, void **abstract)
{
	(void)abstract;
	ssh_memory_free(p);
}

static void *allocate(void *memory, size_t size)
{
	return ssh_memory_get(memory, size);
}

static int start(struct ssh_login *l)
{
	const struct ssh2_hooks hooks = { ssh_transport_send, ssh_transport_receive, allocate,
					  ssh_memory_free, l->transport->memory };

	l->session = libssh2_session_init_ex(get_memory, free_memory, resize_memory, l->transport);
	if (!l->session)
		return fail(l, -ENOMEM, "no memory");
	libssh2_session_set_blocking(l->session, 0);
	if (ssh2_more_start(l->session, &hooks) < 0)
		return fail(l, -ENOMEM, "no memory");
	for (size_t i = 0; i < sizeof(preferences) / sizeof(preferences[0]); i++) {
		if (libssh2_session_method_pref(l->session, preferences[i].method,
						preferences[i].list) < 0)
			return fail(l, -EIO, "libssh2 refuses %s", preferences[i].list);
	}
	return libssh2_session_banner_set(l->session, "SSH-2.0-netfwd") == 0 ?
		       0 :
		       fail(l, -ENOMEM, "no memory");
}

static int exchange_keys(struct ssh_login *l)
{
	uint64_t deadline_ms = ssh_now_ms() + l->exchange_ms;
	int r;

	while ((r = libssh2_session_handshake(l->session, l->transport->fd)) ==
	       LIBSSH2_ERROR_EAGAIN) {
		r = wait_more(l, deadline_ms);
		if (r == -ETIMEDOUT)
			return fail(l, r, "the SSH server does not answer within %u s: %s",
				    l->exchange_ms / 1000,
				    libssh2_session_banner_get(l->session) ?
					    "it stopped after its banner" :
					    "no banner has come");
		if (r < 0)
			return r == -ECANCELED ? r : fail(l, r, "%s", strerrordesc_np(-r));
	}
	if (r < 0)
		return fail(l, -EPROTO, "no key exchange with the SSH server: %s", reason(l));
	l->is_exchanged = true;
	return 0;
}

static int key_changed(struct ssh_login *l, const char *what)
{
	return fail(l, -EKEYREJECTED,
		    "%s: if that is right, remove the lines of %s from %s (ssh-keygen -R does)",
		    what, l->config->host_name, l->config->known_hosts);
}

static int accept_new(struct ssh_login *l, const char *line)
{
	int r = known_hosts_add(l->config->known_hosts, line);

	if (r < 0)
		return fail(l, r, "the server's key cannot be written to %s: %s",
			    l->config->known_hosts, strerrordesc_np(-r));
	snprintf(l->note, sizeof(l->note), "the key of %s is accepted, and kept in %s",
		 l->config->host_name, l->config->known_hosts);
	return 0;
}

static int judge_key(struct ssh_login *l, int known, const char *line)
{
	const struct ssh_config *c = l->config;

	if (known == -EBADMSG)
		return fail(l, known, "the SSH server's key makes no sense");
	if (known < 0)
		return fail(l, known, "%s cannot be read: %s", c->known_hosts,
			    strerrordesc_np(-known));
	if (known == KNOWN_HOST_SAME)
		return 0;
	if (known == KNOWN_HOST_CHANGED)
		return key_changed(l, "the SSH server's key has changed");
	if (c->host_keys == SSH_HOST_KEYS_ACCEPT_NEW)
		return accept_new(l, line);
	return fail(l, -EKEYREJECTED,
		    "the SSH server's key is not in %s, and hostKeyChecking is yes: add the "
		    "line %.200s",
		    c->known_hosts, line);
}

static int check_host_key(struct ssh_login *l)
{
	struct known_host_key key = { 0 };
	char *line;
	int type, r;

	if (l->config->host_keys == SSH_HOST_KEYS_NO)
		return 0;
	key.bytes = (const uint8_t *)libssh2_session_hostkey(l->session, &key.len, &type);
	if (!key.bytes)
		return fail(l, -EPROTO, "the SSH server has shown no key");
	r = known_hosts_check(l->config->known_hosts, l->config->host_name, &key, &line);
	r = judge_key(l, r, line);
	free(line);
	return r;
}

/* ---- who we are ---- */

struct attempt {
	struct ssh_login *l;
	uint64_t deadline_ms;
	unsigned int n_keys; /* shown so far */
	LIBSSH2_AGENT *agent;
};

/* An ssh error as to whether another key may be tried: 1 accepted, 0 not, -errno. */
static int outcome(struct attempt *a, int r)
{
	if (r == 0)
		return 1;
	if (r == LIBSSH2_ERROR_SOCKET_DISCONNECT || r == LIBSSH2_ERROR_SOCKET_RECV ||
	    r == LIBSSH2_ERROR_SOCKET_SEND)
		return fail(a->l, -ECONNRESET, "the SSH server closed the connection: %s",
			    reason(a->l));
	return 0;
}

static int wait_auth(struct attempt *a)
{
	int r = wait_more(a->l, a->deadline_ms);

	if (r == -ETIMEDOUT)
		return fail(a->l, r, "the SSH server does not log us in within %d s",
			    SSH_LOGIN_MS / 1000);
	if (r < 0 && r != -ECANCELED)
		return fail(a->l, r, "%s", strerrordesc_np(-r));
	return r;
}

/* Asks what the server takes, which some take as a login already. */
static int ask_methods(struct attempt *a)
{
	const struct ssh_login *l = a->l;
	const char *user = l->config->user, *list;

	while (!(list = libssh2_userauth_list(l->session, user, (unsigned int)strlen(user)))) {
		int r = libssh2_session_last_errno(l->session);

		if (r != LIBSSH2_ERROR_EAGAIN)
			return libssh2_userauth_authenticated(l->session) ?
				       1 :
				       outcome(a, r ? r : LIBSSH2_ERROR_SOCKET_RECV);
		r = wait_auth(a);
		if (r < 0)
			return r;
	}
	if (strstr(list, "publickey"))
		return 0;
	return fail(a->l, -EACCES, "the SSH server takes no public keys, only %.100s", list);
}

static int try_file(struct attempt *a, const char *path)
{
	struct ssh_login *l = a->l;
	const char *user = l->config->user;
	int r;

	if (a->n_keys++ >= KEYS_MAX)
		return 0;
	while ((r = libssh2_userauth_publickey_fromfile_ex(l->session, user,
							   (unsigned int)strlen(user), NULL, path,
							   "")) == LIBSSH2_ERROR_EAGAIN) {
		r = wait_auth(a);
		if (r < 0)
			return r;
	}
	return outcome(a, r);
}

static int try_agent_key(struct attempt *a, struct libssh2_agent_publickey *key)
{
	int r;

	if (a->n_keys++ >= KEYS_MAX)
		return 0;
	while ((r = libssh2_agent_userauth(a->agent, a->l->config->user, key)) ==
	       LIBSSH2_ERROR_EAGAIN) {
		r = wait_auth(a);
		if (r < 0)
			return r;
	}
	return outcome(a, r);
}

static int try_agent_keys(struct attempt *a)
{
	struct libssh2_agent_publickey *key = NULL, *previous = NULL;
	int r = 0;

	while (r == 0 && libssh2_agent_get_identity(a->agent, &key, previous) == 0) {
		r = try_agent_key(a, key);
		previous = key;
	}
	return r;
}

static int try_agent(struct attempt *a)
{
	int r = 0;

	if (!a->l->config->agent_path)
		return 0;
	a->agent = libssh2_agent_init(a->l->session);
	if (!a->agent)
		return fail(a->l, -ENOMEM, "no memory");
	libssh2_agent_set_identity_path(a->agent, a->l->config->agent_path);
	if (libssh2_agent_connect(a->agent) == 0 && libssh2_agent_list_identities(a->agent) == 0)
		r = try_agent_keys(a);
	libssh2_agent_disconnect(a->agent);
	libssh2_agent_free(a->agent);
	return r;
}

/* Those of ssh(1). */
static int try_own_files(struct attempt *a)
{
	static const char *const names[] = { "id_ed25519", "id_ecdsa", "id_rsa" };
	int r = 0;

	if (!a->l->config->key_dir)
		return 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && r == 0; i++) {
		char path[4096];
		FILE *file;

		snprintf(path, sizeof(path), "%s/%s", a->l->config->key_dir, names[i]);
		file = fopen(path, "re");
		if (!file)
			continue;
		(void)fclose(file);
		r = try_file(a, path);
	}
	return r;
}

/* Read here, so that a file that cannot be is no key that the server refused. */
static int check_identity_file(struct ssh_login *l)
{
	FILE *file = fopen(l->config->identity_file, "re");

	if (!file)
		return fail(l, -errno, "the key %s cannot be read: %s", l->config->identity_file,
			    strerrordesc_np(errno));
	(void)fclose(file);
	return 0;
}

static int try_keys(struct attempt *a)
{
	int r = 0;

	if (a->l->config->identity_file)
		r = try_file(a, a->l->config->identity_file);
	if (r == 0)
		r = try_agent(a);
	if (r == 0 && !a->l->config->identity_file)
		r = try_own_files(a);
	return r;
}

static int authenticate(struct ssh_login *l)
{
	struct attempt a = { .l = l, .deadline_ms = ssh_now_ms() + SSH_LOGIN_MS };
	const char *file = l->config->identity_file;
	int r = file ? check_identity_file(l) : 0;

	if (r == 0)
		r = ask_methods(&a);
	if (r == 0)
		r = try_keys(&a);
	if (r != 0)
		return r < 0 ? r : 0;
	if (a.n_keys == 0)
		return fail(l, -EACCES,
			    "there is no key to log in as %s with: no identityFile, "
			    "no agent, none in ~/.ssh",
			    l->config->user);
	return fail(l, -EACCES, "the SSH server does not let us in as %s with %s%s (%s)",
		    l->config->user, file ? file : "the keys of the agent and ~/.ssh",
		    file && l->config->agent_path ? " or a key of the agent" : "", reason(l));
}

int ssh_login(struct ssh_login *l)
{
	int r;

	l->note[0] = l->error[0] = '\0';
	r = start(l);
	if (r == 0)
		r = exchange_keys(l);
	if (r == 0)
		r = check_host_key(l);
	if (r == 0)
		r = authenticate(l);
	return r;
}
