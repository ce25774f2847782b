/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* A whole gRPC message, prefix included; data is the caller's to free(). */
struct message {
	uint8_t *data;
	size_t len;
};
