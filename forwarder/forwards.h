/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The forwards of the command line, all or none: first it is seen whether every port
 * can be had, so that all failures are known, then the publisher gets them, as its
 * source "option". */
struct forwards;
struct options;
struct publisher;
struct stack_config;

/* 0; -ENOMEM; -ENOSPC when there are more than the publisher takes, logged. */
int forwards_new(const struct options *options, const struct stack_config *config,
		 struct forwards **out);
/* -errno if one of the ports cannot be had, or leads outside the guest's networks:
 * each is logged, with an event `failed`. */
int forwards_check(struct forwards *f);
/* Opens all, with an event `forwarding` each; -errno, logged, if one was lost since. */
int forwards_publish(struct forwards *f, struct publisher *publisher);
/* Those that were never published: with an event `not-forwarding`. Accepts NULL. */
void forwards_free(struct forwards *f);
