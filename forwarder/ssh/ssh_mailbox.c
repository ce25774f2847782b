/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_mailbox.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int ssh_mailbox_init(struct ssh_mailbox *m)
{
	m->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->fd < 0)
		return -errno;
	pthread_mutex_init(&m->lock, NULL);
	list_init(&m->letters);
	m->is_awake = false;
	m->is_stopped = false;
	return 0;
}

void ssh_mailbox_deinit(struct ssh_mailbox *m)
{
	close(m->fd);
	pthread_mutex_destroy(&m->lock);
}

void ssh_letter_init(struct ssh_letter *letter, enum ssh_letter_kind kind)
{
	*letter = (struct ssh_letter){ .kind = kind };
	list_init(&letter->node);
}

/* Under the lock. Once for every sleep: writing costs a system call. */
static void rouse(struct ssh_mailbox *m)
{
	const uint64_t one = 1;
	ssize_t r;

	if (m->is_awake)
		return;
	m->is_awake = true;
	r = write(m->fd, &one, sizeof(one));
	assert(r == sizeof(one)); /* fails only at 2^64 - 1 */
}

void ssh_mailbox_put(struct ssh_mailbox *m, struct ssh_letter *letter)
{
	pthread_mutex_lock(&m->lock);
	if (!letter->is_posted && !letter->is_void) {
		letter->is_posted = true;
		list_append(&m->letters, &letter->node);
	}
	pthread_mutex_unlock(&m->lock);
}

void ssh_mailbox_rouse(struct ssh_mailbox *m)
{
	pthread_mutex_lock(&m->lock);
	if (!list_empty(&m->letters))
		rouse(m);
	pthread_mutex_unlock(&m->lock);
}

void ssh_mailbox_post(struct ssh_mailbox *m, struct ssh_letter *letter)
{
	ssh_mailbox_put(m, letter);
	ssh_mailbox_rouse(m);
}

void ssh_mailbox_stop(struct ssh_mailbox *m)
{
	pthread_mutex_lock(&m->lock);
	m->is_stopped = true;
	rouse(m);
	pthread_mutex_unlock(&m->lock);
}

bool ssh_mailbox_is_stopped(struct ssh_mailbox *m)
{
	bool is_stopped;

	pthread_mutex_lock(&m->lock);
	is_stopped = m->is_stopped;
	pthread_mutex_unlock(&m->lock);
	return is_stopped;
}

struct ssh_letter *ssh_mailbox_take(struct ssh_mailbox *m)
{
	struct ssh_letter *letter = NULL;
	struct list *node;

	pthread_mutex_lock(&m->lock);
	node = list_take(&m->letters);
	if (node) {
		letter = container_of(node, struct ssh_letter, node);
		letter->is_posted = false;
	}
	pthread_mutex_unlock(&m->lock);
	return letter;
}

bool ssh_mailbox_may_sleep(struct ssh_mailbox *m)
{
	uint64_t ignored;
	bool may_sleep;

	pthread_mutex_lock(&m->lock);
	may_sleep = list_empty(&m->letters) && !m->is_stopped;
	if (may_sleep && m->is_awake) {
		m->is_awake = false;
		(void)!read(m->fd, &ignored, sizeof(ignored)); /* -EAGAIN: nobody wrote */
	}
	pthread_mutex_unlock(&m->lock);
	return may_sleep;
}

void ssh_mailbox_void(struct ssh_mailbox *m, struct ssh_letter *letter)
{
	pthread_mutex_lock(&m->lock);
	list_unlink(&letter->node);
	letter->is_posted = false;
	letter->is_void = true;
	pthread_mutex_unlock(&m->lock);
}
