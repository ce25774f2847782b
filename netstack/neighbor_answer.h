/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Answers in a station's place when somebody asks for its MAC address: by ARP
 * (RFC 826) or neighbour discovery (RFC 4861, sections 4.3 and 4.4). Pure. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netstack/addr.h"

/* Whether the frame, which is one of ours, asks for somebody's MAC, and whose. */
bool neighbor_is_question(const uint8_t *frame, size_t len, struct ipaddr *target);
/* The answer to such a frame: returns its length. */
#define NEIGHBOR_ANSWER_SIZE 86U
size_t neighbor_answer(const uint8_t *question, const struct mac *mac,
		       uint8_t answer[static NEIGHBOR_ANSWER_SIZE]);
