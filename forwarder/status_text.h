/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What `netfwd status` prints: the answer to GET /v1/status, as tables. Pure. */
#include <stdio.h>

struct json;

/* Negative on error. */
int status_text_print(const struct json *status, FILE *to);
