/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ssh/ssh_reverse.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "forwarder/ssh/ssh_channel.h"
#include "forwarder/tunnel.h"

struct ssh_reverse *ssh_reverse_new(const struct tunnel_place *guest)
{
	struct ssh_reverse *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	ssh_letter_init(&r->to_worker, SSH_LETTER_REVERSE);
	ssh_letter_init(&r->to_loop, SSH_LETTER_REVERSE);
	r->endpoint = guest->endpoint;
	if (guest->path)
		snprintf(r->path, sizeof(r->path), "%s", guest->path);
	list_init(&r->node);
	pthread_mutex_init(&r->lock, NULL);
	r->n_ends = 2;
	return r;
}

void ssh_reverse_release(struct ssh_reverse *r)
{
	struct ssh_channel *channel;
	int left;

	pthread_mutex_lock(&r->lock);
	left = --r->n_ends;
	pthread_mutex_unlock(&r->lock);
	if (left > 0)
		return;
	while ((channel = ssh_reverse_take(r))) /* nobody came for it */
		ssh_channel_release(channel);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

void ssh_reverse_leave(struct ssh_reverse *r)
{
	pthread_mutex_lock(&r->lock);
	r->is_left = true;
	pthread_mutex_unlock(&r->lock);
}

int ssh_reverse_status(struct ssh_reverse *r)
{
	int error;

	pthread_mutex_lock(&r->lock);
	error = r->is_known ? r->error : -EAGAIN;
	pthread_mutex_unlock(&r->lock);
	return error;
}

struct ssh_channel *ssh_reverse_take(struct ssh_reverse *r)
{
	struct ssh_channel *channel = NULL;

	pthread_mutex_lock(&r->lock);
	if (r->n_accepted > 0) {
		channel = r->accepted[0];
		r->n_accepted--;
		for (unsigned int i = 0; i < r->n_accepted; i++)
			r->accepted[i] = r->accepted[i + 1];
	}
	pthread_mutex_unlock(&r->lock);
	return channel;
}

bool ssh_reverse_is_left(struct ssh_reverse *r)
{
	bool is_left;

	pthread_mutex_lock(&r->lock);
	is_left = r->is_left;
	pthread_mutex_unlock(&r->lock);
	return is_left;
}

void ssh_reverse_answered(struct ssh_reverse *r, int error)
{
	pthread_mutex_lock(&r->lock);
	r->is_known = true;
	r->error = error;
	pthread_mutex_unlock(&r->lock);
}

bool ssh_reverse_has_room(struct ssh_reverse *r)
{
	bool has_room;

	pthread_mutex_lock(&r->lock);
	has_room = r->n_accepted < SSH_REVERSE_QUEUE;
	pthread_mutex_unlock(&r->lock);
	return has_room;
}

void ssh_reverse_put(struct ssh_reverse *r, struct ssh_channel *channel)
{
	pthread_mutex_lock(&r->lock);
	assert(r->n_accepted < SSH_REVERSE_QUEUE);
	r->accepted[r->n_accepted++] = channel;
	pthread_mutex_unlock(&r->lock);
}
