/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Sockets to what listens in the guest: non-blocking, perhaps still connecting. */
#include <stdbool.h>

struct endpoint;
struct rpc_place;

/* A descriptor or -errno; *is_connecting with a descriptor. */
int guest_dial_stream(const struct rpc_place *place, bool *is_connecting);
int guest_dial_udp(const struct endpoint *to);
