/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Calls with one request and one answer. */
#include <stdint.h>

struct answers;
struct http2_stream;
struct reports;

int answers_new(const struct reports *reports, struct answers **out);
/* After the connections of the host. Accepts NULL. */
void answers_free(struct answers *a);

enum answer_kind {
	ANSWER_HELLO,
	ANSWER_INFO,
	ANSWER_TIME,
};
/* What hello tells: where raw flows are taken; 0: they are not. */
void answers_set_raw_port(struct answers *a, uint32_t port);
void answers_request(struct answers *a, struct http2_stream *s, enum answer_kind kind);
