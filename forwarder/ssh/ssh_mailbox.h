/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* How one thread tells another that an object it shares with it has news. A letter
 * is embedded in the object, and is in the mailbox once, however often it is
 * posted; what is new is read from the object. So nothing here grows.
 *
 * Anybody posts; one thread takes, and sleeps on fd. */
#include <pthread.h>
#include <stdbool.h>

#include "netstack/base/list.h"

/* What a letter is embedded in. */
enum ssh_letter_kind {
	SSH_LETTER_CHANNEL,
	SSH_LETTER_REVERSE,
	SSH_LETTER_REPORT,
};

struct ssh_letter {
	struct list node; /* ssh_mailbox.letters */
	enum ssh_letter_kind kind;
	bool is_posted;
	bool is_void; /* nobody takes it any more */
};

struct ssh_mailbox {
	pthread_mutex_t lock; /* of all that follows, and of the letters */
	struct list letters;
	bool is_awake;	 /* the taker will look again before it sleeps */
	bool is_stopped; /* for good */
	int fd;		 /* eventfd(2): readable when letters came after it slept */
};

int ssh_mailbox_init(struct ssh_mailbox *m); /* 0 or -errno */
void ssh_mailbox_deinit(struct ssh_mailbox *m);

void ssh_letter_init(struct ssh_letter *letter, enum ssh_letter_kind kind);
void ssh_mailbox_post(struct ssh_mailbox *m, struct ssh_letter *letter);
/* The same in two steps, for many letters: waking costs much more than the rest. */
void ssh_mailbox_put(struct ssh_mailbox *m, struct ssh_letter *letter);
void ssh_mailbox_rouse(struct ssh_mailbox *m); /* if there are letters */
/* Tells the taker to come to its end. */
void ssh_mailbox_stop(struct ssh_mailbox *m);

/* The taker's: the first letter or NULL. */
struct ssh_letter *ssh_mailbox_take(struct ssh_mailbox *m);
/* Whether it may sleep on fd; false: there is a letter, or it was stopped. */
bool ssh_mailbox_may_sleep(struct ssh_mailbox *m);
bool ssh_mailbox_is_stopped(struct ssh_mailbox *m);
/* After the letter's object is of no interest to the taker: it is not posted from
 * now on. */
void ssh_mailbox_void(struct ssh_mailbox *m, struct ssh_letter *letter);
